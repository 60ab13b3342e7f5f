//! One connection: authenticated, greeted, one call at a time, each with a deadline.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

use super::address;
use super::message::{Call, ERROR, METHOD_RETURN, Message, SIGNAL};
use super::value::Value;

/// Which systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bus {
    System,
    /// The user's own manager.
    User,
}

/// How long a job may take, too.
const PATIENCE: Duration = Duration::from_secs(30);
const DAEMON: &str = "org.freedesktop.DBus";
/// The socket's credentials say who we are: no uid is sent, which would be the wrong one in a user namespace.
const GREETING: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
const JOB_REMOVED: &str = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
                           interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    serial: u32,
    /// Path and result of each job that ended while something else was waited for.
    ended_jobs: Vec<(String, String)>,
}

impl Connection {
    /// Through the bus daemon, or to systemd's own socket where there is none.
    pub(crate) fn open(bus: Bus) -> Result<Self> {
        let mut error = Error::NoBus;
        for (address, direct) in address::candidates(bus) {
            match address::connect(&address) {
                Ok(stream) => return Self::greet(stream, direct),
                Err(source) => error = Error::BusConnect { address, source: source.into() },
            }
        }
        Err(error)
    }

    fn greet(stream: UnixStream, direct: bool) -> Result<Self> {
        let mut connection = Self { stream, received: Vec::new(), serial: 0, ended_jobs: Vec::new() };
        let deadline = Instant::now() + PATIENCE;
        connection.send(GREETING)?;
        loop {
            let line = connection.line(deadline)?;
            match line.split(' ').next().unwrap_or_default() {
                "DATA" => {}
                "OK" => break,
                _ => return Err(Error::BusProtocol(format!("authentication answered {line:?}"))),
            }
        }
        if !direct {
            connection.ask_daemon("Hello", &[])?;
            connection.ask_daemon("AddMatch", &[Value::str(JOB_REMOVED)])?;
        }
        Ok(connection)
    }

    /// Calls and waits for the answer.
    pub(crate) fn call(&mut self, call: &Call) -> Result<Vec<Value>> {
        let deadline = Instant::now() + PATIENCE;
        self.serial += 1;
        let serial = self.serial;
        self.send(&call.encode(serial))?;
        loop {
            let message = self.receive(deadline)?;
            match message.kind {
                METHOD_RETURN if message.reply_to == Some(serial) => return Ok(message.body),
                ERROR if message.reply_to == Some(serial) => {
                    let text = match message.body.into_iter().next() {
                        Some(Value::Str(text)) => text,
                        _ => message.error.clone(),
                    };
                    return Err(Error::BusReply {
                        call: call.member.to_owned(),
                        name: message.error,
                        message: text,
                    });
                }
                _ => self.note(&message),
            }
        }
    }

    /// Waits until a job of systemd has ended; its result (`done`, `failed`, ...).
    pub(crate) fn wait_for_job(&mut self, job: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(index) = self.ended_jobs.iter().position(|(path, _)| path == job) {
                return Ok(self.ended_jobs.swap_remove(index).1);
            }
            let message = self.receive(deadline)?;
            self.note(&message);
        }
    }

    fn ask_daemon(&mut self, member: &str, body: &[Value]) -> Result<()> {
        let path = "/org/freedesktop/DBus";
        self.call(&Call { destination: DAEMON, path, interface: DAEMON, member, body }).map(drop)
    }

    /// `JobRemoved(u id, o job, s unit, s result)` is the only signal of interest.
    fn note(&mut self, message: &Message) {
        if message.kind == SIGNAL
            && message.member == "JobRemoved"
            && let [_, Value::Path(job), _, Value::Str(result)] = message.body.as_slice()
        {
            self.ended_jobs.push((job.clone(), result.clone()));
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<Message> {
        loop {
            let length = Message::length(&self.received);
            let length =
                length.map_err(|()| Error::BusProtocol("what came is no D-Bus message".to_owned()))?;
            if let Some(length) = length.filter(|length| *length <= self.received.len()) {
                let bytes: Vec<u8> = self.received.drain(..length).collect();
                let malformed = || Error::BusProtocol("a message whose parts do not fit".to_owned());
                return Message::decode(&bytes).ok_or_else(malformed);
            }
            self.fill(deadline)?;
        }
    }

    fn line(&mut self, deadline: Instant) -> Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut part = [0; 4096];
        let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut part));
        match read {
            Ok(0) => Err(Error::BusProtocol("the other side hung up".to_owned())),
            Ok(length) => {
                self.received.extend(&part[..length]);
                Ok(())
            }
            Err(source) if source.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(source) if source.kind() == io::ErrorKind::WouldBlock => {
                Err(Error::BusProtocol(format!("no answer within {} s", PATIENCE.as_secs())))
            }
            Err(source) => Err(Error::BusIo { act: "receive", source: source.into() }),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).map_err(|source| Error::BusIo { act: "send", source: source.into() })
    }
}
