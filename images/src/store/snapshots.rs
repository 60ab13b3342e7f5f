//! The root file system of a container: an overlay of its image's layers with a folder of its own on top.
//!
//! Making one does not wait for the disk, so its record is a file in its folder and not in the database; the rename of
//! the folder makes both true at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Store;
use super::layers::Lower;
use super::layout::{entries, remove};
use super::metadata::{IMAGES, LAYERS};
use super::overlay::{Overlay, Upper, attach};
use super::usage::{Space, space_of};
use crate::error::OfFile as _;
use crate::mutex::lock;
use crate::unpack::Privileges;
use crate::{Digest, Error, Result};

const RECORD: &str = "snapshot.json";
const LONGEST_NAME: usize = 128;
/// XATTR_LIST_MAX and XATTR_SIZE_MAX of limits.h.
const LONGEST_XATTRS: usize = 1 << 16;

/// A snapshot on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name, also that of its folder.
    pub id: String,
    /// The image that it was made from, by ID. The image may be gone; the layers are not.
    pub image: Digest,
    /// diffIDs, the lowest first.
    pub layers: Vec<Digest>,
    /// What the caller wants to find it by.
    pub owner: String,
}

/// How a snapshot is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Writable,
    /// The same content, as it is when it is mounted.
    ReadOnly,
}

/// Where a snapshot has its content, for who shows it to users. Nobody else writes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The layers of its image, the topmost first.
    pub lowers: Vec<PathBuf>,
    /// What was written to it.
    pub upper: PathBuf,
    /// What overlayfs needs beside it.
    pub work: PathBuf,
}

impl Store {
    /// Makes a writable snapshot of an image. [`Store::view`] gives its content.
    pub fn prepare(&self, id: &str, image: &Digest, owner: &str) -> Result<Snapshot> {
        check_name(id)?;
        let mut snapshots = lock(&self.snapshots);
        if snapshots.contains_key(id) {
            return Err(Error::SnapshotExists(id.to_owned()));
        }
        // Whoever removes an image has the same lock: the layers are those of an image or of a snapshot at any moment.
        let record = self.metadata.read()?.get(&IMAGES, image)?;
        let record = record.ok_or_else(|| Error::NoSuchImage(image.to_string()))?;
        let layers: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id).collect();
        let snapshot = Snapshot { id: id.to_owned(), image: *image, layers, owner: owner.to_owned() };
        self.make_folders(&snapshot)?;
        snapshots.insert(id.to_owned(), snapshot.clone());
        Ok(snapshot)
    }

    fn make_folders(&self, snapshot: &Snapshot) -> Result<()> {
        let new = self.layout.new_in(&self.layout.snapshots());
        let make = |path: &Path, mode| DirBuilder::new().mode(mode).create(path).of("create", path);
        make(&new, 0o711)?;
        make(&new.join("work"), 0o700)?;
        let upper = new.join("upper");
        make(&upper, 0o755)?;
        // The root of an overlay is that of its topmost layer.
        copy_attributes(&self.root_of(snapshot)?, &upper, self.privileges)?;
        let path = new.join(RECORD);
        let named = |source| Error::Record { table: "snapshots", key: snapshot.id.clone(), source };
        fs::write(&path, serde_json::to_vec(snapshot).map_err(named)?).of("write", &path)?;
        fs::rename(&new, self.snapshot_folder(&snapshot.id)).of("rename", &new)
    }

    /// The snapshots on record, by name.
    pub fn snapshots(&self) -> BTreeMap<String, Snapshot> {
        lock(&self.snapshots).clone()
    }

    pub fn snapshot(&self, id: &str) -> Result<Snapshot> {
        lock(&self.snapshots).get(id).cloned().ok_or_else(|| Error::NoSuchSnapshot(id.to_owned()))
    }

    /// The root of a snapshot as a mount that is nowhere yet; it goes away with its descriptor unless it is attached.
    pub fn view(&self, snapshot: &Snapshot, access: Access) -> Result<OwnedFd> {
        let folder = self.snapshot_folder(&snapshot.id);
        let upper = folder.join("upper");
        let mut lowers = self.lowers(snapshot)?;
        let upper = match access {
            Access::Writable => Some(Upper { upper, work: folder.join("work") }),
            Access::ReadOnly => {
                lowers.insert(0, Lower::folder(upper));
                None
            }
        };
        self.overlay(lowers, upper)
    }

    pub(super) fn overlay(&self, lowers: Vec<Lower>, upper: Option<Upper>) -> Result<OwnedFd> {
        let privileges = self.privileges;
        Overlay { lowers, upper, privileges, scratch: &self.layout.empty() }.mount()
    }

    /// The folders that a view of a snapshot is made of.
    pub fn places(&self, snapshot: &Snapshot) -> Result<Places> {
        let folder = self.snapshot_folder(&snapshot.id);
        let lowers = self.lowers(snapshot)?.iter().map(|lower| lower.path().to_owned()).collect();
        Ok(Places { lowers, upper: folder.join("upper"), work: folder.join("work") })
    }

    /// Puts a view where others see it: on the folder `target`.
    pub fn attach(&self, view: impl AsFd, target: impl AsFd) -> Result<()> {
        attach(view, target).of("attach a mount of", self.layout.root())
    }

    /// The folder whose attributes the root of a new snapshot has: that of the topmost layer that says something of its
    /// root. Most layers say nothing.
    pub(super) fn root_of(&self, snapshot: &Snapshot) -> Result<PathBuf> {
        let records = self.metadata.read()?;
        for id in snapshot.layers.iter().rev() {
            if records.get(&LAYERS, id)?.is_some_and(|layer| layer.has_root) {
                return Ok(self.lower(id)?.path().to_owned());
            }
        }
        Ok(self.layout.empty())
    }

    /// The topmost first. A layer that an image has twice is not needed below: it would be hidden by itself, and overlayfs
    /// takes no folder twice.
    pub(super) fn lowers(&self, snapshot: &Snapshot) -> Result<Vec<Lower>> {
        let mut seen = BTreeSet::new();
        let layers = snapshot.layers.iter().rev().filter(|id| seen.insert(**id));
        let mut lowers = layers.map(|id| self.lower(id)).collect::<Result<Vec<_>>>()?;
        if lowers.is_empty() {
            lowers.push(Lower::folder(self.layout.empty()));
        }
        Ok(lowers)
    }

    /// Removes a snapshot with all that was written to it. Mounts of it must be gone.
    pub fn remove_snapshot(&self, id: &str) -> Result<()> {
        let gone = {
            let mut snapshots = lock(&self.snapshots);
            if !snapshots.contains_key(id) {
                return Err(Error::NoSuchSnapshot(id.to_owned()));
            }
            let gone = self.layout.hide(&self.snapshot_folder(id))?;
            snapshots.remove(id);
            gone
        };
        remove(&gone)
    }

    /// What was written to a snapshot takes.
    pub fn snapshot_space(&self, id: &str) -> Result<Space> {
        self.snapshot(id)?;
        space_of(&self.upper(id))
    }

    /// The folder with what was written to a snapshot.
    pub(crate) fn upper(&self, id: &str) -> PathBuf {
        self.snapshot_folder(id).join("upper")
    }

    fn snapshot_folder(&self, id: &str) -> PathBuf {
        self.layout.snapshots().join(id)
    }

    /// Reads the records at opening. What was cut off by a power failure is removed.
    pub(super) fn load_snapshots(&self) -> Result<()> {
        let mut snapshots = lock(&self.snapshots);
        for (id, path) in entries(&self.layout.snapshots())? {
            let record = path.join(RECORD);
            match fs::read(&record) {
                // A file system may give back zeros where it lost what was written.
                Ok(bytes) if bytes.iter().any(|byte| *byte != 0) => {
                    let named = |source| Error::Record { table: "snapshots", key: id.clone(), source };
                    let snapshot = serde_json::from_slice(&bytes).map_err(named)?;
                    snapshots.insert(id, snapshot);
                }
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).of("read", &record);
                }
                _ => remove(&path)?,
            }
        }
        Ok(())
    }
}

/// Owner, mode and the extended attributes that are part of a layer, without those that overlayfs keeps for itself.
fn copy_attributes(from: &Path, to: &Path, privileges: Privileges) -> Result<()> {
    let metadata = fs::metadata(from).of("look at", from)?;
    chown(to, Some(metadata.uid()), Some(metadata.gid())).of("chown", to)?;
    fs::set_permissions(to, Permissions::from_mode(metadata.mode() & 0o7777)).of("chmod", to)?;
    let mut names = Vec::with_capacity(LONGEST_XATTRS);
    match listxattr(from, spare_capacity(&mut names)) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        listed => listed.of("list attributes of", from)?,
    };
    let overlay = privileges.overlay_namespace().as_bytes();
    let own = |name: &&[u8]| name.starts_with(b"user.") && !name.starts_with(overlay);
    for name in names.split(|byte| *byte == 0).filter(own) {
        let mut value = Vec::with_capacity(LONGEST_XATTRS);
        getxattr(from, name, spare_capacity(&mut value)).of("read attributes of", from)?;
        setxattr(to, name, &value, XattrFlags::empty()).of("set attributes of", to)?;
    }
    Ok(())
}

/// A name that is one component of a path and not one of our own (`.new-*`).
fn check_name(id: &str) -> Result<()> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let fine = id.len() <= LONGEST_NAME
        && id.as_bytes().first().is_some_and(plain)
        && id.bytes().all(|byte| plain(&byte) || b"_.-".contains(&byte));
    if fine { Ok(()) } else { Err(Error::SnapshotName(id.to_owned())) }
}
