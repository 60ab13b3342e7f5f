//! What takes the space: images, layers they share, blobs, snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use super::Store;
use super::layout::{by_digest, entries};
use super::metadata::{IMAGES, LAYERS};
use crate::descent::{Step, Walk};
use crate::error::OfFile as _;
use crate::mutex::lock;
use crate::{Digest, Error, Result};

/// The space of a tree, files with several names counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Lengths of its regular files.
    pub bytes: u64,
    pub inodes: u64,
}

impl Space {
    /// What is in a folder, and the folder.
    pub fn of(root: BorrowedFd<'_>) -> std::io::Result<Self> {
        Ok(measure(root)?)
    }
}

/// The space of a store, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    pub images: ImagesUsage,
    /// Content as it came.
    pub blobs: u64,
    /// Unfinished downloads.
    pub downloads: u64,
    /// By name.
    pub snapshots: BTreeMap<String, Space>,
}

/// The space of all images, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagesUsage {
    pub images: BTreeMap<Digest, ImageUsage>,
    /// Files in unpacked layers, each layer once: Docker's `LayersSize`.
    pub layers: u64,
}

/// The space of one image, in bytes of files in its layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageUsage {
    /// Each layer once.
    pub size: u64,
    /// The part that is in layers of other images too.
    pub shared: u64,
    /// Snapshots that were made from it.
    pub snapshots: usize,
}

impl Store {
    /// What images take, from the records alone: for `docker images`, and `docker system df` of images.
    pub fn images_usage(&self) -> Result<ImagesUsage> {
        let records = self.metadata.read()?;
        let layers = records.all(&LAYERS)?;
        let mut owners: BTreeMap<Digest, usize> = BTreeMap::new();
        let images: Vec<(Digest, BTreeSet<Digest>)> = records
            .all(&IMAGES)?
            .into_iter()
            .map(|(id, record)| (id, record.layers.iter().map(|layer| layer.diff_id).collect()))
            .collect();
        for id in images.iter().flat_map(|(_, layers)| layers) {
            *owners.entry(*id).or_default() += 1;
        }
        let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
        for snapshot in lock(&self.snapshots).values() {
            *users.entry(snapshot.image).or_default() += 1;
        }
        let size = |id: &Digest| layers.get(id).map_or(0, |layer| layer.size);
        let usage = |id: &Digest, of: &BTreeSet<Digest>| ImageUsage {
            size: of.iter().map(size).sum(),
            shared: of.iter().filter(|id| owners[*id] > 1).map(size).sum(),
            snapshots: users.get(id).copied().unwrap_or_default(),
        };
        Ok(ImagesUsage {
            images: images.iter().map(|(id, of)| (*id, usage(id, of))).collect(),
            layers: layers.values().map(|layer| layer.size).sum(),
        })
    }

    /// What everything takes. Every file of every snapshot is looked at.
    pub fn usage(&self) -> Result<Usage> {
        Ok(Usage {
            images: self.images_usage()?,
            blobs: lengths(by_digest(&self.layout.blobs())?.iter().map(|(_, path)| path.as_path()))?,
            downloads: lengths(entries(&self.layout.ingest())?.iter().map(|(_, path)| path.as_path()))?,
            snapshots: self.snapshot_spaces()?,
        })
    }

    fn snapshot_spaces(&self) -> Result<BTreeMap<String, Space>> {
        let ids = self.snapshots().into_keys();
        ids.filter_map(|id| match self.snapshot_space(&id) {
            // It went meanwhile.
            Err(Error::NoSuchSnapshot(_)) => None,
            space => Some(space.map(|space| (id, space))),
        })
        .collect()
    }
}

/// Files that went meanwhile count nothing.
fn lengths<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<u64> {
    let mut sum = 0;
    for path in paths {
        match std::fs::symlink_metadata(path) {
            Ok(metadata) => sum += metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).of("look at", path),
        }
    }
    Ok(sum)
}

/// A container may change the tree meanwhile: what is gone when it is looked at counts nothing.
pub(super) fn space_of(root: &Path) -> Result<Space> {
    let folder = File::open(root).of("open", root)?;
    measure(folder.as_fd()).of("measure", root)
}

fn measure(root: BorrowedFd<'_>) -> std::result::Result<Space, Errno> {
    let mut seen = BTreeSet::new();
    let mut space = Space { bytes: 0, inodes: 1 };
    let mut walk = Walk::new(root)?;
    while let Some(step) = walk.next()? {
        if step == Step::Left {
            continue;
        }
        let stat = match statat(walk.dir(), walk.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        if !seen.insert(stat.st_ino) {
            continue;
        }
        space.inodes += 1;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => space.bytes += u64::try_from(stat.st_size).unwrap_or(0),
            FileType::Directory => match walk.enter() {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                entered => entered?,
            },
            _ => {}
        }
    }
    Ok(space)
}
