//! Removing a cgroup and what the container left below it.

use std::path::Path;
use std::time::Duration;

use rustix::fs;
use rustix::io::{self, retry_on_intr};

use crate::cgroup::managed::Managed;
use crate::cgroup::wait::{Deadline, pause, wait_for_event, wait_for_exit};
use crate::cgroup::{Cgroup, absent_as_empty, tree};
use crate::dir::Dir;
use crate::error::{Errno, Error, Result};

/// A killed process may need time to die: it may hold memory to be freed, or wait for a device.
const PATIENCE: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Removes the cgroup and all below it. Its processes must be dead or dying; the dying are waited for, up to 5 s.
    ///
    /// # Errors
    /// The first directory that could not be removed; the other hierarchies are cleared nevertheless.
    pub fn delete(&self) -> Result<()> {
        let stopped = self.unit.as_ref().map_or(Ok(()), Managed::stop);
        let deadline = Deadline::after(PATIENCE);
        let removed = self.nodes.iter().map(|node| remove(&node.path, node.is_v2(), deadline));
        removed.fold(stopped, Result::and)
    }
}

fn remove(path: &Path, v2: bool, deadline: Deadline) -> Result<()> {
    match retry_on_intr(|| fs::rmdir(path)) {
        Ok(()) | Err(io::Errno::NOENT) => Ok(()),
        // EROFS and EACCES are told before the kernel looks whether the directory is there.
        Err(_) => absent_as_empty(Dir::open(path).and_then(|dir| remove_tree(&dir, v2, deadline))),
    }
}

/// EBUSY is children, or processes that are not dead yet.
fn remove_tree(dir: &Dir, v2: bool, deadline: Deadline) -> Result<()> {
    loop {
        for child in dir.subdirectories()? {
            remove(&child, v2, deadline)?;
        }
        match retry_on_intr(|| fs::rmdir(dir.path())) {
            Ok(()) | Err(io::Errno::NOENT) => return Ok(()),
            Err(io::Errno::BUSY) if !deadline.has_passed() => wait_until_empty(dir, v2, deadline)?,
            Err(source) => {
                return Err(Error::RemoveDir { path: dir.path().to_owned(), source: Errno(source) });
            }
        }
    }
}

/// The version 2 kernel tells; on version 1 the processes do.
fn wait_until_empty(dir: &Dir, v2: bool, deadline: Deadline) -> Result<()> {
    let pids = tree::processes(dir)?;
    match (pids.is_empty(), v2) {
        (true, _) => pause(dir),
        (false, true) => wait_for_event(dir, "populated", "0", deadline).map(drop),
        (false, false) => wait_for_exit(dir, &pids, deadline),
    }
}
