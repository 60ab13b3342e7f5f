//! The walk through an upper directory, in the order of names, each directory before what is in it.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::{Errno, read};

use super::Style;
use super::file::{File, Found, Inode, look};
use crate::archive::{Entry, Error, Kind, Result, Writer};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const BUFFER: usize = 256 * 1024;

pub(super) struct Walk<'a, W> {
    writer: Writer<W>,
    style: &'a Style,
    /// Files of several names: the name in the archive, by device and inode.
    linked: HashMap<Inode, Vec<u8>>,
    entries: u64,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Walk<'a, W> {
    pub(super) fn new(writer: Writer<W>, style: &'a Style) -> Self {
        Self { writer, style, linked: HashMap::new(), entries: 0, buffer: vec![0; BUFFER] }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn finish(self) -> Result<W> {
        self.writer.finish()
    }

    /// The root has no entry of its own: its attributes are those of the mount, not a change.
    pub(super) fn root(&mut self, upper: BorrowedFd<'_>) -> Result<()> {
        let dir = open(upper, b".", OFlags::DIRECTORY, b"/")?;
        self.directory(dir.as_fd(), b"")
    }

    /// All that is in a directory. As deep as the directories are: each level holds a descriptor.
    fn directory(&mut self, dir: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        for name in names(dir, path)? {
            let path = if path.is_empty() { name.clone() } else { [path, b"/", &name].concat() };
            if name.starts_with(WHITEOUT) {
                return Err(Error::refused(&path, "a file of this name would be a whiteout in a layer"));
            }
            match look(dir, &name, &path, self.style)? {
                Found::Socket => {}
                Found::Whiteout => {
                    self.marker(&path[..path.len() - name.len()], &[WHITEOUT, &name].concat())?;
                }
                Found::File(file) if file.entry.kind == Kind::Directory => {
                    self.begin(&file.entry)?;
                    if file.is_opaque {
                        self.marker(&[&path, &b"/"[..]].concat(), OPAQUE)?;
                    }
                    let inside = open(dir, &name, OFlags::DIRECTORY, &path)?;
                    self.directory(inside.as_fd(), &path)?;
                }
                Found::File(file) => self.file(dir, &name, *file)?,
            }
        }
        Ok(())
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
        self.begin(&entry)?;
        if entry.kind == Kind::File { self.content(parent, name, &entry) } else { Ok(()) }
    }

    /// An empty file whose name says something; `folder` ends with a slash unless it is the root.
    fn marker(&mut self, folder: &[u8], name: &[u8]) -> Result<()> {
        self.begin(&Entry::new([folder, name].concat(), Kind::File, 0))
    }

    fn begin(&mut self, entry: &Entry) -> Result<()> {
        self.entries += 1;
        self.writer.entry(entry)
    }

    /// Holes are written as zeros.
    fn content(&mut self, parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<()> {
        let file = open(parent, name, OFlags::empty(), &entry.path)?;
        loop {
            match read(&file, &mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.writer.write_all(&self.buffer[..count]).map_err(Error::Write)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::entry("read", &entry.path, error)),
            }
        }
    }
}

fn open(parent: BorrowedFd<'_>, name: &[u8], flags: OFlags, path: &[u8]) -> Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map_err(|error| Error::entry("open", path, error))
}

/// The names in a directory in the order of their bytes.
fn names(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<Vec<u8>>> {
    let list = || -> std::result::Result<Vec<Vec<u8>>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        Ok(names)
    };
    list().map_err(|error| Error::entry("list", path, error))
}
