//! A layer becomes visible: on disk first, then under its name, then on record.

use std::fs;
use std::path::PathBuf;

use super::Store;
use super::layers::NewTree;
use super::layout::sync_names;
use super::metadata::{LAYERS, LayerRecord};
use crate::error::OfFile as _;
use crate::{Digest, Result};

/// A layer whose blob and content were verified.
pub(crate) struct Finished {
    pub(crate) diff_id: Digest,
    pub(crate) blob: Digest,
    /// The blob's file in `ingest/`; none if the blob was there.
    pub(crate) download: Option<PathBuf>,
    /// None if the layer was unpacked already.
    pub(crate) tree: Option<UnpackedTree>,
}

/// What unpacking made.
pub(crate) struct UnpackedTree {
    pub(crate) tree: NewTree,
    /// Bytes of its regular files.
    pub(crate) size: u64,
    /// Entries of its archive.
    pub(crate) entries: u64,
    /// Whether one of them is the root.
    pub(crate) has_root: bool,
}

impl Store {
    pub(crate) fn publish(&self, finished: Finished) -> Result<()> {
        let Finished { diff_id, blob, download, tree } = finished;
        self.file_system.sync(self.layout.root())?;
        if let Some(download) = download {
            fs::rename(&download, self.layout.blob(&blob)).of("rename", &download)?;
            sync_names(&self.layout.blobs())?;
        }
        let mut made = LayerRecord { blobs: Vec::new(), size: 0, entries: 0, has_root: false };
        if let Some(UnpackedTree { tree, size, entries, has_root }) = tree {
            made = LayerRecord { size, entries, has_root, ..made };
            tree.name(&self.layout.layer(&diff_id))?;
            sync_names(&self.layout.layers())?;
        }
        self.metadata.write(|records| {
            let mut record = records.get(&LAYERS, &diff_id)?.unwrap_or(made);
            if !record.blobs.contains(&blob) {
                record.blobs.push(blob);
            }
            records.put(&LAYERS, &diff_id, &record)
        })
    }
}
