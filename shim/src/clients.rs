//! Who is connected to the monitor's socket, and what each has to be sent. Nothing here blocks.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::epoll::EventFlags;
use serde::Deserialize;

use crate::frame::{self, Frame, Kind};

/// Unsent bytes from which on a client counts as slow: the process then waits for it, as it would for a slow terminal.
const SLOW: usize = 256 * 1024;

/// Names a connection for as long as it lasts.
pub(crate) type Id = u64;

/// What a client may ask for in a control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// To be sent output from now on, and to send input.
    Attach {
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    Resize {
        rows: u16,
        columns: u16,
    },
    /// An end of file for the process, whatever the task says of its standard input.
    CloseStdin {},
}

/// One thing that a client has sent.
#[derive(Debug)]
pub(crate) enum Message {
    /// Empty: this client sends no more.
    Stdin(Vec<u8>),
    Request(Request),
    /// A control frame that is no request; the text says why.
    Refused(String),
}

#[derive(Debug, Default)]
pub(crate) struct Clients {
    connected: BTreeMap<Id, Client>,
    next: Id,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    wants_stdout: bool,
    wants_stderr: bool,
    gives_stdin: bool,
    /// It has hung up; what it sent before is acted on all the same.
    gone: bool,
    /// What the epoll is asked to tell of it.
    interest: EventFlags,
}

impl Clients {
    /// Takes a connection that does not block.
    pub(crate) fn add(&mut self, stream: UnixStream) -> Id {
        let id = self.next;
        self.next += 1;
        let client = Client {
            stream,
            received: Vec::new(),
            unsent: Vec::new(),
            wants_stdout: false,
            wants_stderr: false,
            gives_stdin: false,
            gone: false,
            interest: EventFlags::IN,
        };
        self.connected.insert(id, client);
        id
    }

    /// Forgets a client; true when it had attached standard input.
    pub(crate) fn remove(&mut self, id: Id) -> bool {
        self.connected.remove(&id).is_some_and(|client| client.gives_stdin)
    }

    pub(crate) fn ids(&self) -> Vec<Id> {
        self.connected.keys().copied().collect()
    }

    pub(crate) fn descriptor(&self, id: Id) -> Option<BorrowedFd<'_>> {
        self.connected.get(&id).map(|client| client.stream.as_fd())
    }

    /// Reads what is there; false when the client has hung up.
    pub(crate) fn receive(&mut self, id: Id, buffer: &mut [u8]) -> bool {
        let Some(client) = self.connected.get_mut(&id) else { return true };
        match client.stream.read(buffer) {
            Ok(0) => false,
            Ok(length) => {
                client.received.extend_from_slice(&buffer[..length]);
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// Marks a client as gone: it is sent nothing more.
    pub(crate) fn hang_up(&mut self, id: Id) {
        if let Some(client) = self.connected.get_mut(&id) {
            (client.wants_stdout, client.wants_stderr, client.gone) = (false, false, true);
            client.unsent = Vec::new();
        }
    }

    pub(crate) fn is_gone(&self, id: Id) -> bool {
        self.connected.get(&id).is_some_and(|client| client.gone)
    }

    /// The next whole message of a client, when `accepts` its kind. An error: the client does not speak frames.
    pub(crate) fn next_message(
        &mut self,
        id: Id,
        accepts: impl FnOnce(Kind) -> bool,
    ) -> Result<Option<Message>, frame::Malformed> {
        let Some(client) = self.connected.get_mut(&id) else { return Ok(None) };
        let Some(Frame { kind, payload, length }) = frame::read(&client.received)? else { return Ok(None) };
        if !accepts(kind) {
            return Ok(None);
        }
        let message = match kind {
            Kind::Stdin => Message::Stdin(payload.to_vec()),
            _ => match serde_json::from_slice(payload) {
                Ok(request) => Message::Request(request),
                Err(error) => Message::Refused(error.to_string()),
            },
        };
        client.received.drain(..length);
        Ok(Some(message))
    }

    pub(crate) fn attach(&mut self, id: Id, stdin: bool, stdout: bool, stderr: bool) {
        if let Some(client) = self.connected.get_mut(&id) {
            (client.gives_stdin, client.wants_stdout, client.wants_stderr) = (stdin, stdout, stderr);
        }
    }

    /// Queues output for everybody who wants it.
    pub(crate) fn send_output(&mut self, kind: Kind, bytes: &[u8]) {
        for client in self.connected.values_mut().filter(|client| client.wants(kind)) {
            frame::write(&mut client.unsent, kind, bytes);
        }
    }

    /// Queues a control frame for one client.
    pub(crate) fn answer(&mut self, id: Id, body: &serde_json::Value) {
        if let Some(client) = self.connected.get_mut(&id).filter(|client| !client.gone) {
            frame::write(&mut client.unsent, Kind::Control, body.to_string().as_bytes());
        }
    }

    /// Sends what the socket takes; false when the client is gone.
    pub(crate) fn flush(&mut self, id: Id) -> bool {
        let Some(client) = self.connected.get_mut(&id) else { return true };
        while !client.unsent.is_empty() {
            match client.stream.write(&client.unsent) {
                Ok(sent) => drop(client.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        client.unsent.shrink_to(frame::LONGEST);
        true
    }

    /// What is to be told of a client from now on; none when that is what is told already.
    pub(crate) fn changed_interest(&mut self, id: Id, takes_input: bool) -> Option<EventFlags> {
        let client = self.connected.get_mut(&id)?;
        let input = if takes_input { EventFlags::IN } else { EventFlags::empty() };
        let output = if client.unsent.is_empty() { EventFlags::empty() } else { EventFlags::OUT };
        let interest = input | output;
        (std::mem::replace(&mut client.interest, interest) != interest).then_some(interest)
    }

    pub(crate) fn all_sent(&self) -> bool {
        self.connected.values().all(|client| client.unsent.is_empty())
    }

    /// Clients that keep an output from being read further.
    pub(crate) fn slow(&self, kind: Kind) -> Vec<Id> {
        let slow = |client: &Client| client.wants(kind) && client.unsent.len() >= SLOW;
        self.connected.iter().filter(|(_, client)| slow(client)).map(|(&id, _)| id).collect()
    }
}

impl Client {
    fn wants(&self, kind: Kind) -> bool {
        if kind == Kind::Stderr { self.wants_stderr } else { self.wants_stdout }
    }
}
