//! `docker logs`: what the monitor of a container has written, read from its files. The files outlive the process and the
//! engine, so a log is read the same way whether the container runs or not.

mod destination;
mod files;
mod framer;
mod json_file;
mod local;
mod reader;
mod tail;
mod watches;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::container::Status;
use crate::engine::Engine;
use crate::error::{Error, Result};

pub(crate) use destination::{destination, json_file};
pub(crate) use framer::Framing;
pub(crate) use reader::{Progress, Reader};

use destination::Format;

/// What `GET /containers/{id}/logs` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogQuery {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    /// The last lines, of both streams together; none: all.
    pub(crate) tail: Option<u64>,
    /// Also what is written from now on, until the container stops.
    pub(crate) follow: bool,
    /// Each line begins with its time.
    pub(crate) timestamps: bool,
    /// Each line begins with the attributes that the options of the log ask for.
    pub(crate) details: bool,
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    stream: Stream,
    time: Timestamp,
    attributes: BTreeMap<String, String>,
    /// With its newline; a longer line goes on in the next entry of its stream.
    text: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

impl Entry {
    fn ends_a_line(&self) -> bool {
        self.text.ends_with(b"\n")
    }
}

impl LogQuery {
    /// As the API has it: a number, or anything else for all.
    pub(crate) fn parse_tail(text: &str) -> Option<u64> {
        text.parse().ok()
    }

    fn wants(&self, entry: &Entry) -> bool {
        let stream = match entry.stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        stream && self.since.is_none_or(|since| entry.time >= since)
    }

    /// Nothing after this entry is wanted.
    fn is_over(&self, entry: &Entry) -> bool {
        self.until.is_some_and(|until| entry.time > until)
    }
}

impl Engine {
    /// Begins to read a container's log. Frames are those of Docker's multiplexed streams, or raw text of a terminal.
    pub(crate) fn logs(&self, name: &str, query: LogQuery) -> Result<Reader> {
        if !query.stdout && !query.stderr {
            return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
        }
        let container = self.containers.find(name)?;
        // Before the record: an end that comes between the two is not missed.
        let turns = container.turns();
        let record = container.record();
        if record.removing || record.state.status == Status::Dead {
            let why = "can not get logs from container which is dead or marked for removal";
            return Err(Error::conflict(why));
        }
        let (format, path) = Format::of(&record, &container.folder)
            .ok_or_else(|| Error::not_implemented("configured logging driver does not support reading"))?;
        let framing = if record.has_terminal() { Framing::Raw } else { Framing::Multiplexed };
        let turns = Some(turns).filter(|_| query.follow && record.state.status.is_up());
        Reader::open(format, path, query, framing, turns)
    }
}
