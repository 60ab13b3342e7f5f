//! Telling a process that the kernel ended for want of memory from one that failed.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use knarr_cgroups::Cgroup;

use crate::spawn::Child;
use crate::sys;

/// A process that closed its channel without a word is on its way out: it needs no more than this.
const LAST_BREATH: Duration = Duration::from_millis(100);

/// Whether the kernel has killed in this cgroup, and this process of it has ended. A cgroup whose count cannot be read
/// has no say in it.
pub(crate) fn has_killed(child: &Child, cgroup: &Cgroup) -> bool {
    let ended = || sys::poll_readable(child.pidfd.as_fd(), Instant::now() + LAST_BREATH);
    cgroup.oom_kills().is_ok_and(|kills| kills > 0) && ended().unwrap_or(false)
}
