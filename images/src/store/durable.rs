//! One syncfs(2) for all who finish at about the same time.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Condvar, Mutex};

use crate::Result;
use crate::error::OfFile as _;
use crate::mutex::{lock, wait};

/// The file system of a store.
pub(crate) struct FileSystem {
    root: OwnedFd,
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

/// Numbers of the rounds of syncfs(2), from 1.
#[derive(Default)]
struct Rounds {
    started: u64,
    running: bool,
    /// The last that succeeded.
    succeeded: u64,
}

impl FileSystem {
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let root = File::open(root).of("open", root)?.into();
        Ok(Self { root, rounds: Mutex::default(), ended: Condvar::new() })
    }

    /// Returns when all that was written before the call is on disk.
    pub(crate) fn sync(&self, named: &Path) -> Result<()> {
        let mut rounds = lock(&self.rounds);
        // A round that runs now may have passed what the caller wrote last.
        let wanted = rounds.started + 1;
        while rounds.succeeded < wanted {
            if rounds.running {
                rounds = wait(&self.ended, rounds);
                continue;
            }
            rounds.running = true;
            rounds.started += 1;
            let mine = rounds.started;
            drop(rounds);
            let result = rustix::fs::syncfs(&self.root);
            rounds = lock(&self.rounds);
            rounds.running = false;
            if result.is_ok() {
                rounds.succeeded = mine;
            }
            self.ended.notify_all();
            result.of("sync the file system of", named)?;
        }
        Ok(())
    }
}
