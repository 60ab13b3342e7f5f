//! For tests: a directory that goes away with its owner, and a mount namespace for one test.
//!
//! Namespaces other than the user's belong to a thread, and each test has a thread: nothing of what a test mounts is
//! seen by another or outlives it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, Gid, OFlags, Uid};

use crate::idmap::Caller;
use crate::plan::ids::{Ids, Range};
use crate::plan::mounts::{Pivot, Place, RootfsPlan};
use crate::plan::namespaces::Namespaces;
use crate::proc::{Proc, Scope};
use crate::sys::files::{open_at, read_to_end};

pub(super) struct Scratch {
    path: PathBuf,
    /// Lent by a process that removes it.
    lent: bool,
}

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("knarr-rootfs-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self { path, lent: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn directory(&self, name: &str) -> PathBuf {
        std::fs::create_dir_all(self.join(name)).unwrap();
        self.join(name)
    }

    pub(super) fn file(&self, name: &str, content: &str) -> PathBuf {
        std::fs::create_dir_all(self.join(name).parent().unwrap()).unwrap();
        std::fs::write(self.join(name), content).unwrap();
        self.join(name)
    }

    pub(super) fn link(&self, name: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.join(name)).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.lent {
            return;
        }
        // Fails only where a test left a mount, which its own assertions are about.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Runs a test in a thread with a mount namespace of its own, and an empty `root` in its directory.
pub(super) fn isolated(test: impl FnOnce(&Scratch) + Send) {
    // The directory's owner stays outside, where it can be removed after the test has changed its root.
    let scratch = Scratch::new();
    scratch.directory("root");
    let run = || match crate::sys::unshare(libc::CLONE_NEWNS) {
        Ok(()) => test(&scratch),
        Err(error) => eprintln!("skipped: {error}"),
    };
    let result = std::thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// The plan of a configuration in JSON, with the namespaces it says and a mount namespace.
pub(super) fn plan(rootfs: &Path, json: &str) -> crate::error::Result<RootfsPlan> {
    plan_with(rootfs, json, Pivot::Use)
}

pub(super) fn plan_with(rootfs: &Path, json: &str, pivot: Pivot) -> crate::error::Result<RootfsPlan> {
    let mut spec: crate::spec::Spec = crate::spec::parse(json.as_bytes()).unwrap();
    let linux = spec.linux.get_or_insert_default();
    let mount = crate::spec::Namespace { kind: "mount".into(), path: String::new() };
    linux.namespaces.push(mount);
    let namespaces = Namespaces::plan(linux)?;
    let ids = Ids::plan(linux, &namespaces)?;
    let bundle = Path::new("/");
    RootfsPlan::new(
        &spec,
        &Place { bundle, rootfs, pivot, rootless: false, namespaces: &namespaces, ids: &ids },
    )
}

/// A view of this thread's mounts that outlives its `/proc`.
pub(super) struct Table {
    proc: Proc,
    path: String,
}

impl Table {
    pub(super) fn new() -> Self {
        let path =
            format!("{}/task/{}/mountinfo", std::process::id(), rustix::thread::gettid().as_raw_nonzero());
        Self { proc: Proc::open(Scope::Processes).unwrap(), path }
    }

    /// The topmost mount at `point`: its fields of mountinfo.
    pub(super) fn at(&self, point: &str) -> Option<Line> {
        let text = read_to_end(self.proc.open_file(&self.path, OFlags::RDONLY).unwrap()).unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines().filter_map(Line::parse).rfind(|line| line.point == point)
    }

    pub(super) fn count(&self) -> usize {
        let text = read_to_end(self.proc.open_file(&self.path, OFlags::RDONLY).unwrap()).unwrap();
        text.split(|&byte| byte == b'\n').count() - 1
    }
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) point: String,
    pub(super) flags: String,
    /// `shared:N`, `master:N`, `unbindable`, joined by blanks.
    pub(super) peers: String,
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) options: String,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let (place, fs) = line.split_once(" - ")?;
        let place: Vec<_> = place.split(' ').collect();
        let fs: Vec<_> = fs.split(' ').collect();
        Some(Self {
            point: place[4].into(),
            flags: place[5].into(),
            peers: place[6..].join(" "),
            kind: fs[0].into(),
            source: fs[1].into(),
            options: fs[2].into(),
        })
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.split(',').any(|has| has == flag)
    }
}

pub(super) fn read(path: &str) -> std::io::Result<String> {
    let bytes = open_at(CWD, path, OFlags::RDONLY).and_then(read_to_end);
    bytes.map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|error| error.errno.into())
}

/// Runs a test whose `body` is the first process of new user, pid, mount and IPC namespaces, plus those in `flags`.
///
/// `before` runs outside, in a mount namespace of its own. `name` is the test's: since only a process without other
/// busy threads can be cloned, the test runs again, alone, in a process of its own.
pub(super) fn in_user_namespace<T>(
    name: &str,
    flags: i32,
    before: impl FnOnce(&Scratch) -> T,
    body: impl FnOnce(T),
) {
    let Some(lent) = std::env::var_os("KNARR_TEST_ALONE") else {
        return run_alone(name);
    };
    let scratch = Scratch { path: lent.into(), lent: true };
    std::os::unix::fs::chown(scratch.directory("root"), Some(100_000), Some(100_000)).unwrap();
    crate::sys::unshare(libc::CLONE_NEWNS).unwrap();
    let prepared = before(&scratch);
    let flags = flags | libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
    let (waits, tells) = rustix::pipe::pipe().unwrap();
    match crate::sys::clone3(u64::from(flags.unsigned_abs()), None).unwrap() {
        crate::sys::Side::Child => {
            drop(tells);
            rustix::io::read(&waits, &mut [0]).unwrap();
            rustix::thread::set_thread_res_gid(ROOT_GROUP, ROOT_GROUP, ROOT_GROUP).unwrap();
            rustix::thread::set_thread_res_uid(ROOT, ROOT, ROOT).unwrap();
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(prepared)));
            crate::sys::exit_now(i32::from(result.is_err()))
        }
        crate::sys::Side::Parent { pid, pidfd } => {
            let map = || [Range { container: 0, host: 100_000, size: 65536 }].into_iter().collect();
            crate::idmap::write(pid, &Ids { uid_map: map(), gid_map: map() }, Caller::Privileged).unwrap();
            drop(tells);
            let id = rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd));
            let status =
                rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED).unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0));
        }
    }
}

const ROOT: Uid = Uid::ROOT;
const ROOT_GROUP: Gid = Gid::ROOT;

fn run_alone(name: &str) {
    let scratch = Scratch::new();
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", name, "--test-threads=1", "--nocapture"]);
    let output = alone.env("KNARR_TEST_ALONE", scratch.path()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
}
