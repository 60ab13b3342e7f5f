//! The standard streams of the process: three pipes, or the master of one terminal (pipe(7), pty(7)).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{Named as _, Result};
use crate::frame::Kind;
use crate::task::Stdin;

/// Our ends. None: not there, or closed already. No end blocks.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    terminal: bool,
}

/// The ends that the runtime gives to the process; none: /dev/null.
#[derive(Debug, Default)]
pub(crate) struct ForProcess {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// What a read of an output gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Bytes(usize),
    /// Nothing for now.
    Empty,
    /// Nothing ever again; the end is closed.
    Ended,
}

impl Streams {
    /// Pipes for a process without a terminal.
    pub(crate) fn pipes(stdin: Stdin) -> Result<(Self, ForProcess)> {
        let (stdout, their_stdout) = pipe_with(PipeFlags::CLOEXEC).named("pipe for stdout")?;
        let (stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC).named("pipe for stderr")?;
        let mut ours = Self { stdout: Some(stdout), stderr: Some(stderr), ..Self::default() };
        let mut theirs = ForProcess { stdin: None, stdout: Some(their_stdout), stderr: Some(their_stderr) };
        if stdin != Stdin::Closed {
            let (their_stdin, stdin) = pipe_with(PipeFlags::CLOEXEC).named("pipe for stdin")?;
            (ours.stdin, theirs.stdin) = (Some(stdin), Some(their_stdin));
        }
        [&ours.stdin, &ours.stdout, &ours.stderr].into_iter().flatten().try_for_each(set_nonblocking)?;
        Ok((ours, theirs))
    }

    /// A process with a terminal, which the runtime will send.
    pub(crate) fn awaiting_terminal() -> (Self, ForProcess) {
        (Self { terminal: true, ..Self::default() }, ForProcess::default())
    }

    /// Receives the terminal's master from the runtime, the one client of `socket`.
    pub(crate) fn receive_terminal(&mut self, socket: &UnixListener) -> Result<()> {
        let (connection, _) = socket.accept().named("accept on the console socket")?;
        let mut name = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [io::IoSliceMut::new(&mut name)];
        recvmsg(&connection, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)
            .named("receive the terminal")?;
        let master = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "no descriptor came with the message");
        let master = master.ok_or_else(missing).named("receive the terminal")?;
        set_nonblocking(&master)?;
        self.stdin = Some(master.try_clone().named("duplicate the terminal")?);
        self.stdout = Some(master);
        Ok(())
    }

    pub(crate) fn stdin(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn output(&self, kind: Kind) -> Option<BorrowedFd<'_>> {
        let end = if kind == Kind::Stderr { &self.stderr } else { &self.stdout };
        end.as_ref().map(AsFd::as_fd)
    }

    /// All output has come.
    pub(crate) fn are_drained(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    pub(crate) fn read(&mut self, kind: Kind, buffer: &mut [u8]) -> Result<Output> {
        let end = if kind == Kind::Stderr { &mut self.stderr } else { &mut self.stdout };
        let Some(fd) = end else { return Ok(Output::Ended) };
        match rustix::io::retry_on_intr(|| rustix::io::read(&*fd, &mut *buffer)) {
            Err(rustix::io::Errno::AGAIN) => Ok(Output::Empty),
            // A terminal says EIO when nobody has its other side open.
            Ok(0) | Err(rustix::io::Errno::IO) => {
                *end = None;
                Ok(Output::Ended)
            }
            read => read.map(Output::Bytes).named("read the process's output"),
        }
    }

    /// Writes what the process's standard input takes now: how many bytes. A process that reads no more takes all.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(fd) = &self.stdin else { return Ok(bytes.len()) };
        match rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes)) {
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::IO) => {
                self.stdin = None;
                Ok(bytes.len())
            }
            written => written.named("write to the process's input"),
        }
    }

    /// The process reads an end of file after what was written. A terminal stays: its end is a character.
    pub(crate) fn close_stdin(&mut self) {
        if !self.terminal {
            self.stdin = None;
        }
    }

    /// Sets the terminal's size in characters; false when there is no terminal.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<bool> {
        let Some(master) = self.stdout.as_ref().filter(|_| self.terminal) else { return Ok(false) };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(master, size).named("resize the terminal")?;
        Ok(true)
    }
}

fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    fcntl_setfl(fd, OFlags::NONBLOCK).named("fcntl(F_SETFL, O_NONBLOCK)")
}
