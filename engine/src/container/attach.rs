//! Being attached to a container's streams. A client may come before the process: it is connected to the monitor just
//! before that starts, and misses nothing.

use std::os::unix::net::UnixStream;

use tokio::sync::oneshot;

use super::{Container, Status, lock, start};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::log;
use crate::monitor::{Connection, Monitor, Streams};

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attach {
    pub(crate) streams: Streams,
}

/// A client's way to a process's streams.
pub(crate) struct Attached {
    pub(crate) terminal: bool,
    /// A connection to the monitor that is attached, when the process is there. Frames are those of docs/design/monitor.md;
    /// the first control frame is the answer to being attached. An error is for the client to see on the stream. Nothing
    /// comes if the process never started.
    pub(crate) stream: oneshot::Receiver<Result<UnixStream>>,
    /// Comes when the end of the process is on record; a client asks for the exit code right after its stream's end.
    pub(crate) recorded: Option<oneshot::Receiver<()>>,
}

/// A client that waits for the start.
pub(super) struct Early {
    streams: Streams,
    sender: oneshot::Sender<Result<UnixStream>>,
}

/// A client that is on the monitor's socket before the monitor is.
pub(super) struct Connected {
    connection: Connection,
    sender: oneshot::Sender<Result<UnixStream>>,
}

impl Connected {
    pub(super) fn hand_over(self) {
        // Who has hung up meanwhile is no matter.
        let _ = self.sender.send(Ok(self.connection.into_stream()));
    }
}

impl Engine {
    /// Attaches to a container, now or when it starts.
    pub(crate) fn attach(&self, name: &str, attach: Attach) -> Result<Attached> {
        let container = self.containers.find(name)?;
        // A removal that has begun is not waited for.
        container.record().refuse_if_removed("attached to")?;
        // The start connects those who wait, so nobody may come to wait while it does.
        let _act = container.begin_act();
        let record = container.record();
        record.refuse_if_removed("attached to")?;
        match record.state.status {
            Status::Paused => {
                let why = "is paused, unpause the container before attach";
                return Err(Error::conflict(format!("container {name} {why}")));
            }
            Status::Restarting => {
                let why = "is restarting, wait until the container is running";
                return Err(Error::conflict(format!("container {name} {why}")));
            }
            Status::Created | Status::Running | Status::Exited | Status::Dead => {}
        }
        let streams = Streams { stdin: attach.streams.stdin && record.config.open_stdin, ..attach.streams };
        let (sender, stream) = oneshot::channel();
        if record.state.status == Status::Running {
            let connection = connect(&self.monitor_of(&container.id), streams);
            let _ = sender.send(connection.map(Connection::into_stream)); // the receiver is in our hands
        } else {
            lock(&container.early).push(Early { streams, sender });
        }
        Ok(Attached { terminal: record.config.tty, stream, recorded: None })
    }

    /// Tells the terminal of a container its size, in characters.
    pub(crate) fn resize(&self, name: &str, rows: u16, columns: u16) -> Result<()> {
        let container = self.containers.find(name)?;
        let record = container.record();
        if !record.state.status.is_up() {
            return Err(Error::conflict(format!("container {} is not running", record.id)));
        }
        let connection = self.monitor_of(&container.id).connect();
        connection.while_doing("connect to the monitor")?.resize(rows, columns)?;
        let size = [("height", rows.to_string()), ("width", columns.to_string())];
        self.events.of_container("resize", &record, &size);
        Ok(())
    }

    pub(super) fn monitor_of(&self, id: &str) -> Monitor {
        Monitor::at(self.run_folder(id).join(start::MONITOR))
    }
}

impl Container {
    /// Connects those who wait to the socket of a monitor that is about to start.
    pub(super) fn connect_early(&self, monitor: &Monitor) -> Vec<Connected> {
        let waiting = std::mem::take(&mut *lock(&self.early));
        let still_there = waiting.into_iter().filter(|early| !early.sender.is_closed());
        still_there
            .filter_map(|early| match connect(monitor, early.streams) {
                Ok(connection) => Some(Connected { connection, sender: early.sender }),
                Err(error) => {
                    log::debug(&error);
                    let _ = early.sender.send(Err(error)); // or it has hung up
                    None
                }
            })
            .collect()
    }

    /// Sends those away who wait for a start that does not come.
    pub(super) fn drop_early(&self) {
        lock(&self.early).clear();
    }

    /// Ends so far.
    pub(super) fn ends(&self) -> u64 {
        lock(&self.turn).ends
    }
}

pub(super) fn connect(monitor: &Monitor, streams: Streams) -> Result<Connection> {
    let mut connection = monitor.connect().while_doing("connect to the monitor")?;
    connection.ask_to_attach(streams).while_doing("attach to the monitor")?;
    Ok(connection)
}
