//! The signals of a runtime that waits for its container: none is handled, all are read from a descriptor.
//!
//! They are blocked before the container's process exists, so that none is lost; that process sets the caller's mask
//! again before it runs its program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::getpid;

use crate::error::Result;
use crate::sys::signals::{SignalMask, block_signals, reset_signal, set_signal_mask, signalfd};
use crate::sys::{Errno, Named as _, retry};

/// Bytes of a `struct signalfd_siginfo`, and where in it are the number of the signal and the sender.
const RECORD: usize = 128;
const SIGNAL: usize = 0;
const PID: usize = 12;
const RECORDS: usize = 8;

/// All signals of this process, blocked.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: OwnedFd,
    callers: SignalMask,
}

impl Signals {
    pub(crate) fn block() -> Result<Self> {
        let callers = block_signals()?;
        Ok(Self { fd: signalfd()?, callers })
    }

    /// Makes the caller's mask count again: in the new process before it runs its program.
    pub(crate) fn unblock(&self) -> Result<()> {
        Ok(set_signal_mask(&self.callers)?)
    }

    /// The numbers of the signals that others have sent; empty if there are none.
    pub(crate) fn take(&self) -> Result<Vec<i32>> {
        let mut records = [0; RECORD * RECORDS];
        let read = match retry(|| rustix::io::read(&self.fd, &mut records)) {
            Err(Errno::AGAIN) => 0,
            result => result.named(|| "read(signalfd)".into())?,
        };
        let signals =
            records[..read].chunks_exact(RECORD).map(|record| (field(record, SIGNAL), field(record, PID)));
        // A SIGPIPE of our own says what the failed write has said already.
        let others =
            signals.filter(|(signal, pid)| *signal != libc::SIGPIPE || *pid != getpid().as_raw_pid());
        Ok(others.map(|(signal, _)| signal).collect())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn field(record: &[u8], at: usize) -> i32 {
    record.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| i32::from_ne_bytes(*bytes))
}

/// Gives SIGPIPE its effect again, which `sys::start` took away: ignored signals stay ignored through execve.
pub(crate) fn restore_sigpipe() -> Result<()> {
    Ok(reset_signal(libc::SIGPIPE)?)
}
