//! The board on which all pulls of a process see all layers that are being fetched: one job a blob, however many want it;
//! a bound on what goes on at a time; cancellation.
//!
//! One lock and one condition: who changes something wakes all, who waits looks again. Progress is announced in steps
//! ([`STEP`]), so that waking costs nothing beside the work.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::mutex::{lock, wait};
use crate::progress::Stage;
use crate::{Digest, Error, Result};

/// Bytes between two announcements of progress.
pub(super) const STEP: u64 = 1 << 20;

/// What is counted, to be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Download,
    Unpacking,
}

/// Shared by all pulls.
pub(super) struct Board {
    state: Mutex<State>,
    changed: Condvar,
    most: [usize; 2],
}

#[derive(Default)]
struct State {
    jobs: HashMap<Digest, Entry>,
    /// By [`Kind`].
    running: [usize; 2],
}

struct Entry {
    stage: Stage,
    outcome: Option<std::result::Result<(), Arc<Error>>>,
    /// Pulls that want it.
    wanted_by: usize,
    /// It has seen that nobody wants it, and stops.
    stopping: bool,
}

impl State {
    /// The job of a blob, which is to stop if nobody wants it.
    fn wanted(&mut self, blob: &Digest) -> Result<&mut Entry> {
        let job = self.jobs.get_mut(blob).ok_or(Error::Cancelled)?;
        job.stopping |= job.wanted_by == 0;
        if job.stopping { Err(Error::Cancelled) } else { Ok(job) }
    }
}

/// Stops a pull from another thread.
#[derive(Clone)]
pub struct Cancel {
    flag: Arc<Mutex<bool>>,
    board: Arc<Board>,
}

impl Cancel {
    pub(super) fn new(board: &Arc<Board>) -> Self {
        Self { flag: Arc::default(), board: Arc::clone(board) }
    }

    /// The pull returns [`Error::Cancelled`] soon; what was downloaded stays for the next.
    pub fn cancel(&self) {
        // Under the board's lock, or the one who is about to wait would not see it.
        let _state = lock(&self.board.state);
        *lock(&self.flag) = true;
        self.board.changed.notify_all();
    }

    fn is_set(&self) -> bool {
        *lock(&self.flag)
    }
}

/// One of [`Board::most`]; given back when dropped.
pub(super) struct Slot<'a> {
    board: &'a Board,
    kind: Kind,
}

/// The interest of one pull in a job.
pub(super) struct Interest<'a> {
    board: &'a Board,
    blob: Digest,
}

/// What joining a job found.
pub(super) enum Joined<'a> {
    /// There was none: the caller runs it.
    New(Interest<'a>),
    Running(Interest<'a>),
}

impl Board {
    /// At most so many downloads and unpackings at a time.
    pub(super) fn new(downloads: usize, unpackings: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), most: [downloads, unpackings] }
    }

    /// Takes part in the job of a blob. One that is stopping is given the time to end.
    pub(super) fn join(&self, blob: Digest) -> Joined<'_> {
        let mut state = lock(&self.state);
        while state.jobs.get(&blob).is_some_and(|job| job.stopping) {
            state = wait(&self.changed, state);
        }
        let interest = Interest { board: self, blob };
        if let Some(job) = state.jobs.get_mut(&blob) {
            job.wanted_by += 1;
            return Joined::Running(interest);
        }
        let (stage, outcome) = (Stage::PullingLayer, None);
        state.jobs.insert(blob, Entry { stage, outcome, wanted_by: 1, stopping: false });
        Joined::New(interest)
    }

    /// Announces how far the job of a blob is.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when nobody wants it any more.
    pub(super) fn announce(&self, blob: &Digest, stage: Stage) -> Result<()> {
        let mut state = lock(&self.state);
        state.wanted(blob)?.stage = stage;
        self.changed.notify_all();
        Ok(())
    }

    /// The job of a blob has ended.
    pub(super) fn finish(&self, blob: &Digest, outcome: Result<()>) {
        let mut state = lock(&self.state);
        if let Some(job) = state.jobs.get_mut(blob) {
            job.outcome = Some(outcome.map_err(Arc::new));
            if job.wanted_by == 0 {
                state.jobs.remove(blob);
            }
        }
        self.changed.notify_all();
    }

    /// Waits for a free slot.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when nobody wants the blob any more.
    pub(super) fn slot(&self, kind: Kind, blob: &Digest) -> Result<Slot<'_>> {
        let mut state = lock(&self.state);
        while state.running[kind as usize] >= self.most[kind as usize] {
            state.wanted(blob)?;
            state = wait(&self.changed, state);
        }
        state.running[kind as usize] += 1;
        Ok(Slot { board: self, kind })
    }

    /// Calls `changed` for each change of a stage until all these jobs have ended well or one has failed.
    pub(super) fn watch(
        &self,
        jobs: &[Interest<'_>],
        cancel: &Cancel,
        changed: &mut dyn FnMut(Digest, Stage),
    ) -> Result<()> {
        let mut seen: HashMap<Digest, Stage> = HashMap::new();
        loop {
            let (news, ended) = self.news(jobs, cancel, &seen)?;
            for (blob, stage) in news {
                seen.insert(blob, stage);
                changed(blob, stage);
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Waits for news: changed stages, and whether all have ended.
    fn news(
        &self,
        jobs: &[Interest<'_>],
        cancel: &Cancel,
        seen: &HashMap<Digest, Stage>,
    ) -> Result<(Vec<(Digest, Stage)>, bool)> {
        let mut state = lock(&self.state);
        loop {
            if cancel.is_set() {
                return Err(Error::Cancelled);
            }
            let (news, ended) = look(&state, jobs, seen)?;
            if ended || !news.is_empty() {
                return Ok((news, ended));
            }
            state = wait(&self.changed, state);
        }
    }
}

fn look(
    state: &MutexGuard<'_, State>,
    jobs: &[Interest<'_>],
    seen: &HashMap<Digest, Stage>,
) -> Result<(Vec<(Digest, Stage)>, bool)> {
    let (mut news, mut ended) = (Vec::new(), true);
    for Interest { blob, .. } in jobs {
        let Some(job) = state.jobs.get(blob) else { continue };
        if seen.get(blob) != Some(&job.stage) {
            news.push((*blob, job.stage));
        }
        match &job.outcome {
            None => ended = false,
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(Error::Layer { blob: *blob, source: Arc::clone(error) }),
        }
    }
    Ok((news, ended))
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        lock(&self.board.state).running[self.kind as usize] -= 1;
        self.board.changed.notify_all();
    }
}

impl Drop for Interest<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.board.state);
        if let Some(job) = state.jobs.get_mut(&self.blob) {
            job.wanted_by -= 1;
            if job.wanted_by == 0 && job.outcome.is_some() {
                state.jobs.remove(&self.blob);
            }
        }
        self.board.changed.notify_all();
    }
}
