//! Resource limits (getrlimit(2)): their names, and setting them on another process.
//!
//! They are set from outside when the process is ready to run its program, so that a low limit does not hit the
//! steps before.

use rustix::process::{Pid, Resource, prlimit};

use crate::error::{During as _, Result};
use crate::sys::Named as _;

const NAMES: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_STACK", Resource::Stack),
];

/// One limit; the unit depends on the resource, `u64::MAX` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rlimit {
    pub(crate) name: &'static str,
    pub(crate) resource: Resource,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// The resource of an exact `RLIMIT_` name, and the name for as long as the program runs.
pub(crate) fn resource(name: &str) -> Option<(&'static str, Resource)> {
    NAMES.into_iter().find(|(known, _)| *known == name)
}

/// Sets the limits of process `pid`.
pub(crate) fn apply(pid: Pid, limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        let new = rustix::process::Rlimit { current: Some(limit.soft), maximum: Some(limit.hard) };
        prlimit(Some(pid), limit.resource, new)
            .named(|| {
                let Rlimit { name, soft, hard, .. } = limit;
                format!("prlimit({}, {name}, {soft}, {hard})", pid.as_raw_nonzero())
            })
            .during(|| "error setting rlimits for ready process".into())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_limit_reaches_another_process() {
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("spawn cat");
        let pid = Pid::from_child(&child);
        let (name, resource) = resource("RLIMIT_NOFILE").expect("a known name");
        apply(pid, &[Rlimit { name, resource, soft: 17, hard: 19 }]).expect("lower the limit");
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("read limits");
        drop(child.stdin.take());
        child.wait().expect("wait for cat");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("the line");
        assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["17", "19"]);
    }

    #[test]
    fn a_refusal_names_the_limit() {
        // No process may open more files than /proc/sys/fs/nr_open, not even root's.
        let (name, resource) = resource("RLIMIT_NOFILE").expect("a known name");
        let limit = Rlimit { name, resource, soft: u64::MAX - 1, hard: u64::MAX - 1 };
        let line = apply(rustix::process::getpid(), &[limit]).expect_err("above nr_open").line();
        assert!(line.starts_with("error setting rlimits for ready process: prlimit("), "{line}");
        assert!(line.ends_with(": operation not permitted") && line.contains("RLIMIT_NOFILE"), "{line}");
    }
}
