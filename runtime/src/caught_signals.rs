//! The signals of a runtime that waits for its container: none is handled, all are read from a descriptor.
//!
//! They are blocked before the container's process exists, so that none is lost; that process sets the caller's mask
//! again before it runs its program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::Result;
use crate::sys::signals::{SignalMask, block_signals, reset_signal, set_signal_mask, signalfd};
use crate::sys::{Errno, Named as _, retry};

/// Bytes of a `struct signalfd_siginfo`, whose first field is the number of the signal.
const RECORD: usize = 128;
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

    /// The numbers of the signals that have come; empty if there are none.
    pub(crate) fn take(&self) -> Result<Vec<i32>> {
        let mut records = [0; RECORD * RECORDS];
        let read = match retry(|| rustix::io::read(&self.fd, &mut records)) {
            Err(Errno::AGAIN) => 0,
            result => result.named(|| "read(signalfd)".into())?,
        };
        let numbers = records[..read].chunks_exact(RECORD).filter_map(|record| record.first_chunk());
        Ok(numbers.map(|number| i32::from_ne_bytes(*number)).collect())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Gives SIGPIPE its effect again, which Rust's start-up code took away: ignored signals stay ignored through execve.
pub(crate) fn restore_sigpipe() -> Result<()> {
    Ok(reset_signal(libc::SIGPIPE)?)
}
