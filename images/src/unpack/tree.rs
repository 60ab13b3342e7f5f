//! Directories of the layer by descriptor: opened once, kept while they are used, bounded in number.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, XattrFlags, fsetxattr, openat, openat2, statx,
};
use rustix::io::Errno;

use super::Privileges;

/// Descriptors that are kept, of one layer; those that queued work still holds come on top.
const KEPT: usize = 96;

pub(super) const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open directory.
pub(super) struct Dir {
    fd: OwnedFd,
    pub(super) inode: u64,
    open: Arc<AtomicUsize>,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Which name in which directory, as a number. Two may share one, if only by chance: the key is random.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

struct Known {
    parent: u64,
    name: Box<[u8]>,
    dir: Arc<Dir>,
    used: u64,
}

/// The directories known to be where they are. Links are never known: what is reached through one is looked up each time.
pub(super) struct Tree {
    root: Arc<Dir>,
    known: HashMap<Key, Known>,
    hash: RandomState,
    clock: u64,
    open: Arc<AtomicUsize>,
}

impl Tree {
    pub(super) fn new(root: BorrowedFd<'_>) -> Result<Self, Errno> {
        let open = Arc::new(AtomicUsize::new(0));
        let root = Arc::new(Dir::new(openat(root, c".", OPEN, Mode::empty())?, &open)?);
        Ok(Self { root, known: HashMap::new(), hash: RandomState::new(), clock: 0, open })
    }

    pub(super) fn root(&self) -> Arc<Dir> {
        Arc::clone(&self.root)
    }

    pub(super) fn key(&self, parent: &Dir, name: &[u8]) -> Key {
        Key(self.hash.hash_one((parent.inode, name)))
    }

    pub(super) fn known(&mut self, key: Key, parent: &Dir, name: &[u8]) -> Option<Arc<Dir>> {
        self.clock += 1;
        let known = self.known.get_mut(&key).filter(|known| known.is(parent, name))?;
        known.used = self.clock;
        Some(Arc::clone(&known.dir))
    }

    /// Opens a directory; `NOTDIR` for a link, wherever it leads.
    pub(super) fn open(&mut self, key: Key, parent: &Dir, name: &[u8]) -> Result<Arc<Dir>, Errno> {
        let dir = Arc::new(Dir::new(openat(parent, name, OPEN, Mode::empty())?, &self.open)?);
        if self.known.len() >= KEPT {
            self.forget_oldest();
        }
        self.clock += 1;
        let known =
            Known { parent: parent.inode, name: name.into(), dir: Arc::clone(&dir), used: self.clock };
        self.known.insert(key, known);
        Ok(dir)
    }

    /// Opens a directory following links, all of them inside the root.
    pub(super) fn follow(&self, path: &[u8]) -> Result<Arc<Dir>, Errno> {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OPEN.difference(OFlags::NOFOLLOW);
        let fd = openat2(&self.root, path, flags, Mode::empty(), inside)?;
        Dir::new(fd, &self.open).map(Arc::new)
    }

    /// Another file takes this name. Was it a known directory?
    pub(super) fn forget(&mut self, key: Key) -> bool {
        self.known.remove(&key).is_some()
    }

    pub(super) fn forget_all(&mut self) {
        self.known.clear();
    }

    /// More descriptors are open than are kept, since queued work holds them.
    pub(super) fn is_crowded(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 2 * KEPT
    }

    fn forget_oldest(&mut self) {
        let mut ages: Vec<u64> = self.known.values().map(|known| known.used).collect();
        let (_, middle, _) = ages.select_nth_unstable(KEPT / 2);
        let middle = *middle;
        self.known.retain(|_, known| known.used > middle);
    }
}

impl Known {
    fn is(&self, parent: &Dir, name: &[u8]) -> bool {
        self.parent == parent.inode && *self.name == *name
    }
}

impl Dir {
    fn new(fd: OwnedFd, open: &Arc<AtomicUsize>) -> Result<Self, Errno> {
        open.fetch_add(1, Ordering::Relaxed);
        // Made before it can fail, so that what is counted is counted off again.
        let mut dir = Self { fd, inode: 0, open: Arc::clone(open) };
        dir.inode = statx(&dir.fd, c"", AtFlags::EMPTY_PATH, StatxFlags::INO)?.stx_ino;
        Ok(dir)
    }
}

/// Marks a directory as hiding what lower layers have in it.
pub(super) fn set_opaque(dir: BorrowedFd<'_>, privileges: Privileges) -> Result<(), Errno> {
    let name = format!("{}opaque", privileges.overlay_namespace());
    fsetxattr(dir, name, b"y", XattrFlags::empty())
}
