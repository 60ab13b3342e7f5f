//! The upper directory of an overlay mount becomes a layer's archive.
//!
//! Whiteouts and opaque directories of overlayfs become those of the image specification (layer.md "Whiteouts"); all else is
//! written as it is, in the order of its names, so that equal directories give equal archives. The mount must have had
//! neither `redirect_dir` nor `metacopy`: such an upper directory does not hold what it shows, and is refused.
//!
//! Of extended attributes, `security.capability` and `user.*` are part of a layer; others belong to the host, and go into copies
//! that stay there. Sockets are nothing that a layer can hold, and are left out.

mod changes;
mod file;
mod walk;

use std::collections::HashSet;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::thread;

use rustix::io::Errno;

use crate::archive::{Error, Result, Writer};
use crate::descent::Walk;
use crate::unpack::{Privileges, Shift};
use crate::{Digest, Hasher};
pub(crate) use changes::Changes;
pub use changes::{Change, ChangeKind};
use walk::{Archive, Tree};

/// How the upper directory was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Whose attributes mark opaque directories.
    pub privileges: Privileges,
    /// Undone: an owner outside the range is an error.
    pub shift: Option<Shift>,
    pub attributes: Attributes,
}

/// Which extended attributes are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Attributes {
    /// Those that mean the same on every host.
    #[default]
    Portable,
    /// `trusted.*` and POSIX ACLs as well.
    OfHost,
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

/// What of an upper directory becomes a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selection<'a> {
    /// Paths, relative, that are left out with all that is in them.
    pub(crate) omitted: &'a HashSet<Vec<u8>>,
    /// Whether the root has an entry, because its attributes are a change.
    pub(crate) root: bool,
}

/// Writes the archive of `upper` to `out`, without an entry for its root. Nothing may change `upper` meanwhile.
pub fn layer(upper: BorrowedFd<'_>, out: impl Write + Send, style: &Style) -> Result<Layer> {
    selected(upper, out, style, Selection { omitted: &HashSet::new(), root: false })
}

/// The same of a part of `upper`.
pub(crate) fn selected(
    upper: BorrowedFd<'_>,
    out: impl Write + Send,
    style: &Style,
    selection: Selection<'_>,
) -> Result<Layer> {
    apart(|| {
        let root = selection.root.then_some(upper);
        write(Walk::new(upper), out, style, Tree::Upper(selection.omitted), root)
    })
}

/// Writes the archive of a tree in which nothing stands for anything else, without an entry for its root.
pub fn tree(root: BorrowedFd<'_>, out: impl Write + Send) -> Result<Layer> {
    apart(|| write(Walk::new(root), out, &Style::default(), Tree::Plain, None))
}

/// The same for a copy on this host: with an entry for the root, and with all extended attributes that are not an overlay's or a
/// security module's.
pub fn copy(root: BorrowedFd<'_>, out: impl Write + Send) -> Result<Layer> {
    let style = Style { attributes: Attributes::OfHost, ..Style::default() };
    apart(|| write(Walk::new(root), out, &style, Tree::Plain, Some(root)))
}

/// The same of one file of `parent`, with all that is in it: its entries' names begin with `name`.
pub fn named(parent: BorrowedFd<'_>, name: &[u8], out: impl Write + Send) -> Result<Layer> {
    apart(|| write(Walk::through(parent, name), out, &Style::default(), Tree::Plain, None))
}

/// What the upper directory changes of the lower one, which has the attributes of a third as its root's. Of the absolute paths
/// `hidden`, and of directories that are there for them alone, nothing is told.
pub(crate) fn changes(trees: [BorrowedFd<'_>; 3], hidden: &[PathBuf], style: &Style) -> Result<Changes> {
    apart(|| changes::changes(trees, hidden, style))
}

/// In a thread of its own, since reading the attributes of links takes a working directory.
fn apart<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let work = || {
        crate::sys::unshare_fs().map_err(|error| Error::Write(error.into()))?;
        work()
    };
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("diff".to_owned());
        let worker = builder.spawn_scoped(scope, work).map_err(Error::Write)?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn write(
    walk: std::result::Result<Walk, Errno>,
    out: impl Write,
    style: &Style,
    tree: Tree<'_>,
    root: Option<BorrowedFd<'_>>,
) -> Result<Layer> {
    let mut archive = Archive::new(Writer::new(Hashed { out, hasher: Hasher::new() }), tree, style);
    if let Some(root) = root {
        archive.root(root)?;
    }
    archive.content(walk)?;
    let entries = archive.entries();
    let Hashed { mut out, hasher } = archive.finish()?;
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
