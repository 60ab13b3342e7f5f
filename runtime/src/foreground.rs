//! Waits for the process of a `run` or `exec` in the foreground, and does meanwhile what it would do itself were it a
//! child of the caller: takes the caller's signals, shows its terminal, returns its exit status.
//!
//! One poll(2) over everything; nothing here waits for one of them alone.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, getpid, wait, waitid};

use crate::caught_signals::Signals;
use crate::error::Result;
use crate::notify_socket::NotifySocket;
use crate::sys::{Errno, Named as _, pidfd_send_signal, retry};
use crate::terminal_proxy::{End, TerminalProxy};

/// A process that the caller waits for.
#[derive(Debug)]
pub(crate) struct Foreground<'a> {
    /// Must be a child of this process.
    pub(crate) pid: Pid,
    pub(crate) pidfd: BorrowedFd<'a>,
    /// Blocked since before the process was made.
    pub(crate) signals: &'a Signals,
    pub(crate) orphans: Orphans,
    pub(crate) terminal: Option<TerminalProxy>,
    pub(crate) notify: Option<NotifySocket>,
}

/// What to do with processes that lost their parent and became children of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orphans {
    Reap,
    Leave,
}

/// What has something to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Process,
    Notify,
    Terminal(End),
}

impl Foreground<'_> {
    /// Returns the exit status of the process: 0 to 255, 128 and the number of the signal that ended it.
    pub(crate) fn wait(mut self) -> Result<i32> {
        let status = loop {
            if let Some(status) = self.turn()? {
                break status;
            }
        };
        if let Some(terminal) = self.terminal {
            terminal.finish()?;
        }
        Ok(status)
    }

    fn turn(&mut self) -> Result<Option<i32>> {
        let mut status = None;
        for source in self.ready()? {
            match source {
                Source::Process => status = exit_status(self.pidfd)?,
                // For a process that has ended they come too late.
                Source::Signals if status.is_some() => {}
                Source::Signals => status = self.take_signals()?,
                Source::Notify => self.forward_notification()?,
                Source::Terminal(end) => {
                    if let Some(terminal) = &mut self.terminal {
                        terminal.serve(end)?;
                    }
                }
            }
        }
        Ok(status)
    }

    /// Waits until something happens.
    fn ready(&self) -> Result<Vec<Source>> {
        let mut sources = vec![Source::Process, Source::Signals];
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        if let Some(notify) = &self.notify {
            sources.push(Source::Notify);
            fds.push(PollFd::from_borrowed_fd(notify.as_fd(), PollFlags::IN));
        }
        for (end, fd) in self.terminal.iter().flat_map(TerminalProxy::interests) {
            sources.push(Source::Terminal(end));
            fds.push(fd);
        }
        retry(|| poll(&mut fds, None)).named(|| "poll()".into())?;
        let is_ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(sources.into_iter().zip(is_ready).filter_map(|(source, ready)| ready.then_some(source)).collect())
    }

    /// Hands the caller's signals on. Returns the status of the process if it was among the children that ended.
    fn take_signals(&self) -> Result<Option<i32>> {
        let mut status = None;
        for signal in self.signals.take()? {
            match signal {
                libc::SIGCHLD if self.orphans == Orphans::Reap => status = status.or(self.reap()?),
                libc::SIGCHLD | libc::SIGURG => {}
                libc::SIGWINCH => self.terminal.iter().for_each(TerminalProxy::follow_size),
                signal => self.send(signal)?,
            }
        }
        Ok(status)
    }

    fn send(&self, signal: i32) -> Result<()> {
        match pidfd_send_signal(self.pidfd, signal) {
            // It has ended; the next turn notices.
            Err(error) if error.errno == Errno::SRCH => Ok(()),
            result => Ok(result?),
        }
    }

    fn reap(&self) -> Result<Option<i32>> {
        let mut status = None;
        loop {
            match retry(|| wait(WaitOptions::NOHANG)) {
                Ok(Some((pid, ended))) if pid == self.pid => {
                    status = status_of(ended.exit_status(), ended.terminating_signal());
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(Errno::CHILD) => return Ok(status),
                Err(errno) => return Ok(Err(errno).named(|| "wait4(-1, WNOHANG)".into())?),
            }
        }
    }

    fn forward_notification(&mut self) -> Result<()> {
        if let Some(notify) = &self.notify
            && notify.forward(getpid())?
        {
            self.notify = None;
        }
        Ok(())
    }
}

/// The status of the process if it has ended; reaps it.
fn exit_status(pidfd: BorrowedFd<'_>) -> Result<Option<i32>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let ended =
        retry(|| waitid(WaitId::PidFd(pidfd), options)).named(|| "waitid(P_PIDFD, WEXITED)".into())?;
    Ok(ended.and_then(|ended| status_of(ended.exit_status(), ended.terminating_signal())))
}

fn status_of(exit: Option<i32>, signal: Option<i32>) -> Option<i32> {
    exit.or(signal.map(|signal| 128 + signal))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{PidfdFlags, pidfd_open};

    use super::*;

    /// In a thread of its own, whose signals are blocked for it alone.
    fn status_of_shell(script: &'static str) -> i32 {
        std::thread::spawn(move || {
            let signals = Signals::block().expect("block");
            let mut shell = Command::new("sh").args(["-c", script]).spawn().expect("spawn sh");
            let pid = Pid::from_child(&shell);
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd");
            let foreground = Foreground {
                pid,
                pidfd: pidfd.as_fd(),
                signals: &signals,
                orphans: Orphans::Leave,
                terminal: None,
                notify: None,
            };
            let status = foreground.wait().expect("wait");
            assert!(shell.wait().is_err(), "it has been reaped already");
            status
        })
        .join()
        .expect("joined")
    }

    #[test]
    fn the_status_is_the_programs() {
        assert_eq!(status_of_shell("exit 0"), 0);
        assert_eq!(status_of_shell("exit 255"), 255);
        // The shell inherits the blocked signals, so only one that cannot be blocked ends it.
        assert_eq!(status_of_shell("kill -KILL $$"), 128 + 9);
    }
}
