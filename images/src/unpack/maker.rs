//! Makes everything but directories, with as few system calls for a file as its attributes allow.
//!
//! The order for each file: create, content, owner, extended attributes (a change of owner or content drops capabilities),
//! set-id bits (a change of owner drops them), times.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, XattrFlags, chmodat, chownat, fchmod, fchown, fstat, ftruncate,
    futimens, linkat, lsetxattr, makedev, mknodat, openat, symlinkat, unlinkat, utimensat,
};
use rustix::io::{Errno, pwrite};
use rustix::process::{fchdir, umask};

use super::Policy;
use super::attributes::{Owners, Skipped, owner_error, set_each, set_xattrs, timestamps};
use super::crew::{News, Task};
use super::tree::{Dir, set_opaque};
use crate::archive::{Entry, Error, Kind, Piece, Result};
use crate::descent::remove;
use crate::sys::unshare_fs;

const SET_ID: u32 = 0o6000;

/// A file to make in a directory.
pub(super) struct Leaf {
    pub(super) parent: Arc<Dir>,
    pub(super) name: Box<[u8]>,
    pub(super) entry: Entry,
    pub(super) form: Form,
}

pub(super) enum Form {
    /// As the entry's kind says.
    Kind,
    /// Another name of a file in this directory.
    Link(Arc<Dir>, Box<[u8]>),
    Whiteout,
}

/// A file whose content is being written.
struct Open {
    fd: OwnedFd,
    leaf: Box<Leaf>,
    /// Bytes from the beginning to the end of what was written.
    end: u64,
}

pub(super) struct Maker {
    policy: Policy,
    owners: Owners,
    news: Arc<News>,
    open: Option<Open>,
    skipped: Skipped,
}

impl Maker {
    pub(super) fn new(policy: &Policy, news: Arc<News>) -> Self {
        Self {
            policy: policy.clone(),
            owners: Owners::new(policy),
            news,
            open: None,
            skipped: Skipped::default(),
        }
    }

    /// Works until the queue is closed. After an error the rest is thrown away.
    pub(super) fn run(mut self, queue: &Receiver<Vec<Task>>) -> Result<Skipped> {
        let mut outcome = unshare_fs().map_err(|error| Error::Write(error.into()));
        if outcome.is_ok() {
            // This thread's alone: modes become what they are asked to be.
            umask(Mode::empty());
        }
        for task in queue.iter().flatten() {
            if outcome.is_ok() {
                outcome = self.act(task);
            }
            if outcome.is_err() {
                self.news.failed.store(true, Ordering::Relaxed);
            }
        }
        outcome.map(|()| self.skipped)
    }

    fn act(&mut self, task: Task) -> Result<()> {
        match task {
            Task::Make(leaf) => self.make(leaf),
            Task::Write(piece) => self.open.as_mut().map_or(Ok(()), |open| open.write(&piece)),
            Task::Close => self.open.take().map_or(Ok(()), |open| self.close(&open)),
            Task::Settle(settled) => {
                drop(settled);
                Ok(())
            }
        }
    }

    fn make(&mut self, leaf: Box<Leaf>) -> Result<()> {
        let (parent, name, entry) = (&leaf.parent, &*leaf.name, &leaf.entry);
        let mode = Mode::from_raw_mode(entry.mode & !SET_ID);
        match &leaf.form {
            Form::Whiteout => return self.whiteout(&leaf),
            Form::Link(folder, target) => {
                return self.create(&leaf, || linkat(folder, &**target, parent, name, AtFlags::empty()));
            }
            Form::Kind => {}
        }
        match entry.kind {
            Kind::File => {
                let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = self.create(&leaf, || openat(parent, name, new, mode))?;
                self.open = Some(Open { fd, leaf, end: 0 });
                return Ok(());
            }
            Kind::Symlink => self.create(&leaf, || symlinkat(&entry.link, parent, name))?,
            kind => {
                let (major, minor) = entry.device;
                let device = makedev(major, minor);
                self.create(&leaf, || mknodat(parent, name, file_type(kind), mode, device))?;
            }
        }
        self.dress(&leaf)
    }

    /// Creates a file, in the place of what this layer had there.
    fn create<T>(&self, leaf: &Leaf, make: impl Fn() -> std::result::Result<T, Errno>) -> Result<T> {
        let made = match make() {
            Err(Errno::EXIST) => self.clear(leaf).and_then(|()| make()),
            other => other,
        };
        made.map_err(|error| Error::entry("create", &leaf.entry.path, error))
    }

    fn clear(&self, leaf: &Leaf) -> std::result::Result<(), Errno> {
        match unlinkat(&leaf.parent, &*leaf.name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                self.news.removals.fetch_add(1, Ordering::Release);
                let removed = remove(leaf.parent.as_fd(), &leaf.name);
                self.news.removals.fetch_add(1, Ordering::Release);
                removed
            }
            other => other,
        }
    }

    /// Hides the lower layers' file. A file that this layer has of its own stays; a directory becomes opaque.
    fn whiteout(&self, leaf: &Leaf) -> Result<()> {
        let (parent, name) = (&leaf.parent, &*leaf.name);
        let made = match mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0)) {
            Err(Errno::EXIST) => match openat(parent, name, super::tree::OPEN, Mode::empty()) {
                Ok(dir) => set_opaque(dir.as_fd(), self.policy.privileges),
                Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(error) => Err(error),
            },
            other => other,
        };
        made.map_err(|error| Error::entry("create", &leaf.entry.path, error))
    }

    fn close(&mut self, open: &Open) -> Result<()> {
        let (fd, entry) = (open.fd.as_fd(), &open.leaf.entry);
        let failed = |error| Error::entry("set the attributes of", &entry.path, error);
        if open.end < entry.size {
            ftruncate(fd, entry.size).map_err(|error| Error::entry("write", &entry.path, error))?;
        }
        if let Some((uid, gid)) = self.owners.change(entry)? {
            fchown(fd, Some(uid), Some(gid)).map_err(|error| owner_error(&entry.path, error))?;
        }
        if !entry.xattrs.is_empty() {
            set_xattrs(fd, entry, &self.policy, &mut self.skipped)?;
        }
        if entry.mode & SET_ID != 0 {
            fchmod(fd, Mode::from_raw_mode(entry.mode)).map_err(failed)?;
        }
        futimens(fd, &timestamps(entry.mtime, entry.atime)).map_err(failed)
    }

    /// The attributes of what cannot be opened.
    fn dress(&mut self, leaf: &Leaf) -> Result<()> {
        let (parent, name, entry) = (leaf.parent.as_fd(), &*leaf.name, &leaf.entry);
        let failed = |error| Error::entry("set the attributes of", &entry.path, error);
        if let Some((uid, gid)) = self.owners.change(entry)? {
            chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| owner_error(&entry.path, error))?;
        }
        if !entry.xattrs.is_empty() {
            self.set_xattrs_at(parent, leaf)?;
        }
        if entry.mode & SET_ID != 0 && entry.kind != Kind::Symlink {
            set_mode(parent, name, Mode::from_raw_mode(entry.mode)).map_err(failed)?;
        }
        let times = timestamps(entry.mtime, entry.atime);
        utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
    }

    /// There is no lsetxattrat(2) before 6.13: the working directory, which is this thread's own, stands in.
    fn set_xattrs_at(&mut self, parent: BorrowedFd<'_>, leaf: &Leaf) -> Result<()> {
        fchdir(parent).map_err(|error| Error::entry("enter the directory of", &leaf.entry.path, error))?;
        set_each(&leaf.entry, &self.policy, &mut self.skipped, |name, value| {
            lsetxattr(&*leaf.name, name, value, XattrFlags::empty())
        })
    }
}

impl Open {
    fn write(&mut self, piece: &Piece) -> Result<()> {
        let mut bytes = &*piece.bytes;
        let mut offset = piece.offset;
        while !bytes.is_empty() {
            match pwrite(&self.fd, bytes, offset) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    offset += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::entry("write", &self.leaf.entry.path, error)),
            }
        }
        self.end = offset;
        Ok(())
    }
}

/// Sets the mode of what cannot be opened. A link that has taken its place meanwhile is not followed: fchmodat(2) would
/// follow it out of the root.
fn set_mode(parent: BorrowedFd<'_>, name: &[u8], mode: Mode) -> std::result::Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    // A descriptor of this kind has no fchmod(2); its name in /proc is it and nothing else.
    chmodat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), mode, AtFlags::empty())
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::CharDevice => FileType::CharacterDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        _ => FileType::Fifo,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_mode_is_that_of_the_file_and_never_that_of_a_links_target() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&victim, folder.path().join("link")).unwrap();
        let parent = File::open(folder.path()).unwrap();
        let mode = Mode::from_raw_mode(0o6755);
        assert_eq!(set_mode(parent.as_fd(), b"link", mode), Err(Errno::LOOP));
        assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o7777, 0o600);
        set_mode(parent.as_fd(), b"victim", mode).unwrap();
        assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o7777, 0o6755);
    }
}
