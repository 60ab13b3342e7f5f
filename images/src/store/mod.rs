//! The store: content by digest, unpacked layers, images and their names, the root file systems of containers.
//!
//! # What a crash leaves
//! Every act has one step that makes it true; whatever comes before is invisible, whatever follows is repeated or
//! undone by the next opening. `kill -9` and a power failure may come between any two steps.
//!
//! | act | before | the step | after |
//! |---|---|---|---|
//! | download | append to `ingest/HEX` | none: it is resumed, and hashed from its first byte | |
//! | layer (publish.rs) | unpack into `layers/.new-*`, check blob digest and diffID, syncfs, rename blob and tree, fsync the folders | commit the record | |
//! | manifest, configuration | write `ingest/.new-*`, fsync | rename into `blobs/`, fsync the folder | |
//! | image, names | all its layers on record, its blobs in `blobs/` | commit the records | |
//! | snapshot | make `snapshots/.new-*` with its record in it | rename to `snapshots/ID` | |
//! | removing an image | | commit without the records | rename trees and blobs to `.gone-*`, remove them |
//! | removing a snapshot | | rename to `.gone-*` | remove the tree |
//!
//! So whatever has its final name in `blobs/` or `layers/` is complete, verified and on disk. A tree without a record is
//! removed by the next opening; a blob without one may belong to a pull that will be repeated, and stays for a day. A
//! snapshot is not forced to disk: its record is in its folder, and an empty one (power failure within seconds of its
//! making) is removed with it.
//!
//! One process has a store open; another waits or is refused ([`WhenBusy`]). Threads share it.

mod blobs;
mod difference;
mod durable;
mod gc;
mod history;
mod holds;
mod images;
mod ingest;
mod layers;
mod layout;
mod metadata;
mod overlay;
mod publish;
mod remove;
mod snapshots;
mod usage;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::OfFile as _;
use crate::unpack::Privileges;
use crate::{Error, Result};
use durable::FileSystem;
use holds::Holds;
use layout::Layout;
use metadata::Metadata;

pub(crate) use blobs::{Kept, MOST_IN_MEMORY, Sealed};
pub use gc::{Prune, Swept};
pub use history::HistoryStep;
pub(crate) use holds::Hold;
pub use images::{Image, Named};
pub(crate) use ingest::Ingest;
pub use metadata::{ImageRecord, LayerLink, LayerRecord, Target};
pub(crate) use publish::{Finished, UnpackedTree};
pub use remove::{Removal, Removed};
pub use snapshots::{Access, Places, Snapshot};
pub use usage::{ImageUsage, ImagesUsage, Space, Usage};

/// An open store.
pub struct Store {
    layout: Layout,
    metadata: Metadata,
    file_system: FileSystem,
    holds: Arc<Holds>,
    snapshots: Mutex<BTreeMap<String, Snapshot>>,
    privileges: Privileges,
    /// Released when the process ends, however it ends.
    _lock: OwnedFd,
}

/// What opening a store does when another process has it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenBusy {
    /// [`Error::StoreInUse`].
    Refuse,
    /// Wait for the other to end.
    Wait,
}

impl Store {
    /// Opens the store in `root`, which is made if it is not there, and removes what an earlier process left unfinished.
    pub fn open(root: &Path, when_busy: WhenBusy) -> Result<Self> {
        let layout = Layout::create(root)?;
        let lock = take_lock(&layout, when_busy)?;
        let store = Self {
            metadata: Metadata::open(&layout.metadata())?,
            file_system: FileSystem::of(layout.root())?,
            holds: Arc::default(),
            snapshots: Mutex::default(),
            privileges: Privileges::of_process(),
            _lock: lock,
            layout,
        };
        store.reconcile()?;
        Ok(store)
    }

    /// The folder that the store is in, absolute.
    pub fn root(&self) -> &Path {
        self.layout.root()
    }

    pub(crate) fn privileges(&self) -> Privileges {
        self.privileges
    }

    pub(crate) fn hold(&self, digest: crate::Digest) -> Hold {
        self.holds.take(digest)
    }
}

fn take_lock(layout: &Layout, when_busy: WhenBusy) -> Result<OwnedFd> {
    let path = layout.lock();
    let opened: Result<File> =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).of("open", &path);
    let lock = OwnedFd::from(opened?);
    let operation = match when_busy {
        WhenBusy::Refuse => FlockOperation::NonBlockingLockExclusive,
        WhenBusy::Wait => FlockOperation::LockExclusive,
    };
    match rustix::io::retry_on_intr(|| flock(&lock, operation)) {
        Err(Errno::WOULDBLOCK) => Err(Error::StoreInUse(layout.root().to_owned())),
        locked => locked.map(|()| lock).of("lock", &path),
    }
}
