//! Copies between the caller's stdin and stdout and the container's pseudoterminal, without ever waiting for one of them.
//!
//! The waiting is `foreground`'s: it asks which descriptors matter and says which of them are ready.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::stdio::{stdin, stdout};

use crate::error::Result;
use crate::host_terminal::{HostTerminal, clear_onlcr};
use crate::sys::{Errno, Named as _, retry};
use crate::tty;

/// No more than a pipe that is ready takes at once (`PIPE_BUF`), so that a write never waits.
const CHUNK: usize = 4096;
/// More chunks than a terminal holds (64 KiB on the way and 4 KiB arrived): what comes after them was written later.
const HELD: usize = 20;

/// Both directions of a terminal.
#[derive(Debug)]
pub(crate) struct TerminalProxy {
    master: OwnedFd,
    /// Held so that the terminal does not hang up while a program closes it and opens it again, as systemd does.
    _slave: OwnedFd,
    host: Option<HostTerminal>,
    input: Flow,
    output: Flow,
}

/// One of the descriptors involved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Stdin,
    Stdout,
    Master,
}

impl TerminalProxy {
    /// Takes over the caller's terminal, if there is one, until this is dropped.
    pub(crate) fn new(master: OwnedFd) -> Result<Self> {
        clear_onlcr(master.as_fd())?;
        let flags = fcntl_getfl(&master).named(|| "fcntl(master, F_GETFL)".into())?;
        fcntl_setfl(&master, flags | OFlags::NONBLOCK).named(|| "fcntl(master, F_SETFL)".into())?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags).named(|| "ioctl(master, TIOCGPTPEER)".into())?;
        let host = HostTerminal::find()?;
        if let Some(host) = &host {
            host.make_raw()?;
        }
        let proxy = Self { master, _slave: slave, host, input: Flow::default(), output: Flow::default() };
        proxy.follow_size();
        Ok(proxy)
    }

    /// Gives the container's terminal the size of the caller's. A caller that hung up has none.
    pub(crate) fn follow_size(&self) {
        if let Some(size) = self.host.as_ref().and_then(|host| host.size().ok()) {
            // The container's terminal is only a number of lines wrong if this fails.
            let _ = tty::resize(self.master.as_fd(), size);
        }
    }

    /// What to wait for.
    pub(crate) fn interests(&self) -> Vec<(End, PollFd<'_>)> {
        let mut master = PollFlags::empty();
        let mut interests = Vec::with_capacity(3);
        match self.input.wish() {
            Wish::Fill => interests.push((End::Stdin, PollFd::from_borrowed_fd(stdin(), PollFlags::IN))),
            Wish::Drain => master |= PollFlags::OUT,
            Wish::Nothing => {}
        }
        match self.output.wish() {
            Wish::Fill => master |= PollFlags::IN,
            Wish::Drain => interests.push((End::Stdout, PollFd::from_borrowed_fd(stdout(), PollFlags::OUT))),
            Wish::Nothing => {}
        }
        if !master.is_empty() {
            interests.push((End::Master, PollFd::from_borrowed_fd(self.master.as_fd(), master)));
        }
        interests
    }

    /// Copies what can be copied now.
    pub(crate) fn serve(&mut self, end: End) -> Result<()> {
        match (end, self.input.wish(), self.output.wish()) {
            (End::Stdin, Wish::Fill, _) => self.input.fill(stdin())?,
            (End::Stdout, _, Wish::Drain) => self.output.drain_to_stdout()?,
            (End::Master, input, output) => {
                if input == Wish::Drain {
                    self.input.drain(self.master.as_fd())?;
                }
                if output == Wish::Fill {
                    self.output.fill(self.master.as_fd())?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Copies what was written before the process ended and nobody has read yet. Not what others go on writing.
    pub(crate) fn finish(mut self) -> Result<()> {
        for _ in 0..HELD {
            while self.output.wish() == Wish::Drain {
                let mut ready = [PollFd::from_borrowed_fd(stdout(), PollFlags::OUT)];
                retry(|| poll(&mut ready, None)).named(|| "poll(stdout)".into())?;
                self.output.drain_to_stdout()?;
            }
            if self.output.wish() == Wish::Nothing {
                return Ok(());
            }
            self.output.fill(self.master.as_fd())?;
            if self.output.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Bytes on their way in one direction.
#[derive(Debug, Default)]
struct Flow {
    bytes: Vec<u8>,
    sent: usize,
    ended: bool,
    /// Nobody takes the bytes any more; they are still read, so that the container is not stopped by a full terminal.
    discarded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Fill,
    Drain,
    Nothing,
}

impl Flow {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    fn wish(&self) -> Wish {
        match (self.is_empty(), self.ended) {
            (false, _) => Wish::Drain,
            (true, false) => Wish::Fill,
            (true, true) => Wish::Nothing,
        }
    }

    fn fill(&mut self, from: BorrowedFd<'_>) -> Result<()> {
        self.sent = 0;
        self.bytes.resize(CHUNK, 0);
        let read = retry(|| rustix::io::read(from, &mut self.bytes[..]));
        self.bytes.truncate(*read.as_ref().unwrap_or(&0));
        match read {
            // A terminal says EIO for the end: a master whose slave hung up, the caller's in the background.
            Ok(0) | Err(Errno::IO) => self.ended = true,
            Ok(_) if self.discarded => self.bytes.clear(),
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(errno) => return Ok(Err(errno).named(|| "read(terminal)".into())?),
        }
        Ok(())
    }

    fn drain_to_stdout(&mut self) -> Result<()> {
        self.drain(stdout())
    }

    fn drain(&mut self, to: BorrowedFd<'_>) -> Result<()> {
        match retry(|| rustix::io::write(to, &self.bytes[self.sent..])) {
            Ok(written) => self.sent += written,
            Err(Errno::AGAIN) => {}
            Err(Errno::PIPE | Errno::IO) => {
                self.discarded = true;
                self.bytes.clear();
                self.sent = 0;
            }
            Err(errno) => return Ok(Err(errno).named(|| "write(terminal)".into())?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe")
    }

    #[test]
    fn bytes_are_filled_once_and_drained_to_the_last() {
        let (source, input) = pipe();
        let (output, sink) = pipe();
        let mut flow = Flow::default();
        assert_eq!(flow.wish(), Wish::Fill);
        rustix::io::write(&input, b"hello").expect("write");
        flow.fill(source.as_fd()).expect("fill");
        assert_eq!(flow.wish(), Wish::Drain);
        flow.drain(sink.as_fd()).expect("drain");
        assert_eq!(flow.wish(), Wish::Fill);
        let mut got = [0; 9];
        assert_eq!(rustix::io::read(&output, &mut got), Ok(5));
        assert_eq!(&got[..5], b"hello");
    }

    #[test]
    fn an_empty_source_is_asked_again_and_a_closed_one_is_not() {
        let (source, input) = pipe();
        let mut flow = Flow::default();
        flow.fill(source.as_fd()).expect("nothing there");
        assert_eq!(flow.wish(), Wish::Fill);
        drop(input);
        flow.fill(source.as_fd()).expect("the end");
        assert_eq!(flow.wish(), Wish::Nothing);
    }

    #[test]
    fn a_full_sink_keeps_the_rest_and_a_closed_one_is_ignored() {
        let (source, input) = pipe();
        let (output, sink) = pipe();
        while rustix::io::write(&sink, &[0; CHUNK]).is_ok() {}
        let mut flow = Flow::default();
        rustix::io::write(&input, b"one").expect("write");
        flow.fill(source.as_fd()).expect("fill");
        flow.drain(sink.as_fd()).expect("full");
        assert_eq!((flow.wish(), flow.sent), (Wish::Drain, 0));
        drop(output);
        flow.drain(sink.as_fd()).expect("closed");
        assert_eq!(flow.wish(), Wish::Fill);
        rustix::io::write(&input, b"two").expect("write");
        flow.fill(source.as_fd()).expect("read and forgotten");
        assert_eq!(flow.wish(), Wish::Fill);
    }
}
