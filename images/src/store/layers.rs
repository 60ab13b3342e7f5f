//! Unpacked layers: a tree that is being made, and one that can be mounted.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use super::Store;
use super::layout::remove;
use super::metadata::{LAYERS, LayerRecord};
use crate::error::OfFile as _;
use crate::{Digest, Error, Result};

/// A layer in the form in which it becomes the lower layer of an overlay mount: a folder. Whatever else a layer may
/// come to be (a file system image mounted from a file) becomes one here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lower(PathBuf);

impl Lower {
    pub(crate) fn folder(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder that is the layer's root.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Store {
    /// The record of a layer, if it is unpacked.
    pub fn layer(&self, diff_id: &Digest) -> Result<Option<LayerRecord>> {
        self.metadata.read()?.get(&LAYERS, diff_id)
    }

    pub(super) fn lower(&self, diff_id: &Digest) -> Result<Lower> {
        let path = self.layout.layer(diff_id);
        if fs::symlink_metadata(&path).is_ok() {
            Ok(Lower::folder(path))
        } else {
            Err(Error::Missing { what: "layer", digest: *diff_id })
        }
    }

    /// An empty folder to unpack a layer into.
    pub(crate) fn new_tree(&self) -> Result<NewTree> {
        let path = self.layout.new_in(&self.layout.layers());
        DirBuilder::new().mode(0o755).create(&path).of("create", &path)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = open(&path, flags, Mode::empty()).of("open", &path)?;
        Ok(NewTree { path, root, named: false })
    }
}

/// A layer that is being unpacked; removed when it is dropped before it has its name.
pub(crate) struct NewTree {
    path: PathBuf,
    root: OwnedFd,
    named: bool,
}

impl NewTree {
    pub(crate) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The tree becomes that of its layer. If there is one already, this one is not needed.
    pub(super) fn name(mut self, path: &Path) -> Result<()> {
        match fs::rename(&self.path, path) {
            // ENOTEMPTY or, on XFS, EEXIST.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(())
            }
            renamed => {
                self.named = renamed.is_ok();
                renamed.of("rename", &self.path)
            }
        }
    }
}

impl Drop for NewTree {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed now is removed by the next opening of the store.
            let _ = remove(&self.path);
        }
    }
}
