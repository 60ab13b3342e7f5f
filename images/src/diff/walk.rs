//! The archive of a tree, in the order of names, each directory before what is in it.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read};

use super::Style;
use super::file::{File, Found, Inode, look};
use crate::archive::{Entry, Error, Kind, LONGEST_PATH, Result, Writer};
use crate::descent::{Step, Walk};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const BUFFER: usize = 256 * 1024;

/// What the tree is.
#[derive(Clone, Copy)]
pub(super) enum Tree<'a> {
    /// An upper directory, without these paths.
    Upper(&'a HashSet<Vec<u8>>),
    /// Files and nothing else: no name or device has a meaning.
    Plain,
}

pub(super) struct Archive<'a, W> {
    writer: Writer<W>,
    tree: Tree<'a>,
    style: &'a Style,
    /// Files of several names: the name in the archive, by device and inode.
    linked: HashMap<Inode, Vec<u8>>,
    entries: u64,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Archive<'a, W> {
    pub(super) fn new(writer: Writer<W>, tree: Tree<'a>, style: &'a Style) -> Self {
        Self { writer, tree, style, linked: HashMap::new(), entries: 0, buffer: vec![0; BUFFER] }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn finish(self) -> Result<W> {
        self.writer.finish()
    }

    /// The root itself, as a directory whose name is a dot.
    pub(super) fn root(&mut self, root: BorrowedFd<'_>) -> Result<()> {
        match look(root, b".", b".", self.style)? {
            Found::File(file) => self.begin(&file.entry),
            Found::Whiteout | Found::Socket | Found::Gone => Ok(()),
        }
    }

    /// All that a walk comes to.
    pub(super) fn content(&mut self, walk: std::result::Result<Walk, Errno>) -> Result<()> {
        let mut walk = walk.map_err(|error| Error::entry("list", b"/", error))?;
        while let Some(step) = walk.next().map_err(|error| Error::entry("list", walk.path(), error))? {
            if step == Step::Entry && self.entry(&walk)? {
                match walk.enter() {
                    // It was removed while we looked.
                    Err(Errno::NOENT) => {}
                    entered => entered.map_err(|error| Error::entry("open", walk.path(), error))?,
                }
            }
        }
        Ok(())
    }

    /// Writes an entry. Is it a directory to enter?
    fn entry(&mut self, walk: &Walk) -> Result<bool> {
        let (dir, name, path) = (walk.dir(), walk.name(), walk.path());
        if path.len() > LONGEST_PATH {
            return Err(Error::refused(path, "its path is longer than a layer may have"));
        }
        if let Tree::Upper(omitted) = self.tree {
            if omitted.contains(path) {
                return Ok(false);
            }
            if name.starts_with(WHITEOUT) {
                return Err(Error::refused(path, "a file of this name would be a whiteout in a layer"));
            }
        }
        match look(dir, name, path, self.style)? {
            Found::Socket | Found::Gone => Ok(false),
            Found::Whiteout => {
                if let Tree::Upper(_) = self.tree {
                    self.marker(walk.folder(), &[WHITEOUT, name].concat())?;
                }
                Ok(false)
            }
            Found::File(file) if file.entry.kind == Kind::Directory => {
                self.begin(&file.entry)?;
                if file.is_opaque {
                    self.marker(&[path, b"/"].concat(), OPAQUE)?;
                }
                Ok(true)
            }
            Found::File(file) => self.file(dir, name, *file).map(|()| false),
        }
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &[u8], file: File) -> Result<()> {
        let File { mut entry, inode, .. } = file;
        if let Some(inode) = inode {
            if let Some(first) = self.linked.get(&inode) {
                entry =
                    Entry { kind: Kind::HardLink, link: first.clone(), size: 0, xattrs: Vec::new(), ..entry };
            } else {
                self.linked.insert(inode, entry.path.clone());
            }
        }
        if entry.kind != Kind::File {
            return self.begin(&entry);
        }
        // A FIFO that has taken the file's place meanwhile is not waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::empty());
        let file = file.map_err(|error| Error::entry("open", &entry.path, error))?;
        self.begin(&entry)?;
        self.bytes(&file, &entry)
    }

    /// An empty file whose name says something; `folder` ends with a slash unless it is the root.
    fn marker(&mut self, folder: &[u8], name: &[u8]) -> Result<()> {
        self.begin(&Entry::new([folder, name].concat(), Kind::File, 0))
    }

    fn begin(&mut self, entry: &Entry) -> Result<()> {
        self.entries += 1;
        self.writer.entry(entry)
    }

    /// Holes are written as zeros. What a file has grown by since it was looked at is not written.
    fn bytes(&mut self, file: &OwnedFd, entry: &Entry) -> Result<()> {
        let mut left = entry.size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            match read(file, &mut self.buffer[..most]) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.writer.write_all(&self.buffer[..count]).map_err(Error::Write)?;
                    left -= count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::entry("read", &entry.path, error)),
            }
        }
        Ok(())
    }
}
