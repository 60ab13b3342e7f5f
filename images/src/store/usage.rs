//! What takes the space: images, layers they share, blobs, snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::Store;
use super::layout::{by_digest, entries};
use super::metadata::{IMAGES, LAYERS};
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

/// The space of a store, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    pub images: Vec<ImageUsage>,
    /// Files in unpacked layers, each layer once.
    pub layers: u64,
    /// Content as it came.
    pub blobs: u64,
    /// Unfinished downloads.
    pub downloads: u64,
    /// By name.
    pub snapshots: BTreeMap<String, Space>,
}

/// The space of one image, in bytes of files in its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    pub id: Digest,
    pub size: u64,
    /// The part that is in layers of other images too.
    pub shared: u64,
    /// Snapshots that were made from it.
    pub snapshots: usize,
}

impl Store {
    pub fn usage(&self) -> Result<Usage> {
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
        let size = |id: &Digest| layers.get(id).map_or(0, |layer| layer.size);
        let users = |image: &Digest| lock(&self.snapshots).values().filter(|one| one.image == *image).count();
        let images = images.iter().map(|(id, layers)| ImageUsage {
            id: *id,
            size: layers.iter().map(size).sum(),
            shared: layers.iter().filter(|id| owners[*id] > 1).map(size).sum(),
            snapshots: users(id),
        });
        Ok(Usage {
            images: images.collect(),
            layers: layers.values().map(|layer| layer.size).sum(),
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

/// Walks a tree by descriptors: a container may change it meanwhile.
pub(super) fn space_of(root: &Path) -> Result<Space> {
    let folder = OwnedFd::from(File::open(root).of("open", root)?);
    let mut seen = BTreeSet::new();
    let mut space = Space { bytes: 0, inodes: 1 };
    add_folder(&folder, &mut space, &mut seen).of("measure", root)?;
    Ok(space)
}

fn add_folder(
    folder: &OwnedFd,
    space: &mut Space,
    seen: &mut BTreeSet<u64>,
) -> std::result::Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() == b"." || name.as_bytes() == b".." {
            continue;
        }
        let stat = match statat(folder, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        if !seen.insert(stat.st_ino) {
            continue;
        }
        space.inodes += 1;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => space.bytes += u64::try_from(stat.st_size).unwrap_or(0),
            FileType::Directory => {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match openat(folder.as_fd(), name.as_c_str(), flags, Mode::empty()) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    inner => add_folder(&inner?, space, seen)?,
                }
            }
            _ => {}
        }
    }
    Ok(())
}
