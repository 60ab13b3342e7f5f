//! The upper directory of an overlay mount becomes a layer's archive.
//!
//! Whiteouts and opaque directories of overlayfs become those of the image specification (layer.md "Whiteouts"); all else is
//! written as it is, in the order of its names, so that equal directories give equal archives. The mount must have had
//! neither `redirect_dir` nor `metacopy`: such an upper directory does not hold what it shows, and is refused.
//!
//! Of extended attributes, `security.capability` and `user.*` are part of a layer; others belong to the host. Sockets
//! are nothing that a layer can hold, and are left out.

mod file;
mod walk;

use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::thread;

use crate::archive::{Error, Result, Writer};
use crate::unpack::{Privileges, Shift};
use crate::{Digest, Hasher};
use walk::Walk;

/// How the upper directory was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Whose attributes mark opaque directories.
    pub privileges: Privileges,
    /// Undone: an owner outside the range is an error.
    pub shift: Option<Shift>,
}

/// The archive that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// SHA-256 of the archive: it is not compressed here.
    pub diff_id: Digest,
    /// Bytes of the archive.
    pub size: u64,
    pub entries: u64,
}

/// Writes the archive of `upper` to `out`. Nothing may change `upper` meanwhile.
pub fn layer(upper: BorrowedFd<'_>, out: impl Write + Send, style: &Style) -> Result<Layer> {
    // A thread of its own, since reading the attributes of links takes a working directory.
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("diff".to_owned());
        let worker = builder.spawn_scoped(scope, || write_layer(upper, out, style)).map_err(Error::Write)?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn write_layer(upper: BorrowedFd<'_>, out: impl Write, style: &Style) -> Result<Layer> {
    crate::sys::unshare_fs().map_err(|error| Error::Write(error.into()))?;
    let mut walk = Walk::new(Writer::new(Hashed { out, hasher: Hasher::new() }), style);
    walk.root(upper)?;
    let entries = walk.entries();
    let Hashed { mut out, hasher } = walk.finish()?;
    out.flush().map_err(Error::Write)?;
    let size = hasher.length();
    Ok(Layer { diff_id: hasher.finish(), size, entries })
}

struct Hashed<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
