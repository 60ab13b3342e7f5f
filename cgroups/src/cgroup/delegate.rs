//! Giving a cgroup to another user: cgroups(7), "Cgroups delegation".

use rustix::fs::{AtFlags, Uid, chownat};
use rustix::io::{self, retry_on_intr};

use crate::cgroup::Cgroup;
use crate::error::{Errno, Error, Result};

/// The kernel's own list of what a delegatee must own; absent before 4.15.
const LIST: &str = "/sys/kernel/cgroup/delegate";
const LIST_BEFORE: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

impl Cgroup {
    /// Makes a user the owner of the version 2 directory and of the files with which processes are moved and
    /// controllers enabled, but not of those that hold its limits. Nothing happens without a version 2 directory.
    ///
    /// # Errors
    /// The owner cannot be changed.
    pub fn delegate(&self, owner: u32) -> Result<()> {
        let Some(node) = self.unified() else { return Ok(()) };
        let dir = node.dir()?;
        let list = std::fs::read_to_string(LIST).unwrap_or_else(|_| LIST_BEFORE.to_owned());
        let owner = Some(Uid::from_raw(owner));
        let change = |file: &str, flags| match retry_on_intr(|| chownat(dir, file, owner, None, flags)) {
            Ok(()) => Ok(()),
            // The list names files of controllers that are not enabled here.
            Err(io::Errno::NOENT) if !file.is_empty() => Ok(()),
            Err(source) => Err(Error::Delegate { path: dir.path().join(file), source: Errno(source) }),
        };
        change("", AtFlags::EMPTY_PATH)?;
        list.lines()
            .filter(|file| !file.contains('/'))
            .try_for_each(|file| change(file, AtFlags::SYMLINK_NOFOLLOW))
    }
}
