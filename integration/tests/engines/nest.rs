//! The namespaces in which the engines live, and the sweeping after them.
//!
//! Three processes: the outer one starts the next through unshare(1) and cleans up when all is over; the first of
//! the new pid namespace adopts and reaps what daemons leave; the inner one runs the cases. When the second ends,
//! the kernel kills everything and the mounts go with the namespace.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use knarr_integration::{Layout, leftovers};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{WaitOptions, wait};

/// Tells a process of ours which of the three it is.
const ROLE: &str = "KNARR_ENGINES_ROLE";

/// The place of one run: its directory, its name and its cgroup.
pub(crate) struct Site {
    pub(crate) dir: PathBuf,
    /// In every process, cgroup and directory of this run.
    pub(crate) mark: String,
}

impl Site {
    fn of(mark: String) -> Self {
        Self { dir: std::env::temp_dir().join(&mark), mark }
    }

    pub(crate) fn cgroup(&self) -> String {
        format!("/{}", self.mark)
    }
}

/// Runs `body` in namespaces of its own; gives its exit code.
pub(crate) fn inside(body: impl FnOnce(&Site) -> ExitCode) -> ExitCode {
    let mark = std::env::var(leftovers::MARK);
    match (std::env::var(ROLE).as_deref(), mark) {
        (Ok("reap"), Ok(_)) => adopt_and_reap(),
        (Ok("run"), Ok(mark)) => body(&Site::of(mark)),
        _ => enclose(&Site::of(format!("knarr-engines-{}", std::process::id()))),
    }
}

fn enclose(site: &Site) -> ExitCode {
    std::fs::create_dir(&site.dir).expect("make the directory of this run");
    let us = std::env::current_exe().expect("our own path");
    let ended = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(us)
        .args(std::env::args_os().skip(1))
        .env(ROLE, "reap")
        .env("RUST_BACKTRACE", "0")
        .env(leftovers::MARK, &site.mark)
        .status()
        .expect("start unshare");
    let left = leftovers::sweep(Layout::Hybrid, &site.cgroup(), &site.mark);
    let removed = std::fs::remove_dir_all(&site.dir);
    assert!(left.is_empty() && removed.is_ok(), "left behind: {left:?} {removed:?}");
    if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Peers of its own, as systemd makes it: `--volume x:y:rslave` needs that.
fn share_mounts() {
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change("/", shared).expect("share the mounts within the namespace");
}

/// The machine's hierarchies below a tmpfs of ours: podman makes plain folders for those that it misses.
fn mount_cgroups_again() {
    let old = Path::new("/sys/fs/cgroup");
    let new = Path::new("/run/cgroup");
    std::fs::create_dir(new).expect("a folder");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", new, "tmpfs", flags, Some(c"mode=755")).expect("a tmpfs for the cgroups");
    for hierarchy in std::fs::read_dir(old).expect("the hierarchies").flatten() {
        let (from, to) = (hierarchy.path(), new.join(hierarchy.file_name()));
        if from.join("cgroup.procs").exists() {
            std::fs::create_dir(&to).expect("a folder");
            mount_bind(&from, &to).expect("a hierarchy");
        }
    }
    rustix::mount::mount_bind_recursive(new, old).expect("the hierarchies in their place");
}

fn adopt_and_reap() -> ExitCode {
    // Shims, conmon and peers write to /run however they are configured; nobody else's /run is theirs.
    mount("run", Path::new("/run"), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None)
        .expect("an own /run");
    mount_cgroups_again();
    share_mounts();
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("start ip");
    assert!(up.success(), "the loopback device stays down");
    let us = std::env::current_exe().expect("our own path");
    let args = std::env::args_os().skip(1);
    let inner = Command::new(us).args(args).env(ROLE, "run").spawn().expect("start the inner process");
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == inner.id() => {
                let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
                return code.map_or(ExitCode::FAILURE, ExitCode::from);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("wait for the inner process: {error}"),
        }
    }
}
