//! The CPUs a process may run on (`sched_setaffinity(2)`).

use rustix::process::Pid;

use crate::bitmask::Bitmask;
use crate::error::{During as _, Result};
use crate::sys::attributes::sched_setaffinity;

/// The two masks of `process.execCPUAffinity`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// Until the process is in the container's cgroup.
    pub(crate) initial: Option<Bitmask>,
    /// From then on.
    pub(crate) last: Option<Bitmask>,
}

/// Which of the two masks is being set: it is named in the error.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    Initial,
    Final,
}

/// Binds process `pid` (`None`: the caller) to the CPUs of `mask` that its cgroup allows.
pub(crate) fn set(pid: Option<Pid>, mask: &Bitmask, moment: Moment) -> Result<()> {
    sched_setaffinity(pid, mask.words()).during(|| match moment {
        Moment::Initial => "error setting initial CPU affinity".into(),
        Moment::Final => "error setting final CPU affinity".into(),
    })
}

/// Frees process `pid` from the mask it inherited: the kernel keeps a narrow one when a process moves into a cgroup
/// with a wider cpuset.
pub(crate) fn reset(pid: Option<Pid>) -> Result<()> {
    sched_setaffinity(pid, Bitmask::full().words()).during(|| "resetting the CPU affinity failed".into())
}
