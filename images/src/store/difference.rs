//! What a snapshot changed, and its whole root: `docker diff` and `docker export`.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use super::Store;
use super::snapshots::{Access, Snapshot};
use crate::Result;
use crate::diff::{self, Change, Changes, Style};
use crate::error::OfFile as _;

impl Store {
    /// What was written to a snapshot, compared with its image: each directory before what is in it.
    ///
    /// `hidden` are absolute paths of which nothing is told, nor of directories that are there for them alone: the places of
    /// mounts, which whoever mounts has to make. The container may run; what it writes meanwhile is seen or not.
    pub fn changes(&self, snapshot: &str, hidden: &[PathBuf]) -> Result<Vec<Change>> {
        Ok(self.compare(&self.snapshot(snapshot)?, hidden)?.list)
    }

    /// Writes the archive of all that a snapshot shows. The container may run, and had better not write meanwhile.
    pub fn export(&self, snapshot: &str, out: impl Write + Send) -> Result<()> {
        let root = self.view(&self.snapshot(snapshot)?, Access::ReadOnly)?;
        diff::tree(root.as_fd(), out)?;
        Ok(())
    }

    pub(crate) fn style(&self) -> Style {
        Style { privileges: self.privileges(), ..Style::default() }
    }

    pub(crate) fn compare(&self, snapshot: &Snapshot, hidden: &[PathBuf]) -> Result<Changes> {
        let upper = folder(&self.upper(&snapshot.id))?;
        let root = folder(&self.root_of(snapshot)?)?;
        let lowers = self.lowers(snapshot)?;
        let lower = match lowers.as_slice() {
            // A mount without an upper takes two.
            [only] => folder(only.path())?,
            _ => self.overlay(lowers, None)?,
        };
        Ok(diff::changes([&upper, &lower, &root].map(|dir| dir.as_fd()), hidden, &self.style())?)
    }
}

fn folder(path: &Path) -> Result<OwnedFd> {
    File::open(path).map(OwnedFd::from).of("open", path)
}
