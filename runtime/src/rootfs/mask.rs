//! Masked and read-only paths.
//!
//! A file is covered by a null device that was taken and verified before the root changed: what an image has at that
//! name may be a link to whatever it likes (CVE-2025-31133). All directories are covered by one empty tmpfs. Each path
//! is one look-up, that of move_mount(2); this happens after pivot_root(2), so that no path can lead out.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType};

use crate::error::{During, Result};
use crate::sys::files::kind_at;
use crate::sys::mounts::{
    Depth, MountChange, attach_at, change_mount, clone_tree, clone_tree_at, clone_tree_nofollow, create_fs,
    mount_fs, open_fs, set_fs_option,
};
use crate::sys::{self, Errno};

use super::devices::is_null;
use super::{Last, Missing, RootDir};

/// A cover that is put over many paths. A copy can only be made of one that is in place (before Linux 6.15), so the
/// first goes out itself.
struct Cover {
    ready: Option<OwnedFd>,
    placed: Option<OwnedFd>,
}

impl Cover {
    fn new(first: OwnedFd) -> Self {
        Self { ready: Some(first), placed: None }
    }

    /// Puts one in place. One that found no place is used for the next path.
    fn put(&mut self, root: BorrowedFd<'_>, path: &str) -> sys::Result<()> {
        let next = match (self.ready.take(), &self.placed) {
            (Some(ready), _) => ready,
            (None, Some(placed)) => clone_tree_at(placed, Depth::One)?,
            (None, None) => {
                return Err(sys::Error { call: "cover".into(), errno: Errno::BADF });
            }
        };
        match attach_at(&next, root, path) {
            Ok(()) => {
                self.placed = Some(next);
                Ok(())
            }
            Err(error) => {
                self.ready = Some(next);
                Err(error)
            }
        }
    }
}

pub(super) struct Mask {
    null: Cover,
    empty: Option<Cover>,
    label: Option<String>,
}

impl Mask {
    /// Takes the container's null device, or else the host's, which must be in sight still.
    ///
    /// The container's keeps the host's devtmpfs out of it: a mount, even of one file, opens a whole file system to
    /// open_by_handle_at(2).
    pub(super) fn take_null(root: &RootDir, label: Option<String>) -> Result<Self> {
        let null = container_null(root).map_or_else(host_null, Ok).during(|| "can't mask paths".into())?;
        Ok(Self { null: Cover::new(null), empty: None, label })
    }

    /// Covers a path inside the root; one that does not exist needs no cover.
    ///
    /// It is looked at first: a cover that finds no place has to be given up in the end, and for that the kernel takes
    /// its time (an RCU grace period for each mount that was never attached).
    pub(super) fn cover(&mut self, root: BorrowedFd<'_>, path: &str) -> sys::Result<()> {
        let is_directory = match kind_at(root, path) {
            Err(error) if error.errno == Errno::NOENT => return Ok(()),
            result => result? == FileType::Directory,
        };
        if !is_directory {
            return unless_missing(self.null.put(root, path));
        }
        let empty = match &mut self.empty {
            Some(empty) => empty,
            none => none.insert(Cover::new(empty_directory(self.label.as_deref())?)),
        };
        unless_missing(empty.put(root, path))
    }
}

/// What is copied is what was looked at, by descriptor. Whatever is amiss with it, there is the host's.
fn container_null(root: &RootDir) -> Option<OwnedFd> {
    let found = root.find("dev/null", Missing::Fail, Last::Keep).ok()?;
    let null = is_null(&found.fd).ok()?;
    null.then(|| clone_tree_at(&found.fd, Depth::One).ok()).flatten()
}

fn host_null() -> sys::Result<OwnedFd> {
    let null = clone_tree_nofollow(CWD, "/dev/null", Depth::One)?;
    if is_null(&null)? {
        return Ok(null);
    }
    Err(sys::Error { call: "the host's /dev/null is not the null device".into(), errno: Errno::INVAL })
}

fn unless_missing(result: sys::Result<()>) -> sys::Result<()> {
    match result {
        Err(error) if error.errno == Errno::NOENT => Ok(()),
        result => result,
    }
}

/// An empty, read-only directory that is mounted nowhere.
pub(super) fn empty_directory(label: Option<&str>) -> sys::Result<OwnedFd> {
    let fs = open_fs("tmpfs")?;
    set_fs_option(&fs, "source", "tmpfs")?;
    set_fs_option(&fs, "nr_blocks", "1")?;
    set_fs_option(&fs, "nr_inodes", "1")?;
    if let Some(label) = label {
        set_fs_option(&fs, "context", label)?;
    }
    sys::mounts::set_fs_flag(&fs, "ro")?;
    create_fs(&fs)?;
    mount_fs(&fs, libc::MOUNT_ATTR_RDONLY)
}

/// Covers a path by a read-only copy of itself and of what is mounted below; one that does not exist is no matter.
pub(super) fn make_readonly(root: BorrowedFd<'_>, path: &str) -> sys::Result<()> {
    let copy = match clone_tree(root, path, Depth::Tree) {
        Err(error) if error.errno == Errno::NOENT => return Ok(()),
        result => result?,
    };
    change_mount(&copy, Depth::One, &MountChange { set: libc::MOUNT_ATTR_RDONLY, ..MountChange::default() })?;
    unless_missing(attach_at(&copy, root, path))
}
