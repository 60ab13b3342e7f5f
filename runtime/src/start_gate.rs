//! What holds a created container back until `start`: a FIFO in the state directory.
//!
//! Init has it open for reading and writing, so its read of one byte waits however many writers come and go. `start`
//! opens it for writing only: ENXIO means init is gone, and once the byte is written, the end of init's descriptor
//! (closed by execve, or by death) shows as POLLERR. So `start` returns when the program runs, without a clock.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};

use crate::error::{During, Result};
use crate::sys::{Errno, Named};

/// Init's side: waits for the byte.
pub(crate) fn wait(gate: BorrowedFd<'_>) -> Result<()> {
    let mut byte = [0];
    loop {
        match rustix::io::read(gate, &mut byte) {
            Err(Errno::INTR) => {}
            result => return Ok(result.map(drop).named(|| "read(exec.fifo)".into())?),
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
    // No event is asked for: POLLERR comes by itself.
    let mut fds = [PollFd::from_borrowed_fd(gate.as_fd(), PollFlags::empty())];
    rustix::io::retry_on_intr(|| poll(&mut fds, None)).named(|| "poll(exec.fifo)".into())?;
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
        let start = open_fifo(false).unwrap();
        std::fs::remove_file(&path).unwrap();
        let waiter = std::thread::spawn(move || wait(init.as_fd()));
        open(&start, || Ok(())).unwrap();
        waiter.join().unwrap().unwrap();
    }
}
