//! Writing of archives: USTAR headers, with PAX records for what does not fit into them. Equal entries give equal bytes.

use std::io::{self, Write};

use super::error::{Error, Result, shown};
use super::header::{BLOCK, Fields, WIDEST_ID, WIDEST_SIZE, split_name};
use super::pax::{write_record, xattr_keyword};
use super::{Entry, Kind, Time};

const LONGEST_LINK: usize = 100;

/// Writes entries in the order given. The content of an entry is written to the writer itself after [`Writer::entry`].
pub struct Writer<W> {
    out: W,
    /// The entry whose content is being written, and the bytes still missing.
    name: Vec<u8>,
    missing: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Self {
        Self { out, name: Vec::new(), missing: 0, padding: 0 }
    }

    /// Begins an entry. `size` bytes of content must follow when it is a file; of anything else the size is not written.
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.end_entry()?;
        let mut name = entry.path.clone();
        if entry.kind == Kind::Directory && !name.ends_with(b"/") {
            name.push(b'/');
        }
        let fields = Fields {
            name: &name,
            link: &entry.link,
            type_flag: type_flag(entry.kind),
            mode: entry.mode,
            uid: entry.uid.into(),
            gid: entry.gid.into(),
            size: if entry.kind == Kind::File { entry.size } else { 0 },
            mtime: entry.mtime.seconds,
            device: entry.device,
        };
        let records = records(&fields, entry);
        if !records.is_empty() {
            self.extended_header(&name, &records)?;
        }
        self.put(&fields.to_block())?;
        self.missing = fields.size;
        self.padding = padding(fields.size);
        self.name = name;
        Ok(())
    }

    /// Writes the end of the archive.
    pub fn finish(mut self) -> Result<W> {
        self.end_entry()?;
        self.put(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    fn extended_header(&mut self, name: &[u8], records: &[u8]) -> Result<()> {
        let base =
            name.strip_suffix(b"/").unwrap_or(name).rsplit(|byte| *byte == b'/').next().unwrap_or(name);
        let header = Fields {
            name: &[b"PaxHeaders.0/", base].concat(),
            link: b"",
            type_flag: b'x',
            mode: 0,
            uid: 0,
            gid: 0,
            size: records.len() as u64,
            mtime: 0,
            device: (0, 0),
        };
        // Cut rather than split: nobody reads this name.
        let header = Fields { name: header.name.get(..100).unwrap_or(header.name), ..header };
        self.put(&header.to_block())?;
        self.put(records)?;
        self.put(&[0; BLOCK][..padding(header.size)])
    }

    fn end_entry(&mut self) -> Result<()> {
        if self.missing > 0 {
            let missing =
                io::Error::new(io::ErrorKind::UnexpectedEof, "its content is shorter than its size");
            return Err(Error::Entry { act: "write", name: shown(&self.name), source: missing });
        }
        let padding = std::mem::take(&mut self.padding);
        self.put(&[0; BLOCK][..padding])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::Write)
    }
}

impl<W: Write> Write for Writer<W> {
    /// An error when the content is longer than the entry's size.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.missing {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "content longer than the size of its entry",
            ));
        }
        let count = self.out.write(bytes)?;
        self.missing -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn type_flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// The PAX records that the header cannot say, in a fixed order.
fn records(fields: &Fields<'_>, entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let mut write = |keyword: &[u8], value: &[u8]| write_record(&mut records, keyword, value);
    if split_name(fields.name).is_none() {
        write(b"path", fields.name);
    }
    if fields.link.len() > LONGEST_LINK {
        write(b"linkpath", fields.link);
    }
    if fields.size > WIDEST_SIZE {
        write(b"size", fields.size.to_string().as_bytes());
    }
    if fields.uid > WIDEST_ID {
        write(b"uid", fields.uid.to_string().as_bytes());
    }
    if fields.gid > WIDEST_ID {
        write(b"gid", fields.gid.to_string().as_bytes());
    }
    let fits = u64::try_from(fields.mtime).is_ok_and(|mtime| mtime <= WIDEST_SIZE);
    if !fits || entry.mtime.nanoseconds > 0 {
        write(b"mtime", decimal(entry.mtime).as_bytes());
    }
    if let Some(atime) = entry.atime {
        write(b"atime", decimal(atime).as_bytes());
    }
    for xattr in &entry.xattrs {
        write(&xattr_keyword(&xattr.name), &xattr.value);
    }
    records
}

/// Without zeros at the end: `1.5`, `-0.25`.
fn decimal(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds, time.nanoseconds) {
        (seconds @ ..0, 0) => ("-", seconds.unsigned_abs(), 0),
        (seconds @ ..0, part) => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - part),
        (seconds, part) => ("", seconds.unsigned_abs(), part),
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn padding(size: u64) -> usize {
    usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0)
}
