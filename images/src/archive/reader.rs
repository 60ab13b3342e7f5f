//! The entries of an archive, one after the other.
//!
//! An archive ends with its first block of zeros or where its bytes end between two entries. What follows the end is not
//! parsed; [`Reader::drain`] reads it, since it counts for a digest.

use std::io::{self, Read};

use super::chunks::{Bytes, Chunks};
use super::error::{Error, Result};
use super::header::{BLOCK, Block, Header, Purpose};
use super::pax::Records;
use super::sparse::{self, Extent, OldMap, TextMap};
use super::{Entry, Kind};

/// Bytes that an extended header or a long name may have: Go's limit, so no image has more.
const MOST_EXTENSION: u64 = 1 << 20;

/// Reads an archive that is not compressed. At most one chunk and one extended header are in memory.
pub struct Reader<R> {
    chunks: Chunks<R>,
    globals: Records,
    body: Body,
    /// The entry that is being read, for errors.
    name: Vec<u8>,
    ended: bool,
}

/// Content that is stored and not read yet.
#[derive(Default)]
struct Body {
    /// Bytes that the next pieces come from.
    current: Extent,
    /// Extents after `current`.
    more: std::vec::IntoIter<Extent>,
    /// Bytes to the next header, padding included.
    left: u64,
}

/// Stored content of the current entry.
pub(crate) struct Piece {
    /// Bytes from the beginning of the file.
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// What extended headers say about the entry after them.
struct Extensions {
    records: Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    any: bool,
}

impl<R: Read> Reader<R> {
    pub fn new(input: R) -> Self {
        Self {
            chunks: Chunks::new(input),
            globals: Records::default(),
            body: Body::default(),
            name: Vec::new(),
            ended: false,
        }
    }

    /// What it has read from.
    pub fn into_input(self) -> R {
        self.chunks.into_input()
    }

    /// Chunks read so far: pieces of one number share their memory.
    pub(crate) fn chunk(&self) -> u64 {
        self.chunks.filled()
    }

    /// Passes over what is left of the current entry's content, and reads the next header.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.pass_over(self.body.left)?;
        self.body = Body::default();
        let mut extensions =
            Extensions { records: self.globals.clone(), long_name: None, long_link: None, any: false };
        while !self.ended {
            let offset = self.chunks.offset();
            let malformed = |defect| Error::Header { offset, defect };
            let Some(block) = self.header_block()? else {
                self.ended = true;
                return if extensions.any {
                    Err(malformed("an extended header without an entry"))
                } else {
                    Ok(None)
                };
            };
            let header = Header::new(&block).map_err(malformed)?;
            let purpose = header.purpose().map_err(|defect| Error::refused(&header.name(), defect))?;
            let size = header.size().map_err(malformed)?;
            match purpose {
                Purpose::Entry(_) | Purpose::SparseFile | Purpose::Listing => {
                    return self.entry(&block, &header, purpose, extensions).map(Some);
                }
                Purpose::Label => self.pass_over(padded(size).map_err(malformed)?)?,
                _ => {
                    let text = self.extension(offset, size)?;
                    self.extend(&mut extensions, purpose, text).map_err(malformed)?;
                }
            }
        }
        Ok(None)
    }

    /// Reads all that follows the end of the archive.
    pub fn drain(&mut self) -> Result<()> {
        while self.chunks.take(u64::MAX).map_err(Error::Read)?.is_some() {}
        Ok(())
    }

    /// The next stored part of the current entry's content, `None` at its end. Holes of a sparse file have no pieces.
    pub(crate) fn piece(&mut self) -> Result<Option<Piece>> {
        while self.body.current.length == 0 {
            let Some(extent) = self.body.more.next() else { return Ok(None) };
            self.body.current = extent;
        }
        let bytes = self.take(self.body.current.length)?;
        let offset = self.body.current.offset;
        let length = bytes.len() as u64;
        self.body.current = Extent { offset: offset + length, length: self.body.current.length - length };
        self.body.left -= length;
        Ok(Some(Piece { offset, bytes }))
    }

    fn extend(
        &mut self,
        to: &mut Extensions,
        purpose: Purpose,
        text: Vec<u8>,
    ) -> std::result::Result<(), &'static str> {
        match purpose {
            Purpose::LongName => to.long_name = Some(until_nul(text)),
            Purpose::LongLink => to.long_link = Some(until_nul(text)),
            Purpose::GlobalPax => {
                self.globals.read(&text)?;
                to.records = self.globals.clone();
                return Ok(());
            }
            _ => {
                to.records = self.globals.clone();
                to.records.read(&text)?;
            }
        }
        to.any = true;
        Ok(())
    }

    /// An entry without its content; the body is made ready.
    fn entry(
        &mut self,
        block: &Block,
        header: &Header<'_>,
        purpose: Purpose,
        extensions: Extensions,
    ) -> Result<Entry> {
        let Extensions { records, long_name, long_link, .. } = extensions;
        let path = records.sparse.name.clone().or(records.path).or(long_name);
        let path = path.unwrap_or_else(|| header.name());
        self.name.clone_from(&path);
        let refused = |defect| Error::refused(&path, defect);

        let kind = match purpose {
            // V7 has no type of directories. The header alone cannot tell: it may hold but the beginning of the name.
            Purpose::Entry(Kind::File) if path.ends_with(b"/") => Kind::Directory,
            Purpose::Entry(kind) => kind,
            Purpose::Listing => Kind::Directory,
            _ => Kind::File,
        };
        let is_link = matches!(kind, Kind::HardLink | Kind::Symlink);
        let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        let link = records.link.or(long_link).unwrap_or_else(|| header.link());
        let id = |record: Option<i64>, field: std::result::Result<i64, _>| {
            let id = record.map_or(field, Ok)?;
            // The last one means "no change" to chown(2).
            u32::try_from(id).ok().filter(|id| *id < u32::MAX).ok_or("the id of its owner is out of range")
        };
        let mut entry = Entry {
            kind,
            link: if is_link { link } else { Vec::new() },
            mode: header.mode().map_err(refused)?,
            uid: id(records.uid, header.uid()).map_err(refused)?,
            gid: id(records.gid, header.gid()).map_err(refused)?,
            size: 0,
            mtime: records.mtime.map_or_else(|| header.mtime(), Ok).map_err(refused)?,
            atime: records.atime,
            device: if is_device { header.device().map_err(refused)? } else { (0, 0) },
            xattrs: records.xattrs,
            path,
        };
        let stored = records.size.map_or_else(|| header.size(), Ok).map_err(|defect| self.refused(defect))?;
        match purpose {
            Purpose::Entry(_) | Purpose::SparseFile if kind == Kind::File => {
                let old = (purpose == Purpose::SparseFile).then_some(block);
                entry.size = self.file_body(stored, old, records.sparse)?;
            }
            Purpose::Listing => self.body.left = padded(stored).map_err(|defect| self.refused(defect))?,
            // Whatever size is claimed, nothing is stored: as Go reads it, so as every layer was written.
            _ => {}
        }
        Ok(entry)
    }

    /// Makes the body of a file ready and returns the size of the file.
    fn file_body(&mut self, stored: u64, old: Option<&Block>, sparse: super::pax::Sparse) -> Result<u64> {
        self.body.left = padded(stored).map_err(|defect| self.refused(defect))?;
        let (map, size, stored) = if let Some(block) = old {
            let map = self.old_map(block)?;
            (map.extents, map.size, stored)
        } else if sparse.major == Some(1) && sparse.minor == Some(0) {
            let (map, length) = self.text_map(stored)?;
            (map, sparse.size.ok_or_else(|| self.refused("its sparse map has no size"))?, stored - length)
        } else if let Some(map) = sparse.map {
            (map, sparse.size.ok_or_else(|| self.refused("its sparse map has no size"))?, stored)
        } else if sparse.major.is_some_and(|major| major != 0) {
            return Err(self.refused("its form of sparse files is unknown"));
        } else {
            self.body.current = Extent { offset: 0, length: stored };
            return Ok(stored);
        };
        let map = sparse::check(map, size, stored).map_err(|defect| self.refused(defect))?;
        self.body.more = map.into_iter();
        Ok(size)
    }

    fn old_map(&mut self, block: &Block) -> Result<OldMap> {
        let mut map = OldMap::from_header(block).map_err(|defect| self.refused(defect))?;
        while map.continues {
            let block = self.next_block()?;
            map.go_on(&block).map_err(|defect| self.refused(defect))?;
        }
        Ok(map)
    }

    /// The map in front of the content, and the bytes that it takes.
    fn text_map(&mut self, stored: u64) -> Result<(Vec<Extent>, u64)> {
        let mut map = TextMap::default();
        let mut length = 0;
        loop {
            length += BLOCK as u64;
            if length > stored {
                return Err(self.refused("its sparse map does not end"));
            }
            let block = self.next_block()?;
            self.body.left -= BLOCK as u64;
            if map.go_on(&block).map_err(|defect| self.refused(defect))? {
                return Ok((map.extents(), length));
            }
        }
    }

    /// The content of an extended header.
    fn extension(&mut self, offset: u64, size: u64) -> Result<Vec<u8>> {
        if size > MOST_EXTENSION {
            return Err(Error::Header { offset, defect: "an extended header of more than 1 MiB" });
        }
        let mut text = Vec::new();
        while (text.len() as u64) < size {
            let bytes = self.take(size - text.len() as u64)?;
            text.extend_from_slice(&bytes);
        }
        self.pass_over(padded(size).unwrap_or(size) - size)?;
        Ok(text)
    }

    /// `None` at the end of the archive, also where its mark is missing.
    fn header_block(&mut self) -> Result<Option<Block>> {
        let block = self.chunks.block().map_err(Error::Read)?;
        Ok(block.filter(|block| block.iter().any(|byte| *byte != 0)))
    }

    fn next_block(&mut self) -> Result<Block> {
        let block = self.chunks.block().and_then(|block| block.ok_or(io::ErrorKind::UnexpectedEof.into()));
        block.map_err(|source| self.unreadable(source))
    }

    fn pass_over(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            length -= self.take(length)?.len() as u64;
        }
        Ok(())
    }

    fn take(&mut self, most: u64) -> Result<Bytes> {
        let bytes = self.chunks.take(most).and_then(|bytes| bytes.ok_or(io::ErrorKind::UnexpectedEof.into()));
        bytes.map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: io::Error) -> Error {
        if self.name.is_empty() { Error::Read(source) } else { Error::entry("read", &self.name, source) }
    }

    fn refused(&self, reason: &'static str) -> Error {
        Error::refused(&self.name, reason)
    }
}

/// Up to the next block.
fn padded(size: u64) -> std::result::Result<u64, &'static str> {
    size.checked_next_multiple_of(BLOCK as u64).ok_or("its size is out of range")
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.truncate(end);
    text
}
