//! The threads that make files, and the work queued for them.
//!
//! All files of one directory go to one maker, in the archive's order. What is made elsewhere (directories, by the applier)
//! or depends on another maker's file (hard links) first asks whether that name is still queued, and waits if so.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle, available_parallelism};

use super::Policy;
use super::attributes::Skipped;
use super::maker::{Leaf, Maker};
use super::tree::{Dir, Key};
use crate::archive::{Error, Piece, Result};

/// Threads beyond which the directories' locks and the journal are the limit.
const MOST_MAKERS: usize = 4;
/// Batches that wait for one maker. Each holds parts of one chunk, so this bounds memory.
const QUEUE: usize = 4;
/// Tasks of one batch.
const BATCH: usize = 256;
/// Names whose files may not be made yet; more than are ever queued at once in a usual archive.
const MOST_RECENT: usize = 8192;

/// One step; the steps of a file follow each other.
pub(super) enum Task {
    Make(Box<Leaf>),
    /// Content of the file made last.
    Write(Piece),
    /// The file made last is complete.
    Close,
    /// Dropped when all before it is done.
    Settle(Sender<()>),
}

/// What makers and the applier tell each other.
#[derive(Default)]
pub(super) struct News {
    /// A maker has met an error: the rest of the archive is of no use.
    pub(super) failed: AtomicBool,
    /// Directories that were replaced by other files.
    pub(super) removals: AtomicU64,
}

struct Hand<'scope> {
    queue: SyncSender<Vec<Task>>,
    batch: Vec<Task>,
    thread: ScopedJoinHandle<'scope, Result<Skipped>>,
}

pub(super) struct Crew<'scope> {
    hands: Vec<Hand<'scope>>,
    news: Arc<News>,
    /// Names given out since all was settled.
    recent: HashSet<Key>,
    /// The chunk that the batches hold parts of.
    chunk: u64,
}

impl<'scope> Crew<'scope> {
    /// One maker for each processor but one, which the applier needs.
    pub(super) fn start(scope: &'scope Scope<'scope, '_>, policy: &Policy) -> Result<Self> {
        let processors = available_parallelism().map_or(1, std::num::NonZero::get);
        let news = Arc::new(News::default());
        let hands = (0..processors.saturating_sub(1).clamp(1, MOST_MAKERS)).map(|_| {
            let (queue, tasks) = sync_channel(QUEUE);
            let maker = Maker::new(policy, Arc::clone(&news));
            let builder = std::thread::Builder::new().name("unpack".to_owned());
            let thread = builder.spawn_scoped(scope, move || maker.run(&tasks)).map_err(Error::Read)?;
            Ok(Hand { queue, batch: Vec::new(), thread })
        });
        Ok(Self { hands: hands.collect::<Result<_>>()?, news, recent: HashSet::new(), chunk: 0 })
    }

    pub(super) fn has_failed(&self) -> bool {
        self.news.failed.load(Ordering::Relaxed)
    }

    pub(super) fn removals(&self) -> u64 {
        self.news.removals.load(Ordering::Acquire)
    }

    /// The maker of a directory's files.
    pub(super) fn maker(&self, parent: &Dir) -> usize {
        usize::try_from(parent.inode).unwrap_or_default() % self.hands.len()
    }

    /// Queues the making of a file of this name.
    pub(super) fn make(&mut self, key: Key, leaf: Leaf) -> usize {
        if self.recent.len() >= MOST_RECENT {
            self.settle();
        }
        self.recent.insert(key);
        let maker = self.maker(&leaf.parent);
        self.give(maker, Task::Make(Box::new(leaf)));
        maker
    }

    pub(super) fn give(&mut self, maker: usize, task: Task) {
        let hand = &mut self.hands[maker];
        hand.batch.push(task);
        if hand.batch.len() >= BATCH {
            hand.flush();
        }
    }

    /// Called when the reader is at this chunk: batches do not hold on to earlier ones.
    pub(super) fn at_chunk(&mut self, chunk: u64) {
        if self.chunk != chunk {
            self.chunk = chunk;
            self.hands.iter_mut().for_each(Hand::flush);
        }
    }

    /// Is a file of this name perhaps not made yet?
    pub(super) fn is_queued(&self, key: Key) -> bool {
        self.recent.contains(&key)
    }

    /// Waits until everything given out is done.
    pub(super) fn settle(&mut self) {
        let (settled, all) = channel();
        for hand in &mut self.hands {
            hand.batch.push(Task::Settle(settled.clone()));
            hand.flush();
        }
        drop(settled);
        // Nothing is sent: it ends when the last maker has dropped its end.
        let _ = all.recv();
        self.recent.clear();
    }

    /// Waits for the makers; the first error is the answer.
    pub(super) fn finish(mut self) -> Result<Skipped> {
        self.hands.iter_mut().for_each(Hand::flush);
        let mut outcome = Ok(Skipped::default());
        for hand in self.hands {
            drop(hand.queue);
            let done = hand.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome = outcome.and_then(|sum| done.map(|done| sum.and(done)));
        }
        outcome
    }
}

impl Hand<'_> {
    fn flush(&mut self) {
        if !self.batch.is_empty() {
            // A maker that is gone has panicked, and `finish` says so.
            let _ = self.queue.send(std::mem::take(&mut self.batch));
        }
    }
}
