//! The other end of `--console-socket` and `--pidfd-socket`: a Unix socket that receives one descriptor; and terminals.

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::sys;
use crate::wait::PATIENCE;

/// A listening socket; nothing is read until it is asked for.
pub struct Receiver {
    listener: UnixListener,
    pub path: PathBuf,
}

impl Receiver {
    pub fn listen(path: &Path) -> Self {
        let listener = UnixListener::bind(path);
        match listener {
            Ok(listener) => Self { listener, path: path.to_owned() },
            Err(error) => panic!("listen on {}: {error}", path.display()),
        }
    }

    /// The descriptor and the text that came with it.
    pub fn receive(&self) -> (OwnedFd, String) {
        assert!(readable(&self.listener, PATIENCE), "nobody connected to {}", self.path.display());
        let (stream, _) = self.listener.accept().unwrap_or_else(|error| panic!("accept: {error}"));
        let mut text = [0_u8; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&stream, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let bytes = received.map_or(0, |message| message.bytes);
        let mut fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fd = fds.by_ref().flatten().next();
        let text = String::from_utf8_lossy(&text[..bytes]).into_owned();
        (fd.unwrap_or_else(|| panic!("no descriptor came with `{text}`")), text)
    }
}

/// The master side of a container's terminal.
pub struct Console {
    master: File,
    seen: String,
}

impl Console {
    pub fn new(master: OwnedFd) -> Self {
        Self { master: File::from(master), seen: String::new() }
    }

    pub fn master(&self) -> &File {
        &self.master
    }

    pub fn type_in(&mut self, text: &str) {
        let typed = self.master.write_all(text.as_bytes());
        assert!(typed.is_ok(), "write to the console: {typed:?}");
    }

    /// Reads until `text` has been shown; gives everything shown so far.
    pub fn read_until(&mut self, text: &str) -> &str {
        while !self.seen.contains(text) {
            assert!(self.read_some(), "the console ended without `{text}`: {}", self.seen);
        }
        &self.seen
    }

    /// Reads until the other side is closed.
    pub fn read_all(&mut self) -> &str {
        while self.read_some() {}
        &self.seen
    }

    fn read_some(&mut self) -> bool {
        assert!(readable(&self.master, PATIENCE), "the console is silent after: {}", self.seen);
        let mut bytes = [0_u8; 8192];
        match self.master.read(&mut bytes) {
            // A pty whose other side is closed answers EIO.
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
                true
            }
        }
    }
}

/// Whether there is something to read, or an end, within `limit`.
pub(crate) fn readable(fd: &impl std::os::fd::AsFd, limit: std::time::Duration) -> bool {
    let limit = Timespec::try_from(limit).ok();
    poll(&mut [PollFd::new(fd, PollFlags::IN)], limit.as_ref()).is_ok_and(|ready| ready > 0)
}

/// A terminal of ours: the master's side, and the side a program gets.
///
/// # Panics
/// There is none to be had.
#[allow(clippy::expect_used)] // a test ends where an expectation fails
pub fn terminal() -> (Console, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("unlock the pty");
    let name = ptsname(&master, Vec::new()).expect("its name");
    let side =
        File::options().read(true).write(true).open(name.to_str().expect("utf-8")).expect("the other side");
    (Console::new(master), side)
}

/// Starts `command` on `side` as the leader of a session there, as a shell in a terminal would.
///
/// # Panics
/// It does not start.
#[allow(clippy::expect_used)] // the same
pub fn begin_on(mut command: Command, side: &File) -> Child {
    let copy = || side.try_clone().expect("the terminal");
    command.stdin(copy()).stdout(copy()).stderr(copy());
    sys::take_terminal(&mut command);
    command.spawn().expect("start the runtime")
}
