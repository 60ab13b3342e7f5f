//! A process that cannot be mistaken for another: its number together with the time it started.
//!
//! Numbers are reused, so a state file's number alone may name a stranger. What is signalled or waited for is a pidfd
//! whose start time was compared after it was opened; no number is ever given to kill(2).
//! See `proc_pid_stat(5)`, `pidfd_open(2)`.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::sys::{self, Errno};

/// A process's number, and its start in clock ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pub(crate) pid: Pid,
    pub(crate) start: u64,
}

/// A process held by its pidfd.
#[derive(Debug)]
pub(crate) struct Process {
    pidfd: OwnedFd,
}

impl ProcessId {
    /// The process that has this number now; none when there is none, or only its unreaped remains.
    pub(crate) fn current(pid: Pid) -> Result<Option<Self>> {
        let stat = read_stat(pid)?;
        Ok(stat.filter(Stat::is_alive).map(|stat| Self {
            pid,
            start: stat.start,
        }))
    }

    /// Whether it has neither ended nor been replaced.
    pub(crate) fn is_alive(self) -> Result<bool> {
        Ok(Self::current(self.pid)? == Some(self))
    }

    /// Holds the process; none when it has ended.
    pub(crate) fn open(self) -> Result<Option<Process>> {
        let pidfd = match sys::pidfd_open(self.pid) {
            // EINVAL: the number belongs to a thread of another process now.
            Err(error) if matches!(error.errno, Errno::SRCH | Errno::INVAL) => return Ok(None),
            result => result?,
        };
        // Only now: while the pidfd is open its number cannot be given away unnoticed.
        Ok(self.is_alive()?.then_some(Process { pidfd }))
    }
}

impl Process {
    /// ESRCH when it has ended meanwhile; EINVAL for a number that is no signal.
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        Ok(sys::pidfd_send_signal(self.pidfd.as_fd(), signal)?)
    }

    /// Waits for its end; false when `deadline` came first.
    pub(crate) fn wait_exit(&self, deadline: Instant) -> Result<bool> {
        Ok(sys::poll_readable(self.pidfd.as_fd(), deadline)?)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    start: u64,
}

impl Stat {
    fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

fn read_stat(pid: Pid) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    let read = sys::open_at(CWD, path.as_str(), OFlags::RDONLY, Mode::empty()).and_then(sys::read_all);
    let bytes = match read {
        // ESRCH: it ended between open and read.
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::SRCH) => return Ok(None),
        result => result?,
    };
    parse_stat(&bytes).map(Some).ok_or(Error::ProcessStat {
        pid: pid.as_raw_nonzero().get(),
    })
}

/// The name in parentheses is the process's own choice: fields are counted from the last parenthesis.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let name_end = bytes.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(bytes.get(name_end + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    // Field 3 is the state, field 22 the start.
    let state = *fields.next()?.as_bytes().first()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    const TAIL: &str = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 62317 20 21";

    #[test]
    fn stat_is_read_behind_the_last_parenthesis() {
        for name in ["sh", "a b", "x) R 1", "((", "\u{e9}"] {
            let line = format!("12 ({name}) {TAIL}\n");
            assert_eq!(
                parse_stat(line.as_bytes()),
                Some(Stat {
                    state: b'S',
                    start: 62317
                }),
                "{name}"
            );
        }
        let mut raw = b"12 (\xff\xfe) ".to_vec();
        raw.extend_from_slice(TAIL.as_bytes());
        assert_eq!(
            parse_stat(&raw),
            Some(Stat {
                state: b'S',
                start: 62317
            })
        );
    }

    #[test]
    fn a_broken_stat_is_refused() {
        for line in [
            "",
            "12 (sh",
            "12 (sh)",
            "12 (sh) S 1 2",
            "12 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x",
        ] {
            assert_eq!(parse_stat(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn this_process_is_alive_under_its_own_start_only() {
        let own = ProcessId::current(rustix::process::getpid()).unwrap().unwrap();
        assert!(own.is_alive().unwrap());
        let other = ProcessId {
            start: own.start + 1,
            ..own
        };
        assert!(!other.is_alive().unwrap());
        assert!(other.open().unwrap().is_none());
    }

    #[test]
    fn a_child_is_signalled_waited_for_and_then_dead() {
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        let id = ProcessId::current(pid).unwrap().unwrap();
        let process = id.open().unwrap().unwrap();
        assert!(!process.wait_exit(Instant::now()).unwrap());
        process.signal(libc::SIGKILL).unwrap();
        assert!(
            process
                .wait_exit(Instant::now() + Duration::from_secs(10))
                .unwrap()
        );
        // A zombie until the next line: its number is taken and its start still the same.
        assert!(!id.is_alive().unwrap());
        child.wait().unwrap();
        assert!(id.open().unwrap().is_none());
    }
}
