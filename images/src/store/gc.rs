//! What nothing refers to is removed: mark from images and snapshots, sweep files and records.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Store;
use super::images::Image;
use super::layout::{by_digest, entries, remove};
use super::metadata::{IMAGES, ImageRecord, LAYERS, REFERENCES, SOURCES};
use super::remove::{Removal, Removed};
use crate::error::OfFile as _;
use crate::mutex::lock;
use crate::{Digest, Result};

/// How long a download, or a blob of an image that never was complete, may wait for the pull that goes on with it.
const PATIENCE: Duration = Duration::from_hours(24);

/// What a sweep removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    pub blobs: usize,
    pub layers: usize,
    /// Parts of downloads.
    pub downloads: usize,
    /// Bytes of blobs and downloads, and of files in layers.
    pub bytes: u64,
}

/// Which images [`Store::prune`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Those without a tag.
    Dangling,
    /// Those without a snapshot.
    Unused,
}

/// What must stay.
struct Marks {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
}

impl Store {
    /// Removes every blob, layer and download that no image, snapshot or running pull needs.
    pub fn sweep(&self) -> Result<Swept> {
        self.sweep_older_than(Duration::ZERO)
    }

    /// Removes images that nothing needs, with their names, and what only they needed.
    pub fn prune(&self, which: Prune, runs: &dyn Fn(&str) -> bool) -> Result<Vec<Removed>> {
        let removal = Removal { force: false, parents: true, runs };
        let mut removed = Vec::new();
        let parents: BTreeSet<Digest> =
            self.images()?.iter().filter_map(|image| image.record.parent).collect();
        for image in self.images()? {
            let used = lock(&self.snapshots).values().any(|snapshot| snapshot.image == image.id);
            let tagged = image.tags().next().is_some();
            if used || (which == Prune::Dangling && (tagged || parents.contains(&image.id))) {
                continue;
            }
            removed.extend(self.remove_with_names(&image, &removal)?);
        }
        Ok(removed)
    }

    /// An image that has children, or that went as the parent of another, is passed by.
    fn remove_with_names(&self, image: &Image, removal: &Removal<'_>) -> Result<Vec<Removed>> {
        let names: Vec<String> = match image.references.as_slice() {
            [] => vec![image.id.to_string()],
            references => references.iter().map(ToString::to_string).collect(),
        };
        let mut removed = Vec::new();
        for name in names {
            match self.remove_image(&name, removal) {
                Ok(lines) => removed.extend(lines),
                Err(crate::Error::NoSuchImage(_) | crate::Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// What an earlier process left: see the table in mod.rs.
    pub(super) fn reconcile(&self) -> Result<()> {
        self.layout.remove_unfinished()?;
        self.load_snapshots()?;
        self.drop_broken_records()?;
        self.sweep_older_than(PATIENCE).map(drop)
    }

    /// A record whose files somebody removed is worse than none: without it, a pull brings them back.
    fn drop_broken_records(&self) -> Result<()> {
        let records = self.metadata.read()?;
        let layers: Vec<Digest> =
            records.all(&LAYERS)?.into_keys().filter(|id| self.lower(id).is_err()).collect();
        let mut images = Vec::new();
        for (id, record) in records.all(&IMAGES)? {
            if layers.iter().any(|gone| record.layers.iter().any(|layer| layer.diff_id == *gone))
                || self.lacks_a_blob(&id, &record)?
            {
                images.push(id);
            }
        }
        let names =
            records.all(&REFERENCES)?.into_iter().filter(|(_, target)| images.contains(&target.image));
        let names: Vec<_> = names.map(|(reference, _)| reference).collect();
        if layers.is_empty() && images.is_empty() {
            return Ok(());
        }
        self.metadata.write(|writer| {
            layers.iter().try_for_each(|id| writer.remove(&LAYERS, id))?;
            images.iter().try_for_each(|id| writer.remove(&IMAGES, id))?;
            names.iter().try_for_each(|name| writer.remove(&REFERENCES, name))
        })
    }

    fn lacks_a_blob(&self, id: &Digest, record: &ImageRecord) -> Result<bool> {
        for blob in blobs_of(id, record) {
            if self.blob_size(&blob)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn marks(&self) -> Result<Marks> {
        // The records first: see `prepare`.
        let images = self.metadata.read()?.all(&IMAGES)?;
        let blobs = images.iter().flat_map(|(id, record)| blobs_of(id, record)).collect();
        let mut layers: BTreeSet<Digest> =
            images.values().flat_map(|record| &record.layers).map(|layer| layer.diff_id).collect();
        layers.extend(lock(&self.snapshots).values().flat_map(|snapshot| &snapshot.layers));
        Ok(Marks { blobs, layers })
    }

    /// Removes what these images had and nothing else needs.
    pub(super) fn collect(&self, images: &[(Digest, ImageRecord)]) -> Result<Swept> {
        if images.is_empty() {
            return Ok(Swept::default());
        }
        let blobs: BTreeSet<Digest> = images.iter().flat_map(|(id, record)| blobs_of(id, record)).collect();
        let layers: BTreeSet<Digest> =
            images.iter().flat_map(|(_, record)| &record.layers).map(|layer| layer.diff_id).collect();
        self.remove_unmarked(blobs.into_iter().collect(), layers.into_iter().collect(), Vec::new())
    }

    fn sweep_older_than(&self, age: Duration) -> Result<Swept> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let limit = now.saturating_sub(age).as_secs();
        // The time of the last change of any kind: a renamed file keeps the other times of its content.
        let is_old = |path: &Path| {
            let changed =
                fs::symlink_metadata(path).ok().and_then(|metadata| u64::try_from(metadata.ctime()).ok());
            changed.is_some_and(|changed| changed <= limit)
        };
        let old = |found: Vec<(Digest, PathBuf)>, also: &dyn Fn(&Digest) -> bool| -> Vec<Digest> {
            let old = found.into_iter().filter(|(digest, path)| also(digest) || is_old(path));
            old.map(|(digest, _)| digest).collect()
        };
        let blobs = old(by_digest(&self.layout.blobs())?, &|_| false);
        let recorded = self.metadata.read()?.all(&LAYERS)?;
        // A tree without a record is of no use.
        let layers = old(by_digest(&self.layout.layers())?, &|id| !recorded.contains_key(id));
        self.remove_unmarked(blobs, layers, self.stale_downloads(&is_old)?)
    }

    /// Old ones, and what has no name of a digest.
    fn stale_downloads(&self, is_old: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
        let found = entries(&self.layout.ingest())?.into_iter();
        let is_digest = |name: &str| format!("sha256:{name}").parse::<Digest>().is_ok();
        let stale = found.filter(|(name, path)| !name.starts_with('.') && (!is_digest(name) || is_old(path)));
        Ok(stale.map(|(_, path)| path).collect())
    }

    fn remove_unmarked(
        &self,
        blobs: Vec<Digest>,
        layers: Vec<Digest>,
        downloads: Vec<PathBuf>,
    ) -> Result<Swept> {
        let mut swept = Swept::default();
        let mut gone = Vec::new();
        {
            let held = self.holds.frozen();
            let marks = self.marks()?;
            let free = |digest: &Digest, marked: &BTreeSet<Digest>| {
                !marked.contains(digest) && !held.contains_key(digest)
            };
            let layers: Vec<Digest> = layers.into_iter().filter(|id| free(id, &marks.layers)).collect();
            swept.bytes += self.forget_layers(&layers)?;
            for id in layers {
                if let Some((tree, _)) = self.take_away(&self.layout.layer(&id))? {
                    gone.push(tree);
                    swept.layers += 1;
                }
            }
            for digest in blobs.into_iter().filter(|digest| free(digest, &marks.blobs)) {
                if let Some((blob, bytes)) = self.take_away(&self.layout.blob(&digest))? {
                    gone.push(blob);
                    swept.blobs += 1;
                    swept.bytes += bytes;
                }
            }
            let held_path = |path: &Path| held.keys().any(|digest| self.layout.partial(digest) == path);
            for path in downloads.into_iter().filter(|path| !held_path(path)) {
                if let Some((download, bytes)) = self.take_away(&path)? {
                    gone.push(download);
                    swept.downloads += 1;
                    swept.bytes += bytes;
                }
            }
        }
        // What takes time is done when nobody waits for the holds any more.
        gone.iter().try_for_each(|path| remove(path))?;
        Ok(swept)
    }

    /// Takes a file or a tree out of sight. Its new path and the length of the file in bytes; none if it is not there.
    fn take_away(&self, path: &Path) -> Result<Option<(PathBuf, u64)>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some((self.layout.hide(path)?, metadata.len()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).of("look at", path),
        }
    }

    /// Takes layers off the record before their trees go. Bytes of their files.
    fn forget_layers(&self, layers: &[Digest]) -> Result<u64> {
        if layers.is_empty() {
            return Ok(0);
        }
        self.metadata.write(|records| {
            let mut bytes = 0;
            for id in layers {
                let record = records.get(&LAYERS, id)?;
                for blob in record.iter().flat_map(|record| &record.blobs) {
                    records.remove(&SOURCES, blob)?;
                }
                bytes += record.map_or(0, |record| record.size);
                records.remove(&LAYERS, id)?;
            }
            Ok(bytes)
        })
    }
}

/// Manifest, configuration and layers of an image.
pub(super) fn blobs_of(id: &Digest, record: &ImageRecord) -> Vec<Digest> {
    let mut blobs = vec![*id, record.manifest.digest];
    blobs.extend(record.layers.iter().map(|layer| layer.blob.digest));
    blobs
}
