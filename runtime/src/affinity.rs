//! The CPUs a process may run on (`sched_setaffinity(2)`).

use rustix::process::Pid;

use crate::bitmask::Bitmask;
use crate::error::{During as _, Result};
use crate::log;
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
/// with a wider cpuset. One that stays bound is slower, not wrong: a warning.
pub(crate) fn reset(pid: Pid) {
    if let Err(error) = sched_setaffinity(Some(pid), Bitmask::full().words()) {
        log::warn(format_args!("resetting the CPU affinity failed: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("read status");
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.expect("the field").trim().to_owned()
    }

    #[test]
    fn a_mask_binds_until_it_is_reset() {
        std::thread::spawn(|| {
            let before = allowed();
            let first = before.split([',', '-']).next().expect("a CPU").to_owned();
            set(None, &Bitmask::from_list(&first).expect("a list"), Moment::Initial).expect("set");
            assert_eq!(allowed(), first);
            reset(rustix::thread::gettid());
            assert_eq!(allowed(), before);
        })
        .join()
        .expect("the thread's own assertions");
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused() {
        let line = set(None, &Bitmask::from_list("8191").expect("a list"), Moment::Final)
            .expect_err("no such CPU")
            .line();
        assert!(line.starts_with("error setting final CPU affinity: sched_setaffinity("), "{line}");
    }
}
