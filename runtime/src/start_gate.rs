//! What holds a created container back until `start`: a FIFO in the state directory.
//!
//! Init has it open for reading and writing, so its read of one byte waits however many writers come and go. `start`
//! opens it for writing only: ENXIO means init is gone, and once the byte is written, the end of init's descriptor
//! (closed by execve, or by death) shows as POLLERR. So `start` returns when the program runs, without a clock.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};

use crate::caught_signals::Signals;
use crate::error::{During, Error, Result};
use crate::sys::{Errno, Named, exit_now, retry};

/// Signals that end a process which does not handle them, and that are sent to have it end.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Init's side.
pub(crate) struct Gate<'a> {
    pub(crate) fifo: BorrowedFd<'a>,
    pub(crate) signals: Signals,
}

impl<'a> Gate<'a> {
    /// To be called before anybody can know of this process: from here on no signal to it is lost.
    pub(crate) fn new(fifo: BorrowedFd<'a>) -> Result<Self> {
        Ok(Self { fifo, signals: Signals::block()? })
    }

    /// Waits for the byte, or for a signal to end. The first process of a pid namespace has to see to the latter
    /// itself: what it does not handle, the kernel keeps from it (pid_namespaces(7)).
    pub(crate) fn wait(&self) -> Result<()> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.fifo, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            ];
            retry(|| poll(&mut fds, None)).named(|| "poll(exec.fifo)".into())?;
            if !fds[0].revents().is_empty() {
                retry(|| rustix::io::read(self.fifo, &mut [0])).named(|| "read(exec.fifo)".into())?;
                return self.signals.unblock();
            }
            if let Some(signal) = self.signals.take()?.into_iter().find(|signal| ENDING.contains(signal)) {
                exit_now(128 + signal);
            }
        }
    }
}

/// The side of `start`: lets init go, and returns once it has executed the program or has ended.
/// `opened` is called in between.
pub(crate) fn open(gate: &OwnedFd, opened: impl FnOnce() -> Result<()>) -> Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::write(gate, b"0"))
        .named(|| "write(exec.fifo)".into())
        .during(|| "start the container's process".into())?;
    opened()?;
    await_close(gate)
}

/// The same for a container of runc's, whose first process waits to open the other end, and writes. `gate` does not wait.
pub(crate) fn open_of_runc(
    gate: &OwnedFd,
    init: BorrowedFd<'_>,
    opened: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut fds = [
        PollFd::from_borrowed_fd(gate.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(init, PollFlags::IN),
    ];
    retry(|| poll(&mut fds, None)).named(|| "poll(exec.fifo)".into())?;
    match retry(|| rustix::io::read(gate, &mut [0])) {
        Ok(0) | Err(Errno::AGAIN) => {
            return Err(Error::WrongState("container process is already dead".into()));
        }
        read => read.named(|| "read(exec.fifo)".into())?,
    };
    opened()?;
    await_close(gate)
}

/// No event is asked for: POLLERR, or POLLHUP, comes by itself when the other end is closed.
fn await_close(gate: &OwnedFd) -> Result<()> {
    let mut fds = [PollFd::from_borrowed_fd(gate.as_fd(), PollFlags::empty())];
    retry(|| poll(&mut fds, None)).named(|| "poll(exec.fifo)".into())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    #[test]
    fn start_returns_when_init_closes_its_end() {
        let path = std::env::temp_dir().join(format!("knarr-gate-{}", std::process::id()));
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        let open_fifo = |read: bool| {
            // Init's end is to wait.
            let flags = if read { 0 } else { libc::O_NONBLOCK };
            let file = std::fs::OpenOptions::new().read(read).write(true).custom_flags(flags).open(&path);
            file.map(OwnedFd::from)
        };
        // Nobody waits: what `start` of a dead container sees.
        assert_eq!(open_fifo(false).unwrap_err().raw_os_error(), Some(libc::ENXIO));
        let init = open_fifo(true).unwrap();
        rustix::io::ioctl_fionbio(&init, false).unwrap();
        let start = open_fifo(false).unwrap();
        std::fs::remove_file(&path).unwrap();
        let waiter = std::thread::spawn(move || Gate::new(init.as_fd())?.wait());
        open(&start, || Ok(())).unwrap();
        waiter.join().unwrap().unwrap();
    }
}
