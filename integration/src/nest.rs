//! The place of a test that runs engines in namespaces of its own, and the first process there.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::mount::{MountFlags, mount};
use rustix::process::{WaitOptions, wait};

/// The place of one test: its directory, its name and its cgroup.
pub struct Site {
    pub dir: PathBuf,
    /// In every process, cgroup and directory of the test. Short where sockets are in the directory.
    pub mark: String,
}

impl Site {
    pub fn of(mark: String) -> Self {
        Self { dir: std::env::temp_dir().join(&mark), mark }
    }

    pub fn cgroup(&self) -> String {
        format!("/{}", self.mark)
    }
}

/// Gives the namespaces what programs expect: engines and shims write to /run however they are configured, and nobody
/// else's /run is theirs; a loopback device that is up.
pub fn furnish() {
    let run = mount("run", Path::new("/run"), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None);
    assert!(run.is_ok(), "an own /run: {run:?}");
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(up.as_ref().is_ok_and(ExitStatus::success), "the loopback device stays down: {up:?}");
}

/// Reaps what daemons leave, as the first process of a pid namespace, until `inner` has ended. Gives its exit code; none: a
/// signal ended it.
pub fn reap_until_ended(inner: &Child) -> Option<i32> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == inner.id() => {
                return status.exit_status();
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("wait for the inner process: {error}"),
        }
    }
}
