//! Containers: each is a record that readers take a snapshot of, and acts that go one after the other.
//!
//! Nobody holds a lock on what readers read while waiting for anything: `list` and `inspect` answer whatever a container is
//! busy with.

mod adopt;
mod attach;
mod clear;
mod copy;
mod create;
mod end;
mod exec;
mod health;
mod inspect;
mod kill;
mod list;
mod merge;
mod names;
mod oom;
mod pause;
pub(crate) mod prune;
mod record;
mod remove;
mod rename;
mod restart;
mod root;
#[cfg(test)]
pub(crate) mod sample;
mod start;
mod status;
mod stop;
mod update;
mod validate;
mod wait;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::Result;

pub(crate) use attach::{Attach, Attached};
pub(crate) use copy::{Put, hidden};
pub(crate) use create::new_id;
pub(crate) use exec::{ExecStart, Execs};
pub(crate) use inspect::Size;
pub(crate) use kill::signal_number;
pub(crate) use list::ListQuery;
pub(crate) use record::{Health, Probe, Record, State, Status};
pub(crate) use remove::Remove;
pub(crate) use start::spawn;
pub(crate) use stop::Stop;
pub(crate) use validate::for_version;
pub(crate) use wait::Condition;

/// Whether an act had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Changed,
    /// It was so already.
    Already,
}

/// One container of the engine.
pub(crate) struct Container {
    pub(crate) id: String,
    /// Its folder below the data root.
    pub(crate) folder: PathBuf,
    record: Mutex<Arc<Record>>,
    /// Held by the act that changes the life of the container: start, stop, remove and their like.
    act: Mutex<()>,
    /// Who wants to be attached before the process's first byte.
    early: Mutex<Vec<attach::Early>>,
    /// A user has ended this run: the policy starts no other one. Only this engine knows, see `Record::stopped_by_hand`.
    policy_is_off: AtomicBool,
    turn: Mutex<Turn>,
    turned: Condvar,
    /// The same turns, for those who wait without a thread.
    turns: watch::Sender<Turn>,
}

/// Where a container is in its life, for those who wait for the next turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// It runs, or the restart policy is about to start it again.
    pub(crate) running: bool,
    /// Ends so far, since this engine started.
    pub(crate) ends: u64,
    /// Of the last end.
    pub(crate) exit_code: i32,
    /// A user wants the restart policy to wait no longer.
    pub(crate) given_up: bool,
    pub(crate) removed: bool,
}

impl Container {
    pub(crate) fn new(folder: PathBuf, record: Record) -> Self {
        let state = &record.state;
        let turn = Turn { running: state.status.is_running(), exit_code: state.exit_code, ..Turn::default() };
        Self {
            id: record.id.clone(),
            folder,
            record: Mutex::new(Arc::new(record)),
            act: Mutex::new(()),
            early: Mutex::default(),
            policy_is_off: AtomicBool::new(false),
            turn: Mutex::new(turn),
            turned: Condvar::new(),
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

    /// Where it is, and every turn from here on.
    pub(crate) fn turns(&self) -> watch::Receiver<Turn> {
        self.turns.subscribe()
    }

    /// Makes a turn and tells all who wait.
    pub(crate) fn turn(&self, change: impl FnOnce(&mut Turn)) {
        let mut turn = lock(&self.turn);
        change(&mut turn);
        self.turns.send_replace(*turn);
        self.turned.notify_all();
    }

    /// Waits for a turn, for ever without a limit. Returns whether it came.
    pub(crate) fn wait_until(&self, limit: Option<Duration>, reached: impl Fn(&Turn) -> bool) -> bool {
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut turn = lock(&self.turn);
        loop {
            if reached(&turn) {
                return true;
            }
            turn = match until {
                None => self.turned.wait(turn).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.turned.wait_timeout(turn, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
