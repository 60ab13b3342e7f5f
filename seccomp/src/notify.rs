//! Telling the agent at `listenerPath` about a listener (config-linux.md, "The Container Process State").
//!
//! The process under the filter cannot do this: its own calls may already wait for the agent. Its parent does.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Serialize;

use crate::error::Error;

/// `fds` of the message: what the one descriptor sent with it is.
const FD_NAMES: [&str; 1] = ["seccompFd"];

/// The message. `S` is the container's state as runtime.md describes it, status `creating` or `running`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessState<'a, S> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a S,
}

impl<'a, S: Serialize> ProcessState<'a, S> {
    /// `pid` is the process under the filter as the runtime sees it, `metadata` the profile's `listenerMetadata`.
    pub fn new(oci_version: &'a str, pid: i32, metadata: &'a str, state: &'a S) -> Self {
        Self { oci_version, fds: FD_NAMES, pid, metadata, state }
    }
}

/// A connection to an agent.
#[derive(Debug)]
pub struct Agent {
    path: String,
    socket: UnixStream,
}

impl Agent {
    /// Connects to `listenerPath`; `@name` is an abstract address, as in Go.
    pub fn connect(path: &str) -> Result<Self, Error> {
        let socket = match path.strip_prefix('@') {
            Some(name) => {
                SocketAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address))
            }
            None => UnixStream::connect(path),
        };
        let socket = socket.map_err(|source| Error::AgentConnect { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), socket })
    }

    /// Sends the message and a copy of the listener.
    pub fn send<S: Serialize>(
        self,
        message: &ProcessState<'_, S>,
        listener: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let sent = serde_json::to_vec(message)
            .map_err(io::Error::from)
            .and_then(|message| self.write(&message, listener));
        sent.map_err(|source| Error::AgentSend { path: self.path, source })
    }

    fn write(&self, message: &[u8], listener: BorrowedFd<'_>) -> io::Result<()> {
        let listener = [listener];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&listener));
        let parts = [IoSlice::new(message)];
        let sent =
            rustix::io::retry_on_intr(|| sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL))?;
        // The descriptor went with the first byte; a stream socket may want the rest separately.
        (&self.socket).write_all(&message[sent..])
    }
}
