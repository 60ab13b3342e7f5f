//! The container's root directory as a descriptor: the only way to a path inside it.
//!
//! What the root holds is written by others, at any moment: no path is ever joined to another, and no link leads out.
//! A path without links is one openat2(2); one with links, or with parts that are missing, is walked here component by
//! component, since the kernel does not say where a link led. Where openat2 is refused (ENOSYS; EPERM by a seccomp
//! filter of an outer container), the walk does it all. CVE-2021-30465, CVE-2024-45310.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, ResolveFlags};

use crate::plan::mounts::in_root;
use crate::sys::files::{make_dir_at, make_node_at, open_at, open_at2, read_link_at, stat_fd, symlink_at};
use crate::sys::{Errno, Error, Result};

pub(crate) struct RootDir {
    fd: OwnedFd,
    openat2_refused: Cell<bool>,
}

/// What to make where a path ends in nothing. Missing directories on the way are made with mode 0755.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Fail,
    /// A directory, mode 0755.
    Directory,
    /// An empty file, mode 0644.
    File,
}

/// A link as the last component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Follow,
    Keep,
}

/// Something inside the root, open with O_PATH.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) fd: OwnedFd,
    /// Where it really is: below the root, without links. Empty for the root itself.
    pub(crate) path: String,
    /// It was missing.
    pub(crate) made: bool,
}

/// The kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// How often others may get in the way of one openat2(2) before it is given up for the walk.
const MAX_RACES: usize = 128;
/// More parts than a path has; only somebody who removes them as they are made gets there.
const MAX_MADE: usize = 4096;

impl RootDir {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { fd, openat2_refused: Cell::new(false) }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Finds a path, or makes it.
    pub(crate) fn find(&self, path: &str, missing: Missing, last: Last) -> Result<Found> {
        self.find_or(path, || Ok(missing), last)
    }

    /// The same; what to make is asked only where it may be missing.
    pub(crate) fn find_or(
        &self,
        path: &str,
        missing: impl FnOnce() -> Result<Missing>,
        last: Last,
    ) -> Result<Found> {
        // openat2 takes no empty path.
        match self.open_straight(if path.is_empty() { "." } else { path }) {
            Some(Ok(fd)) => Ok(Found { fd, path: in_root(path), made: false }),
            Some(Err(error)) if !matches!(error.errno, Errno::LOOP | Errno::NOENT) => Err(error),
            Some(Err(_)) | None => {
                let missing = missing()?;
                let made = if missing == Missing::Directory { self.make_last(path) } else { None };
                made.map_or_else(|| self.walk(path, missing, last), Ok)
            }
        }
    }

    /// Makes a directory in one that exists, with no link on the way. None: anything else is for the walk to find out.
    fn make_last(&self, path: &str) -> Option<Found> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        if path.is_empty() || in_root(path) != path {
            return None;
        }
        let directory = self.open_straight(if directory.is_empty() { "." } else { directory })?.ok()?;
        make_dir_at(&directory, name, 0o755).ok()?;
        let fd = open_at(&directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY).ok()?;
        Some(Found { fd, path: path.to_owned(), made: true })
    }

    /// A directory to which no link leads, made where it is missing.
    pub(crate) fn ordinary_directory(&self, path: &str) -> Result<Found> {
        // The slash asks for a directory.
        if let Some(Ok(fd)) = self.open_straight(&format!("{path}/")) {
            return Ok(Found { fd, path: in_root(path), made: false });
        }
        let found = self.find(path, Missing::Directory, Last::Keep)?;
        let is_directory = FileType::from_raw_mode(stat_fd(&found.fd)?.st_mode) == FileType::Directory;
        if found.path != in_root(path) || !is_directory {
            return Err(Error { call: format!("open({path:?})"), errno: Errno::NOTDIR });
        }
        Ok(found)
    }

    /// The directory of a path, made where it is missing, and the last component.
    pub(crate) fn parent<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str)> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.find(directory, Missing::Directory, Last::Follow)?.fd, name))
    }

    /// Makes a link; one that says the same is as good.
    pub(crate) fn symlink(&self, target: &str, path: &str) -> Result<()> {
        let (directory, name) = self.parent(path)?;
        match symlink_at(target, &directory, name) {
            Err(error)
                if error.errno == Errno::EXIST
                    && read_link_at(&directory, name).is_ok_and(|at| at == target) =>
            {
                Ok(())
            }
            result => result,
        }
    }

    /// None: the kernel does not let us use it, or cannot tell because something is being renamed.
    fn open_straight(&self, path: &str) -> Option<Result<OwnedFd>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        for _ in 0..MAX_RACES {
            if self.openat2_refused.get() {
                return None;
            }
            match open_at2(&self.fd, path, OFlags::PATH, resolve) {
                Err(error) if error.errno == Errno::AGAIN => {}
                Err(error) if matches!(error.errno, Errno::NOSYS | Errno::PERM) => {
                    self.openat2_refused.set(true);
                }
                result => return Some(result),
            }
        }
        None
    }

    fn walk(&self, path: &str, missing: Missing, last: Last) -> Result<Found> {
        let mut walk = Walk { root: self.fd(), passed: Vec::new(), ahead: Vec::new(), links: 0, made: 0 };
        walk.push(path);
        while let Some(name) = walk.ahead.pop() {
            walk.step(&name, missing, last)?;
        }
        walk.end()
    }
}

/// `..` is never given to the kernel: it goes back to a descriptor from which we came, so a directory that is
/// moved elsewhere meanwhile does not take us along.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    passed: Vec<(String, OwnedFd)>,
    /// Components still to go, the next one last.
    ahead: Vec<String>,
    links: usize,
    made: usize,
}

impl Walk<'_> {
    fn push(&mut self, path: &str) {
        self.ahead.extend(path.split('/').rev().filter(|name| !matches!(*name, "" | ".")).map(str::to_owned));
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.passed.last().map_or(self.root, |(_, fd)| fd.as_fd())
    }

    fn step(&mut self, name: &str, missing: Missing, last: Last) -> Result<()> {
        if name == ".." {
            self.passed.pop();
            return Ok(());
        }
        let fd = match open_at(self.here(), name, OFlags::PATH | OFlags::NOFOLLOW) {
            Err(error) if error.errno == Errno::NOENT && missing != Missing::Fail => {
                return self.make(name, missing);
            }
            result => result?,
        };
        let keep = last == Last::Keep && self.ahead.is_empty();
        if !keep && FileType::from_raw_mode(stat_fd(&fd)?.st_mode) == FileType::Symlink {
            return self.follow(&read_link_at(&fd, "")?);
        }
        self.passed.push((name.to_owned(), fd));
        Ok(())
    }

    fn follow(&mut self, target: &str) -> Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Error { call: format!("follow link to {target:?}"), errno: Errno::LOOP });
        }
        if target.starts_with('/') {
            self.passed.clear();
        }
        self.push(target);
        Ok(())
    }

    /// Makes a component and goes to it again: it may have been made, and replaced, by others.
    fn make(&mut self, name: &str, missing: Missing) -> Result<()> {
        let made = if missing == Missing::File && self.ahead.is_empty() {
            make_node_at(self.here(), name, FileType::RegularFile, 0o644, (0, 0))
        } else {
            make_dir_at(self.here(), name, 0o755)
        };
        self.made += 1;
        match made {
            Err(error) if error.errno != Errno::EXIST => Err(error),
            _ if self.made > MAX_MADE => Err(Error { call: format!("mkdir({name:?})"), errno: Errno::BUSY }),
            _ => {
                self.ahead.push(name.to_owned());
                Ok(())
            }
        }
    }

    fn end(self) -> Result<Found> {
        let path = self.passed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("/");
        let fd = match self.passed.into_iter().next_back() {
            Some((_, fd)) => fd,
            None => open_at(self.root, ".", OFlags::PATH | OFlags::DIRECTORY)?,
        };
        Ok(Found { fd, path, made: self.made > 0 })
    }
}

#[cfg(test)]
#[path = "root_dir_tests.rs"]
mod tests;
