//! What directories get when the layer is complete: modes (set-group-id and missing permissions would be in the way before),
//! default ACLs (they would be inherited), times (each new file changes them).

use std::collections::HashSet;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, XattrFlags, fchmod, fsetxattr, futimens, openat2};
use rustix::io::Errno;

use super::Policy;
use super::attributes::{DEFAULT_ACL, may_lack, timestamps};
use crate::archive::{Entry, Error, Result, Time};

/// Bytes of default ACLs that a layer may have: they wait in memory.
const MOST_ACLS: usize = 4 << 20;
/// Bytes of the paths of all directories of a layer, for the same reason.
const MOST_PATHS: usize = 256 << 20;
/// PATH_MAX of limits.h, with its NUL.
const LONGEST_IN_ONE_CALL: usize = 4095;

pub(super) struct Directories {
    /// In the order of the archive; the last one of a path counts.
    waiting: Vec<Waiting>,
    acls: usize,
    paths: usize,
    policy: Policy,
}

struct Waiting {
    path: Box<[u8]>,
    mode: u32,
    mtime: Time,
    atime: Option<Time>,
    acl: Option<Box<[u8]>>,
}

impl Directories {
    pub(super) fn new(policy: &Policy) -> Self {
        Self { waiting: Vec::new(), acls: 0, paths: 0, policy: policy.clone() }
    }

    /// Remembers the entry of a directory at a clean path.
    pub(super) fn add(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        let acl = entry.xattrs.iter().find(|xattr| xattr.name == DEFAULT_ACL);
        self.acls += acl.map_or(0, |acl| acl.value.len());
        if self.acls > MOST_ACLS {
            return Err(Error::refused(&entry.path, "the default ACLs of the layer are too large"));
        }
        self.paths += path.len();
        if self.paths > MOST_PATHS {
            return Err(Error::refused(&entry.path, "the paths of the layer's directories are too long"));
        }
        self.waiting.push(Waiting {
            path: path.into(),
            mode: entry.mode,
            mtime: entry.mtime,
            atime: entry.atime,
            acl: acl.map(|acl| acl.value.as_slice().into()),
        });
        Ok(())
    }

    /// Children come after their parents in an archive, so the last are done first: a parent's mode may lock us out.
    pub(super) fn finish(self, root: BorrowedFd<'_>) -> Result<()> {
        let mut done = HashSet::new();
        for waiting in self.waiting.iter().rev() {
            if done.insert(&waiting.path) {
                let set = waiting.set(root, &self.policy);
                set.map_err(|error| Error::entry("set mode and times of", &waiting.path, error))?;
            }
        }
        Ok(())
    }
}

impl Waiting {
    fn set(&self, root: BorrowedFd<'_>, policy: &Policy) -> std::result::Result<(), Errno> {
        let path: &[u8] = if self.path.is_empty() { b"." } else { &self.path };
        let dir = match open(root, path) {
            Ok(dir) => dir,
            // A later entry has put something else there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(error),
        };
        fchmod(&dir, Mode::from_raw_mode(self.mode))?;
        if let Some(acl) = &self.acl {
            match fsetxattr(&dir, DEFAULT_ACL, acl, XattrFlags::empty()) {
                Err(error) if !may_lack(error, policy) => return Err(error),
                _ => {}
            }
        }
        futimens(&dir, &timestamps(self.mtime, self.atime))
    }
}

/// Opens a directory inside the root, in several calls if its path is too long for one.
fn open(root: BorrowedFd<'_>, mut path: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut dir = None;
    loop {
        let part = match path.get(..LONGEST_IN_ONE_CALL) {
            Some(start) => {
                start.iter().rposition(|byte| *byte == b'/').map_or(start, |slash| &start[..slash])
            }
            None => path,
        };
        let next = match &dir {
            None => openat2(root, part, flags, Mode::empty(), inside)?,
            // A link would be resolved in another root.
            Some(dir) => match openat2(dir, part, flags, Mode::empty(), inside | ResolveFlags::NO_SYMLINKS) {
                Err(Errno::LOOP) => return Err(Errno::NAMETOOLONG),
                opened => opened?,
            },
        };
        path = path.get(part.len() + 1..).unwrap_or_default();
        if path.is_empty() {
            return Ok(next);
        }
        dir = Some(next);
    }
}
