//! Tar archives: reading of every form that builders and the tars of Linux write, writing of USTAR with PAX records.
//!
//! The reader is our own and not the crate `tar`: an entry's content must reach other threads without a copy, the memory that
//! a header can claim must be bounded, and the sparse forms of PAX must be known. Nothing here touches a file system.
//! Formats: POSIX pax(1), tar(5) of libarchive, the GNU tar manual "Tar Internals".

mod chunks;
mod content;
mod error;
mod header;
mod number;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use content::Content;
pub use error::Error;
pub(crate) use error::Result;
pub(crate) use reader::Piece;
pub use reader::Reader;
pub use sparse::Extent;
pub use writer::Writer;

/// Bytes of an entry's path. Longer than PATH_MAX: a tree may be deeper than a path in one system call.
pub(crate) const LONGEST_PATH: usize = 1 << 16;

/// One file, as an archive describes it. Names are bytes, neither checked nor cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    /// The target of a link; empty for anything else.
    pub link: Vec<u8>,
    /// The permissions with set-id and sticky bits: at most `0o7777`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes of content, holes included; zero for what has none.
    pub size: u64,
    pub mtime: Time,
    pub atime: Option<Time>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    pub xattrs: Vec<Xattr>,
}

impl Entry {
    /// An entry of root's, of the epoch and without content.
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind, mode: u32) -> Self {
        Self {
            path: path.into(),
            kind,
            link: Vec::new(),
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Time::default(),
            atime: None,
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// Time since the epoch; nanoseconds count forwards, also before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// With its namespace: `security.capability`.
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}
