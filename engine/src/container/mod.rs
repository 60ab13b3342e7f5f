//! Containers: each is a record that readers take a snapshot of, and acts that go one after the other.
//!
//! Nobody holds a lock on what readers read while waiting for anything: `list` and `inspect` answer whatever a container is
//! busy with.

mod record;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::error::Result;

pub(crate) use record::{Health, Probe, Record, State, Status};

/// One container of the engine.
pub(crate) struct Container {
    pub(crate) id: String,
    /// Its folder below the data root.
    pub(crate) folder: PathBuf,
    record: Mutex<Arc<Record>>,
    /// Held by the act that changes the life of the container: start, stop, remove and their like.
    act: Mutex<()>,
    /// What waiters wait for.
    turns: watch::Sender<Turn>,
}

/// Where a container is in its life, for those who wait for the next turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) up: bool,
    /// Ends so far, of this life of the engine.
    pub(crate) ends: u64,
    pub(crate) exit_code: i32,
    pub(crate) removed: bool,
}

impl Container {
    pub(crate) fn new(folder: PathBuf, record: Record) -> Self {
        let turn =
            Turn { up: record.state.status.is_up(), exit_code: record.state.exit_code, ..Turn::default() };
        Self {
            id: record.id.clone(),
            folder,
            record: Mutex::new(Arc::new(record)),
            act: Mutex::new(()),
            turns: watch::Sender::new(turn),
        }
    }

    /// The container as it is now.
    pub(crate) fn record(&self) -> Arc<Record> {
        Arc::clone(&lock(&self.record))
    }

    /// Changes the record, on disk and for readers. The disk comes first: what readers saw is never lost.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Record)) -> Result<Arc<Record>> {
        let mut current = lock(&self.record);
        let mut record = Record::clone(&current);
        change(&mut record);
        record.write(&self.folder)?;
        *current = Arc::new(record);
        Ok(Arc::clone(&current))
    }

    /// Waits until no other act changes the life of the container.
    pub(crate) fn begin_act(&self) -> MutexGuard<'_, ()> {
        lock(&self.act)
    }

    pub(crate) fn turns(&self) -> watch::Receiver<Turn> {
        self.turns.subscribe()
    }

    pub(crate) fn turn(&self, change: impl FnOnce(&mut Turn)) {
        self.turns.send_modify(change);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
