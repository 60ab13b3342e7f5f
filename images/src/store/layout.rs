//! Where things are below the store's root, and the one way a finished thing gets its name: rename(2).
//!
//! ```text
//! lock               held by the one process that has the store open
//! metadata.redb      references, images, layers (metadata.rs)
//! blobs/sha256/HEX   content as it came: complete, verified, on disk
//! ingest/HEX         a download that may be resumed; ingest/.new-* content whose digest is not yet known
//! layers/HEX         the tree of the layer with that diffID: complete, verified, on disk
//! snapshots/ID/      upper, work, snapshot.json
//! empty/             the lowest layer of what has none
//! ```
//! `.new-*` is being made and `.gone-*` is being removed: the next opening removes both.

use std::fs::{self, DirBuilder, File};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::OfFile as _;
use crate::{Digest, Result, descent};

const NEW: &str = ".new-";
const GONE: &str = ".gone-";

/// The paths of one store.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    /// Names of this process that are not digests; the lock keeps other processes out.
    next: AtomicU64,
}

impl Layout {
    /// Makes the folders that are not there. The root can be searched by all (0711) because a container in a user
    /// namespace must reach its root file system; what is in it belongs to root alone.
    pub(crate) fn create(root: &Path) -> Result<Self> {
        let make =
            |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path).of("create", path);
        make(root, 0o711)?;
        let root = root.canonicalize().of("resolve", root)?;
        let layout = Self { root, next: AtomicU64::new(0) };
        for folder in [layout.blobs(), layout.ingest(), layout.layers()] {
            make(&folder, 0o700)?;
        }
        make(&layout.snapshots(), 0o711)?;
        make(&layout.empty(), 0o755)?;
        Ok(layout)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.root.join("metadata.redb")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn ingest(&self) -> PathBuf {
        self.root.join("ingest")
    }

    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        self.ingest().join(digest.hex())
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn empty(&self) -> PathBuf {
        self.root.join("empty")
    }

    /// A name in `folder` that nothing has, for something to be renamed when it is finished.
    pub(crate) fn new_in(&self, folder: &Path) -> PathBuf {
        self.unused(folder, NEW)
    }

    fn unused(&self, folder: &Path, prefix: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        folder.join(format!("{prefix}{number}"))
    }

    /// Takes a file or a folder out of sight in one step. The caller removes what is returned, when it may take its time.
    pub(crate) fn hide(&self, path: &Path) -> Result<PathBuf> {
        let gone = self.unused(path.parent().unwrap_or(&self.root), GONE);
        fs::rename(path, &gone).of("rename", path)?;
        Ok(gone)
    }

    /// Removes what an earlier process was making or removing.
    pub(crate) fn remove_unfinished(&self) -> Result<()> {
        for folder in [self.blobs(), self.ingest(), self.layers(), self.snapshots()] {
            for (name, path) in entries(&folder)? {
                if name.starts_with(NEW) || name.starts_with(GONE) {
                    remove(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// The names in a folder with their paths; a name that is not UTF-8 is shown as one that no digest has.
pub(crate) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let listing = fs::read_dir(folder).of("list", folder)?;
    listing
        .map(|entry| {
            let entry = entry.of("list", folder)?;
            Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
        })
        .collect()
}

/// The entries of a folder whose names are digests.
pub(crate) fn by_digest(folder: &Path) -> Result<Vec<(Digest, PathBuf)>> {
    let digest = |name: &str| format!("sha256:{name}").parse().ok();
    let entries = entries(folder)?.into_iter();
    Ok(entries.filter_map(|(name, path)| Some((digest(&name)?, path))).collect())
}

/// Removes a file or a tree.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let (folder, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let opened = File::open(folder).of("open", folder)?;
    descent::remove(opened.as_fd(), name.as_bytes()).of("remove", path)
}

/// Puts the names in a folder on disk (fsync(2) of a folder).
pub(crate) fn sync_names(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).of("sync", folder)
}
