//! The proc file system, behind a descriptor of our own: every write to `/proc` goes through here.
//!
//! What is at `/proc` in the container is the image's or a volume's to decide, and has been a plain directory with files
//! that swallow labels, or a proc with other files mounted over (CVE-2019-16884, CVE-2025-52881). A detached proc
//! has no such neighbours; where the kernel refuses one (nested containers), a clone of `/proc` is taken, and at last
//! `/proc` itself, both verified. No link is followed and no mount crossed. proc(5), fsopen(2).

use std::cell::OnceCell;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, OFlags, ResolveFlags};

use crate::sys::files::{magic_of, open_at, open_at2, read_link_at, read_to_end, stat_fd, write_whole};
use crate::sys::mounts::{Depth, clone_tree, create_fs, mount_fs, open_fs, set_fs_option};
use crate::sys::{Errno, Error, Result};

/// What is needed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Directories of processes only: the kernel grants it more readily (`subset=pid`, Linux 5.8).
    Processes,
    /// `/proc/sys` too.
    Everything,
}

pub(crate) struct Proc {
    scope: Scope,
    held: OnceCell<Held>,
}

struct Held {
    root: OwnedFd,
    /// The directory of this process, in the pid namespace that this proc shows.
    own: String,
}

/// The inode number of the root of every proc.
const ROOT_INODE: u64 = 1;

impl Proc {
    /// To be called while the host's `/proc` is in sight: in a user namespace the kernel grants a new one only then
    /// (`mount_too_revealing` of its `fs/namespace.c`), and a container may have none.
    pub(crate) fn open(scope: Scope) -> Result<Self> {
        Ok(Self { scope, held: OnceCell::from(Held::open(scope)?) })
    }

    /// The same, opened when it is first used: few processes need one, and the kernel takes its time when a mount that
    /// was never attached is given up (an RCU grace period).
    pub(crate) fn when_needed(scope: Scope) -> Self {
        Self { scope, held: OnceCell::new() }
    }

    fn held(&self) -> Result<&Held> {
        match self.held.get() {
            Some(held) => Ok(held),
            None => Held::open(self.scope).map(|held| self.held.get_or_init(|| held)),
        }
    }

    /// Writes a file of this process, such as `attr/exec`, in one call.
    pub(crate) fn write_own(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write(&format!("{}/{name}", self.held()?.own), bytes)
    }

    /// Reads a file of this process.
    pub(crate) fn read_own(&self, name: &str) -> Result<Vec<u8>> {
        read_to_end(self.open_file(&format!("{}/{name}", self.held()?.own), OFlags::RDONLY)?)
    }

    /// Opens a directory of this process.
    pub(crate) fn open_own(&self, name: &str) -> Result<OwnedFd> {
        self.open_file(&format!("{}/{name}", self.held()?.own), OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Writes a file such as `sys/net/ipv4/ip_forward`, in one call.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let file = self.open_file(path, OFlags::WRONLY)?;
        write_whole(&file, bytes)
            .map_err(|Error { call, errno }| Error { call: format!("{call} to /proc/{path}"), errno })
    }

    /// Opens a file below it.
    pub(crate) fn open_file(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        match open_at2(&self.held()?.root, path, flags, resolve) {
            Err(error) if matches!(error.errno, Errno::NOSYS | Errno::PERM) => self.walk_to(path, flags),
            result => result,
        }
    }

    /// The same without openat2(2), which EPERM may stand for as well as for the file's own refusal.
    fn walk_to(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        let mut here = open_at(&self.held()?.root, ".", OFlags::PATH)?;
        for part in directory.split('/') {
            if part == ".." {
                return Err(Error { call: format!("open(\"/proc/{path}\")"), errno: Errno::XDEV });
            }
            here = open_at(&here, part, OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY)?;
        }
        let file = open_at(&here, name, flags | OFlags::NOFOLLOW)?;
        if stat_fd(&file)?.st_dev != stat_fd(&self.held()?.root)?.st_dev {
            return Err(Error { call: format!("open(\"/proc/{path}\")"), errno: Errno::XDEV });
        }
        Ok(file)
    }
}

impl Held {
    fn open(scope: Scope) -> Result<Self> {
        let root = detached(scope)
            .or_else(|_| cloned())
            .or_else(|_| open_at(CWD, "/proc", OFlags::PATH | OFlags::NOFOLLOW))?;
        if magic_of(&root)? != libc::PROC_SUPER_MAGIC || stat_fd(&root)?.st_ino != ROOT_INODE {
            return Err(Error {
                call: "open(\"/proc\"): not a proc file system".into(),
                errno: Errno::INVAL,
            });
        }
        let own = read_link_at(&root, "self")?;
        Ok(Self { root, own })
    }
}

fn detached(scope: Scope) -> Result<OwnedFd> {
    let fs = open_fs("proc")?;
    if scope == Scope::Processes {
        // Before Linux 5.8 there is no such option, and a whole one does as well.
        let _ = set_fs_option(&fs, "subset", "pid");
    }
    create_fs(&fs)?;
    mount_fs(&fs, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC)
}

/// Without what is mounted over it; in a user namespace the kernel gives that away with the whole tree only.
fn cloned() -> Result<OwnedFd> {
    clone_tree(CWD, "/proc", Depth::One).or_else(|_| clone_tree(CWD, "/proc", Depth::Tree))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_files_of_this_process() {
        let proc = Proc::open(Scope::Processes).unwrap();
        let before = proc.read_own("oom_score_adj").unwrap();
        proc.write_own("oom_score_adj", &before).unwrap();
        assert_eq!(proc.read_own("oom_score_adj").unwrap(), before);
    }

    #[test]
    fn scope_says_what_is_in_it() {
        let whole = Proc::open(Scope::Everything).unwrap();
        assert!(whole.open_file("sys/kernel/ostype", OFlags::RDONLY).is_ok());
        let processes = Proc::open(Scope::Processes).unwrap();
        assert_eq!(processes.open_file("sys/kernel/ostype", OFlags::RDONLY).unwrap_err().errno, Errno::NOENT);
    }

    #[test]
    fn no_link_is_followed_and_nothing_left() {
        let proc = Proc::open(Scope::Everything).unwrap();
        for (path, errno) in [
            ("self/comm", Errno::LOOP),
            ("1/root/etc/passwd", Errno::LOOP),
            ("1/cwd", Errno::LOOP),
            ("../etc/passwd", Errno::XDEV),
            ("/etc/passwd", Errno::XDEV),
        ] {
            assert_eq!(proc.open_file(path, OFlags::RDONLY).unwrap_err().errno, errno, "{path}");
        }
        assert!(proc.walk_to("1/root", OFlags::RDONLY).is_err());
        assert!(proc.walk_to("1/../../etc/passwd", OFlags::RDONLY).is_err());
        assert!(proc.walk_to("1/comm", OFlags::RDONLY).is_ok());
    }

    #[test]
    fn each_fallback_is_a_proc() {
        for root in [detached(Scope::Everything), cloned(), open_at(CWD, "/proc", OFlags::PATH)] {
            assert_eq!(magic_of(root.unwrap()).unwrap(), libc::PROC_SUPER_MAGIC);
        }
    }
}
