//! CPU and I/O scheduling of the calling process (`sched_setattr(2)`, `ioprio_set(2)`): names, values, and the calls.

use crate::error::{During as _, Error, Result};
use crate::sys::Errno;
use crate::sys::attributes::{SchedAttr, ioprio_set, sched_setattr};

const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

const IO_CLASSES: [(&str, u16); 3] =
    [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// A class and a priority within it, as `ioprio_set(2)` packs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IoPriority(u16);

impl IoPriority {
    /// `class` from [`io_class`], `priority` 0 (first) to 7.
    pub(crate) fn new(class: u16, priority: u8) -> Self {
        Self(class << 13 | u16::from(priority))
    }
}

pub(crate) fn policy(name: &str) -> Option<u32> {
    value(&POLICIES, name)
}

pub(crate) fn flag(name: &str) -> Option<u64> {
    value(&FLAGS, name)
}

pub(crate) fn io_class(name: &str) -> Option<u16> {
    value(&IO_CLASSES, name)
}

/// Puts the caller under a scheduling policy. `cpus` is `linux.resources.cpu.cpus`: a deadline process must be free
/// to run on every CPU of its domain, so a cpuset makes the kernel refuse.
pub(crate) fn set_policy(attr: &SchedAttr, cpus: &str) -> Result<()> {
    match sched_setattr(attr) {
        Err(error) if error.errno == Errno::PERM && !cpus.is_empty() => Err(Error::refused(
            "/process/scheduler",
            "process scheduler can't be used together with AllowedCPUs",
        )),
        result => result.during(|| "error setting scheduler".into()),
    }
}

/// Sets the I/O priority of the caller.
pub(crate) fn set_io_priority(priority: IoPriority) -> Result<()> {
    ioprio_set(priority.0).during(|| "failed to set io priority".into())
}

fn value<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    names.iter().find_map(|(known, value)| (*known == name).then_some(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of `/proc/thread-self/stat`, counted as `proc_pid_stat(5)` does.
    fn stat(field: usize) -> String {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("read stat");
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        fields.split_whitespace().nth(field - 3).expect("the field").to_owned()
    }

    #[test]
    fn a_policy_is_taken_on() {
        let attr = SchedAttr { size: SchedAttr::SIZE, policy: 3, nice: 7, ..SchedAttr::default() };
        std::thread::spawn(move || {
            set_policy(&attr, "").expect("set");
            assert_eq!((stat(41).as_str(), stat(19).as_str()), ("3", "7"));
        })
        .join()
        .expect("the thread's own assertions");
    }

    #[test]
    fn a_refusal_says_what_was_asked() {
        let attr = SchedAttr { size: SchedAttr::SIZE, policy: 1, priority: 1000, ..SchedAttr::default() };
        let line = set_policy(&attr, "0-1").expect_err("no such priority").line();
        assert_eq!(
            line,
            "error setting scheduler: sched_setattr(policy 1, flags 0x0, nice 0, priority 1000): invalid argument"
        );
    }

    #[test]
    fn an_io_priority_is_taken_on() {
        std::thread::spawn(|| {
            set_io_priority(IoPriority::new(2, 6)).expect("set");
            let line = set_io_priority(IoPriority::new(7, 0)).expect_err("no such class").line();
            assert_eq!(
                line,
                "failed to set io priority: ioprio_set(IOPRIO_WHO_PROCESS, 0, 0xe000): invalid argument"
            );
        })
        .join()
        .expect("the thread's own assertions");
    }
}
