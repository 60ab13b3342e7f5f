//! A walk through a tree that may be deeper than a process may have files open, and have paths longer than a system call
//! takes.
//!
//! Each step names one component below a descriptor and follows no link. The descriptors of the last few directories are
//! kept; a directory further up is opened again from below, by `..`, and must be the one that it was.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::vec::IntoIter;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, StatxFlags, chmodat, openat, statx, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Directories whose descriptors are kept, beside the first.
const KEPT: usize = 32;

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Device, major and minor number, and inode.
type Identity = (u32, u32, u64);

/// A directory, and the way back to where it began.
pub(crate) struct Descent {
    dir: OwnedFd,
    identity: Identity,
    above: Vec<Above>,
}

/// A directory on the way back.
struct Above {
    dir: Option<OwnedFd>,
    identity: Identity,
}

impl Descent {
    pub(crate) fn new(start: BorrowedFd<'_>) -> Result<Self, Errno> {
        let dir = openat(start, c".", OPEN, Mode::empty())?;
        Ok(Self { identity: identity(&dir)?, dir, above: Vec::new() })
    }

    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    pub(crate) fn enter(&mut self, name: &[u8]) -> Result<(), Errno> {
        let dir = openat(&self.dir, name, OPEN, Mode::empty())?;
        let identity = std::mem::replace(&mut self.identity, identity(&dir)?);
        let above = std::mem::replace(&mut self.dir, dir);
        self.above.push(Above { dir: Some(above), identity });
        if let Some(far) = self.above.len().checked_sub(KEPT + 1).filter(|far| *far > 0) {
            self.above[far].dir = None;
        }
        Ok(())
    }

    /// Goes back to the parent.
    pub(crate) fn leave(&mut self) -> Result<(), Errno> {
        let Some(Above { dir, identity: was }) = self.above.pop() else { return Ok(()) };
        let dir = match dir {
            Some(dir) => dir,
            None => openat(&self.dir, c"..", OPEN, Mode::empty())?,
        };
        // Somebody has moved the directory that we come from.
        if identity(&dir)? != was {
            return Err(Errno::STALE);
        }
        (self.dir, self.identity) = (dir, was);
        Ok(())
    }
}

fn identity(dir: &OwnedFd) -> Result<Identity, Errno> {
    let stat = statx(dir, c"", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino))
}

/// What a walk has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A name in [`Walk::dir`], which may be entered.
    Entry,
    /// The end of a directory, which is the entry again: [`Walk::dir`] is its parent.
    Left,
}

/// A walk in the order of names, each directory before what is in it.
pub(crate) struct Walk {
    descent: Descent,
    /// Of the entry, or else of the directory, without a slash at either end.
    path: Vec<u8>,
    at_entry: bool,
    /// What is left of each directory on the way.
    names: Vec<IntoIter<Vec<u8>>>,
}

impl Walk {
    pub(crate) fn new(root: BorrowedFd<'_>) -> Result<Self, Errno> {
        let descent = Descent::new(root)?;
        let names = vec![names(&descent.dir)?];
        Ok(Self { descent, path: Vec::new(), at_entry: false, names })
    }

    /// A walk through one file of a directory, by its name there.
    pub(crate) fn through(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Self, Errno> {
        let names = vec![vec![name.to_vec()].into_iter()];
        Ok(Self { descent: Descent::new(parent)?, path: Vec::new(), at_entry: false, names })
    }

    /// The directory that the walk is in.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.descent.dir()
    }

    /// The path of the entry from the root of the walk.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The last component of the path.
    pub(crate) fn name(&self) -> &[u8] {
        &self.path[self.parent_length()..]
    }

    /// The path of the directory that the entry is in, with a slash at its end unless it is the root.
    pub(crate) fn folder(&self) -> &[u8] {
        &self.path[..self.parent_length()]
    }

    fn parent_length(&self) -> usize {
        self.path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1)
    }

    /// The next entry, or the end of a directory that was entered; nothing at the end of the root.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, Errno> {
        if std::mem::take(&mut self.at_entry) {
            self.path.truncate(self.parent_length().saturating_sub(1));
        }
        let Some(listing) = self.names.last_mut() else { return Ok(None) };
        if let Some(name) = listing.next() {
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend(name);
            self.at_entry = true;
            return Ok(Some(Step::Entry));
        }
        self.names.pop();
        if self.names.is_empty() {
            return Ok(None);
        }
        self.descent.leave()?;
        self.at_entry = true;
        Ok(Some(Step::Left))
    }

    /// Goes into the entry, which is a directory.
    pub(crate) fn enter(&mut self) -> Result<(), Errno> {
        let start = self.parent_length();
        self.descent.enter(&self.path[start..])?;
        match names(self.descent.dir()) {
            Ok(names) => self.names.push(names),
            // It is gone: the walk is where it was.
            Err(error) => {
                self.descent.leave()?;
                return Err(error);
            }
        }
        self.at_entry = false;
        Ok(())
    }
}

/// The names in a directory in the order of their bytes.
pub(crate) fn names(dir: impl AsFd) -> Result<IntoIter<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names.into_iter())
}

/// Removes `name` in `parent` with all that is in it. Links are removed, not followed. Nobody else may change the tree.
pub(crate) fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let root = match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => open_for_removal(parent, name)?,
        removed => return removed,
    };
    let mut walk = Walk::new(root.as_fd())?;
    while let Some(step) = walk.next()? {
        let (dir, name) = (walk.dir(), walk.name());
        match step {
            Step::Left => unlinkat(dir, name, AtFlags::REMOVEDIR)?,
            Step::Entry => match unlinkat(dir, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {
                    drop(open_for_removal(dir, name)?);
                    walk.enter()?;
                }
                removed => removed?,
            },
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Opens a directory whose mode may keep its owner out, unless that is root.
fn open_for_removal(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    if !geteuid().is_root() {
        chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
    }
    openat(parent, name, OPEN, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use rustix::fs::{mkdirat, openat};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    /// Directories in directories, and a file in the last.
    fn deep(root: &Path, name: &[u8], depth: usize) {
        let mut dir: OwnedFd = File::open(root).unwrap().into();
        for _ in 0..depth {
            mkdirat(&dir, name, Mode::RWXU).unwrap();
            dir = openat(&dir, name, OPEN, Mode::empty()).unwrap();
        }
        openat(&dir, c"file", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR).unwrap();
    }

    #[test]
    fn a_walk_names_all_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["b/c", "b/a", "a", "b/c/d"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let mut walk = Walk::new(File::open(folder.path()).unwrap().as_fd()).unwrap();
        let mut seen = Vec::new();
        while let Some(step) = walk.next().unwrap() {
            let path = String::from_utf8(walk.path().to_vec()).unwrap();
            assert_eq!([walk.folder(), walk.name()].concat(), path.as_bytes());
            seen.push(format!("{}{path}", if step == Step::Left { "-" } else { "" }));
            // Not everything is entered.
            if step == Step::Entry && path != "b/c" {
                walk.enter().unwrap();
            }
        }
        assert_eq!(seen, ["a", "-a", "b", "b/a", "-b/a", "b/c", "-b"]);
    }

    #[test]
    fn depth_takes_no_descriptors() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir(&top).unwrap();
        deep(&top, b"directory", 3000);
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..limit }).unwrap();
        let mut walk = Walk::new(File::open(&top).unwrap().as_fd()).unwrap();
        let (mut entries, mut ends) = (0, 0);
        while let Some(step) = walk.next().unwrap() {
            match step {
                Step::Left => ends += 1,
                Step::Entry => {
                    entries += 1;
                    if walk.name() != b"file" {
                        walk.enter().unwrap();
                    }
                }
            }
        }
        assert_eq!((entries, ends), (3001, 3000));
        remove(File::open(folder.path()).unwrap().as_fd(), b"top").unwrap();
        assert!(!top.exists());
        setrlimit(Resource::Nofile, limit).unwrap();
    }

    #[test]
    fn a_directory_that_moved_is_no_way_back() {
        let folder = tempfile::tempdir().unwrap();
        deep(folder.path(), b"d", 40);
        let mut walk = Walk::new(File::open(folder.path()).unwrap().as_fd()).unwrap();
        while walk.next().unwrap() == Some(Step::Entry) && walk.name() == b"d" {
            walk.enter().unwrap();
        }
        // The third from the top, whose parent is not open any more.
        fs::rename(folder.path().join("d/d/d"), folder.path().join("moved")).unwrap();
        let end = loop {
            match walk.next() {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert_eq!(end, Err(Errno::STALE));
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("kept/inside")).unwrap();
        fs::create_dir(folder.path().join("gone")).unwrap();
        std::os::unix::fs::symlink("../kept", folder.path().join("gone/link")).unwrap();
        remove(File::open(folder.path()).unwrap().as_fd(), b"gone").unwrap();
        assert!(folder.path().join("kept/inside").exists() && !folder.path().join("gone").exists());
    }
}
