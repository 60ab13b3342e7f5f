//! Telling a process that the kernel ended for want of memory from one that failed.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use knarr_cgroups::Cgroup;

use crate::spawn::Child;
use crate::sys;

/// A process that closed its channel without a word is on its way out: it needs no more than this.
const LAST_BREATH: Duration = Duration::from_millis(100);

/// How many processes of a cgroup the kernel has killed so far. A cgroup whose count cannot be read has no say in it.
pub(crate) fn kills(cgroup: &Cgroup) -> u64 {
    cgroup.oom_kills().unwrap_or(0)
}

/// Whether there are more of them than there were, and this process of the cgroup has ended; one that is not known any
/// more has.
pub(crate) fn has_killed(child: Option<&Child>, cgroup: &Cgroup, before: u64) -> bool {
    let ended = |child: &Child| sys::poll_readable(child.pidfd.as_fd(), Instant::now() + LAST_BREATH);
    kills(cgroup) > before && child.is_none_or(|child| ended(child).unwrap_or(false))
}
