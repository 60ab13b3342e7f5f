//! What work in progress needs although no record refers to it yet: a sweep leaves it alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::Digest;
use crate::mutex::lock;

/// Digests (of blobs and of layers alike) with the number of their holders.
#[derive(Default)]
pub(crate) struct Holds(Mutex<HashMap<Digest, usize>>);

/// Keeps one digest from being swept until it is dropped: after the record that refers to it is written.
pub(crate) struct Hold {
    holds: Arc<Holds>,
    digest: Digest,
}

impl Holds {
    pub(crate) fn take(self: &Arc<Self>, digest: Digest) -> Hold {
        *lock(&self.0).entry(digest).or_default() += 1;
        Hold { holds: Arc::clone(self), digest }
    }

    /// What is held. Nobody can take or give up a hold as long as the answer lives: a sweep keeps it from its reading of
    /// the records to its last removal.
    pub(crate) fn frozen(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        lock(&self.0)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut counts = lock(&self.holds.0);
        if let Some(count) = counts.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.digest);
            }
        }
    }
}
