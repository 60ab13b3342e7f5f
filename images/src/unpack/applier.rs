//! Walks the entries in the archive's order: makes directories itself, gives everything else to the makers.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, fchmod, fchown, mkdirat, statat, unlinkat};
use rustix::io::Errno;

use super::attributes::{Owners, Skipped, check_xattrs, owner_error, set_xattrs};
use super::crew::{Crew, Task};
use super::directories::Directories;
use super::maker::{Form, Leaf};
use super::name::{self, Meaning};
use super::tree::{Dir, Key, Tree, set_opaque};
use super::{Onto, Policy, Privileges};
use crate::archive::{Entry, Error, Kind, Reader, Result};

#[derive(Default)]
pub(super) struct Counts {
    pub(super) entries: u64,
    /// Bytes of files.
    pub(super) content: u64,
    pub(super) has_root: bool,
    pub(super) skipped: Skipped,
}

pub(super) struct Applier<'scope> {
    policy: Policy,
    owners: Owners,
    tree: Tree,
    crew: Crew<'scope>,
    directories: Directories,
    counts: Counts,
    /// The directory of the entry before, reached without links.
    last: Option<(Vec<u8>, Arc<Dir>)>,
    removals: u64,
}

impl<'scope> Applier<'scope> {
    pub(super) fn new(root: BorrowedFd<'_>, policy: &Policy, crew: Crew<'scope>) -> Result<Self> {
        Ok(Self {
            policy: policy.clone(),
            owners: Owners::new(policy),
            tree: Tree::new(root).map_err(|error| Error::entry("open", b"/", error))?,
            crew,
            directories: Directories::new(policy),
            counts: Counts::default(),
            last: None,
            removals: 0,
        })
    }

    pub(super) fn into_parts(self) -> (Counts, Directories, Crew<'scope>) {
        (self.counts, self.directories, self.crew)
    }

    /// Reads the archive to its end, or until a maker has failed.
    pub(super) fn run(&mut self, reader: &mut Reader<impl Read>) -> Result<()> {
        while let Some(entry) = reader.next_entry()? {
            self.crew.at_chunk(reader.chunk());
            if self.crew.has_failed() {
                return Ok(());
            }
            self.count(&entry)?;
            let Some(maker) = self.entry(entry)? else { continue };
            while let Some(piece) = reader.piece()? {
                self.crew.at_chunk(reader.chunk());
                if self.crew.has_failed() {
                    return Ok(());
                }
                self.counts.content += piece.bytes.len() as u64;
                self.crew.give(maker, Task::Write(piece));
            }
            self.crew.give(maker, Task::Close);
        }
        reader.drain()
    }

    fn count(&mut self, entry: &Entry) -> Result<()> {
        self.counts.entries += 1;
        if self.counts.entries > self.policy.limits.entries {
            return Err(Error::refused(&entry.path, "the archive has more entries than a layer may have"));
        }
        Ok(())
    }

    /// Makes one entry, or has it made; the maker that waits for its content is returned.
    fn entry(&mut self, entry: Entry) -> Result<Option<usize>> {
        let refused = |reason| Error::refused(&entry.path, reason);
        let path = name::clean(&entry.path).map_err(refused)?.into_owned();
        let meaning = match self.policy.onto {
            Onto::Nothing => name::meaning(&path).map_err(refused)?,
            Onto::Files | Onto::FilesOfTheirKind => name::plain(&path),
        };
        check_xattrs(&entry, &self.policy)?;
        match meaning {
            Meaning::Aufs => {}
            Meaning::Root if entry.kind == Kind::Directory => {
                self.counts.has_root = true;
                self.dress(&self.tree.root(), &path, &entry)?;
            }
            Meaning::Root => return Err(refused("it would take the place of the root")),
            Meaning::Opaque(folder) => {
                let dir = self.folder(folder, &entry)?;
                self.set_opaque(&dir, &entry)?;
            }
            Meaning::Whiteout(folder, name) => {
                let parent = self.folder(folder, &entry)?;
                self.leaf(parent, name, entry, Form::Whiteout);
            }
            Meaning::File(folder, name) => {
                let parent = self.folder(folder, &entry)?;
                if self.policy.onto == Onto::FilesOfTheirKind {
                    self.check_kind(&parent, name, &entry)?;
                }
                return self.file(parent, &path, name, entry);
            }
        }
        Ok(None)
    }

    /// Refuses an entry that would take the place of something of another kind.
    fn check_kind(&mut self, parent: &Dir, name: &[u8], entry: &Entry) -> Result<()> {
        self.settle_on(self.tree.key(parent, name));
        let Ok(stat) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
        let there = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        match (there, entry.kind == Kind::Directory) {
            (true, false) => {
                Err(Error::refused(&entry.path, "it would overwrite a directory with a non-directory"))
            }
            (false, true) => {
                Err(Error::refused(&entry.path, "it would overwrite a non-directory with a directory"))
            }
            _ => Ok(()),
        }
    }

    fn file(&mut self, parent: Arc<Dir>, path: &[u8], name: &[u8], entry: Entry) -> Result<Option<usize>> {
        match entry.kind {
            Kind::Directory => {
                let dir = self.directory(&parent, name, &entry)?;
                self.dress(&dir, path, &entry)?;
                // What is in it comes next, most often.
                if self.last.is_some() {
                    self.last = Some((path.to_vec(), dir));
                }
            }
            Kind::HardLink => self.hard_link(parent, name, entry)?,
            Kind::CharDevice | Kind::BlockDevice if self.policy.privileges == Privileges::Rootless => {
                self.counts.skipped.devices += 1;
            }
            Kind::File => return Ok(Some(self.leaf(parent, name, entry, Form::Kind))),
            Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                self.leaf(parent, name, entry, Form::Kind);
            }
        }
        Ok(None)
    }

    fn leaf(&mut self, parent: Arc<Dir>, name: &[u8], entry: Entry, form: Form) -> usize {
        let key = self.tree.key(&parent, name);
        if self.tree.forget(key) {
            self.last = None;
        }
        self.crew.make(key, Leaf { parent, name: name.into(), entry, form })
    }

    fn hard_link(&mut self, parent: Arc<Dir>, name: &[u8], entry: Entry) -> Result<()> {
        let refused = |reason| Error::refused(&entry.path, reason);
        let target =
            name::clean(&entry.link).map_err(|_| refused("the target of the link is outside the layer"))?;
        let Ok(Meaning::File(folder, file)) = name::meaning(&target) else {
            return Err(refused("the target of the link is no file"));
        };
        let folder = self.folder(folder, &entry)?;
        if folder.inode == parent.inode && file == name {
            return Ok(());
        }
        let is_elsewhere = self.crew.maker(&folder) != self.crew.maker(&parent);
        if is_elsewhere && self.crew.is_queued(self.tree.key(&folder, file)) {
            self.crew.settle();
        }
        let form = Form::Link(folder, file.into());
        self.leaf(parent, name, entry, form);
        Ok(())
    }

    /// Owner and extended attributes now, the rest when the layer is complete.
    fn dress(&mut self, dir: &Dir, path: &[u8], entry: &Entry) -> Result<()> {
        let (uid, gid) = self.owners.of(entry)?;
        fchown(dir, Some(uid), Some(gid)).map_err(|error| owner_error(&entry.path, error))?;
        set_xattrs(dir.as_fd(), entry, &self.policy, &mut self.counts.skipped)?;
        self.directories.add(path, entry)
    }

    fn set_opaque(&self, dir: &Dir, entry: &Entry) -> Result<()> {
        set_opaque(dir.as_fd(), self.policy.privileges)
            .map_err(|error| Error::entry("set extended attributes of", &entry.path, error))
    }

    /// The directory at a clean path, for an entry. Missing ones are made as Docker makes them: root's, 0755.
    fn folder(&mut self, path: &[u8], entry: &Entry) -> Result<Arc<Dir>> {
        self.keep_up();
        if let Some((last, dir)) = &self.last
            && last == path
        {
            return Ok(Arc::clone(dir));
        }
        let mut has_links = false;
        let (mut dir, mut end) = match &self.last {
            Some((last, dir)) if is_below(path, last) => (Arc::clone(dir), last.len()),
            _ => (self.tree.root(), 0),
        };
        for name in path[end..].split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            end += name.len() + usize::from(end > 0);
            dir = if let Some(dir) = self.step(&dir, name, entry)? {
                dir
            } else {
                has_links = true;
                self.follow(&path[..end], entry)?
            };
        }
        self.last = (!has_links).then(|| (path.to_vec(), Arc::clone(&dir)));
        Ok(dir)
    }

    /// Forgets directories when some were removed or too many are open.
    fn keep_up(&mut self) {
        if self.tree.is_crowded() {
            self.crew.settle();
            self.tree.forget_all();
            self.last = None;
        }
        let removals = self.crew.removals();
        if self.removals != removals {
            self.removals = removals;
            self.tree.forget_all();
            self.last = None;
        }
    }

    /// A directory in a directory; `None` for a link.
    fn step(&mut self, parent: &Arc<Dir>, name: &[u8], entry: &Entry) -> Result<Option<Arc<Dir>>> {
        let key = self.tree.key(parent, name);
        if let Some(dir) = self.tree.known(key, parent, name) {
            return Ok(Some(dir));
        }
        self.settle_on(key);
        match self.tree.open(key, parent, name) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT) => self.implied(parent, name, entry).map(Some),
            Err(Errno::NOTDIR | Errno::LOOP) if is_whiteout(parent, name) => {
                self.implied(parent, name, entry).map(Some)
            }
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(Error::entry("open the directory of", &entry.path, error)),
        }
    }

    /// A link in the place of a directory: it may lead anywhere inside the root.
    fn follow(&mut self, path: &[u8], entry: &Entry) -> Result<Arc<Dir>> {
        // Links and directories on the way may be queued.
        self.crew.settle();
        self.tree.follow(path).map_err(|error| Error::entry("open the directory of", &entry.path, error))
    }

    /// A directory that has no entry of its own.
    fn implied(&mut self, parent: &Arc<Dir>, name: &[u8], entry: &Entry) -> Result<Arc<Dir>> {
        let implied = Entry::new(entry.path.clone(), Kind::Directory, 0o755);
        let dir = self.directory(parent, name, &implied)?;
        let (uid, gid) = self.owners.said(&implied)?;
        fchown(&dir, Some(uid), Some(gid))
            .and_then(|()| fchmod(&dir, Mode::from_raw_mode(implied.mode)))
            .map_err(|error| Error::entry("make the directory of", &entry.path, error))?;
        Ok(dir)
    }

    /// Makes a directory in the place of anything but a directory. Until the layer is complete it is ours alone.
    fn directory(&mut self, parent: &Arc<Dir>, name: &[u8], entry: &Entry) -> Result<Arc<Dir>> {
        let key = self.tree.key(parent, name);
        if let Some(dir) = self.tree.known(key, parent, name) {
            return Ok(dir);
        }
        self.settle_on(key);
        let failed = |error| Error::entry("make the directory", &entry.path, error);
        match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => return self.tree.open(key, parent, name).map_err(failed),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        match self.tree.open(key, parent, name) {
            Ok(dir) => return Ok(dir),
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(failed(error)),
        }
        let hides = is_whiteout(parent, name);
        unlinkat(parent, name, AtFlags::empty()).map_err(failed)?;
        mkdirat(parent, name, Mode::RWXU).map_err(failed)?;
        let dir = self.tree.open(key, parent, name).map_err(failed)?;
        if hides {
            self.set_opaque(&dir, entry)?;
        }
        Ok(dir)
    }

    fn settle_on(&mut self, key: Key) {
        if self.crew.is_queued(key) {
            self.crew.settle();
        }
    }
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    !folder.is_empty() && path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
}

fn is_whiteout(parent: &Dir, name: &[u8]) -> bool {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
    })
}
