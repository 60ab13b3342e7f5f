//! The state directory: one directory per container below the root, and the only place that writes there.
//!
//! `<root>/<id>/` holds `state.json` (see [`crate::record`]), `config.json` (the configuration as it was read, byte for
//! byte), and `exec.fifo` while the container waits for `start`. Everything is reached from the descriptor of its
//! directory and no symbolic link is followed. What the files mean is not known here.

use std::cell::Cell;
use std::fs::DirBuilder;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};

use crate::error::{During as _, Error, Result};
use crate::sys::{self, Errno, Name, Named as _};

const STATE: &str = "state.json";
/// Where the next `state.json` is written before it takes the name.
const STATE_NEXT: &str = "state.json.next";
const CONFIG: &str = "config.json";
const GATE: &str = "exec.fifo";

const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);
/// 0711: a container's user may pass through to a socket it was given, but not look around.
const PASSABLE: Mode = Mode::RWXU.union(Mode::XGRP).union(Mode::XOTH);

/// The directory that holds one directory per container.
#[derive(Debug)]
pub(crate) struct Store {
    root: OwnedFd,
}

/// The directory of one container.
#[derive(Debug)]
pub(crate) struct StateDir {
    id: String,
    dir: OwnedFd,
    locked: Cell<bool>,
}

impl Store {
    /// The store at `root`; [`Error::NotExist`] when nothing was ever created there.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        match open_root(root) {
            Err(error) if error.errno == Errno::NOENT => Err(Error::NotExist),
            result => Ok(Self { root: result? }),
        }
    }

    /// The same, made with all its parents (mode 0700) where it is missing.
    pub(crate) fn open_or_make(root: &Path) -> Result<Self> {
        let root = match open_root(root) {
            Err(error) if error.errno == Errno::NOENT => {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
                made.named(|| format!("mkdir({})", root.display()))?;
                open_root(root)
            }
            result => result,
        };
        Ok(Self { root: root? })
    }

    /// Makes the directory of a new container, and locks it. [`Error::Exists`] when the id is taken.
    pub(crate) fn create(&self, id: &str) -> Result<StateDir> {
        check_id(id)?;
        match sys::mkdir_at(self.root.as_fd(), id, PASSABLE) {
            Err(error) if error.errno == Errno::EXIST => return Err(Error::Exists),
            result => result?,
        }
        let dir = self.dir(id)?;
        dir.lock()?;
        Ok(dir)
    }

    /// The directory of a container; [`Error::NotExist`] when there is none.
    pub(crate) fn dir(&self, id: &str) -> Result<StateDir> {
        check_id(id)?;
        match open_dir(self.root.as_fd(), id) {
            Err(error) if error.errno == Errno::NOENT => Err(Error::NotExist),
            result => Ok(StateDir {
                id: id.to_owned(),
                dir: result?,
                locked: Cell::new(false),
            }),
        }
    }

    /// The ids of all containers, sorted: every directory whose name can be one.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for (name, kind) in sys::entries(self.root.as_fd())? {
            let Ok(name) = name.into_string() else { continue };
            if check_id(&name).is_ok() && is_dir(self.root.as_fd(), name.as_str(), kind)? {
                ids.push(name);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes a container's directory with all that is in it. What another process removes meanwhile is no error.
    pub(crate) fn remove(&self, state: &StateDir) -> Result<()> {
        remove_entries(state.dir.as_fd())?;
        Ok(ignore_missing(sys::unlink_at(
            self.root.as_fd(),
            state.id.as_str(),
            AtFlags::REMOVEDIR,
        ))?)
    }
}

impl StateDir {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The user that owns the directory, who is the user that created the container.
    pub(crate) fn owner(&self) -> Result<u32> {
        Ok(sys::stat(self.dir.as_fd())?.st_uid)
    }

    /// Waits until no other command changes this container.
    ///
    /// The lock sits on the open directory, and a forked child shares it: it is given back by [`StateDir::unlock`] or
    /// by the drop of this value, whoever else still has the descriptor; a killed holder gives it back when its last
    /// copy is closed.
    pub(crate) fn lock(&self) -> Result<()> {
        sys::flock(self.dir.as_fd(), FlockOperation::LockExclusive)?;
        self.locked.set(true);
        Ok(())
    }

    /// The same without waiting: false when another command has the lock.
    pub(crate) fn try_lock(&self) -> Result<bool> {
        match sys::flock(self.dir.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.errno == Errno::WOULDBLOCK => return Ok(false),
            result => result?,
        }
        self.locked.set(true);
        Ok(true)
    }

    pub(crate) fn unlock(&self) -> Result<()> {
        self.locked.set(false);
        Ok(sys::flock(self.dir.as_fd(), FlockOperation::Unlock)?)
    }

    /// `state.json`; none before the first [`StateDir::write_state`].
    pub(crate) fn read_state(&self) -> Result<Option<Vec<u8>>> {
        self.read(STATE)
    }

    /// Replaces `state.json`: a reader sees the old file or the new one.
    pub(crate) fn write_state(&self, json: &[u8]) -> Result<()> {
        self.write(STATE_NEXT, json)?;
        sys::rename_at(self.dir.as_fd(), STATE_NEXT, STATE).during(|| format!("write {STATE}"))
    }

    /// The configuration that the container was created with; none where another runtime kept no copy.
    pub(crate) fn read_config(&self) -> Result<Option<Vec<u8>>> {
        self.read(CONFIG)
    }

    pub(crate) fn write_config(&self, json: &[u8]) -> Result<()> {
        self.write(CONFIG, json)
    }

    /// Makes the start gate, which says that the container is created and not started, and opens both of its ends.
    ///
    /// Only the owner may open it: the container's first process inherits the descriptor, whatever user it is.
    pub(crate) fn create_gate(&self) -> Result<OwnedFd> {
        sys::mkfifo_at(self.dir.as_fd(), GATE, OWNER_ONLY)?;
        Ok(sys::open_at(self.dir.as_fd(), GATE, OFlags::RDWR, Mode::empty())?)
    }

    pub(crate) fn has_gate(&self) -> Result<bool> {
        Ok(sys::stat_at(self.dir.as_fd(), GATE)?.is_some())
    }

    /// The end that `start` writes to; none when nobody waits at the other one any more.
    pub(crate) fn open_gate(&self) -> Result<Option<OwnedFd>> {
        match sys::open_at(
            self.dir.as_fd(),
            GATE,
            OFlags::WRONLY | OFlags::NONBLOCK,
            Mode::empty(),
        ) {
            Err(error) if error.errno == Errno::NXIO => Ok(None),
            result => Ok(Some(result?)),
        }
    }

    pub(crate) fn remove_gate(&self) -> Result<()> {
        Ok(sys::unlink_at(self.dir.as_fd(), GATE, AtFlags::empty())?)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let file = match sys::open_at(self.dir.as_fd(), name, OFlags::RDONLY, Mode::empty()) {
            Err(error) if error.errno == Errno::NOENT => return Ok(None),
            result => result?,
        };
        sys::read_all(file).map(Some).during(|| format!("read {name}"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let file = sys::open_at(self.dir.as_fd(), name, flags, OWNER_ONLY)?;
        sys::write_all(file, bytes).during(|| format!("write {name}"))
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if self.locked.get() {
            // The descriptor is open and was locked: flock(2) has no error left to give.
            let _ = self.unlock();
        }
    }
}

/// runc's rule: letters, digits and `_+-.`, and not the directory itself or its parent.
fn check_id(id: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    let valid = !id.is_empty() && id != "." && id != ".." && id.bytes().all(allowed);
    if valid { Ok(()) } else { Err(Error::InvalidId) }
}

fn open_root(root: &Path) -> sys::Result<OwnedFd> {
    // The root is the user's own word: symbolic links on the way to it are followed, only here.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, root, flags, Mode::empty()).named(|| format!("open {}", root.display()))
}

fn open_dir(parent: BorrowedFd<'_>, name: impl Name) -> sys::Result<OwnedFd> {
    sys::open_at(parent, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

fn is_dir(parent: BorrowedFd<'_>, name: &str, kind: FileType) -> Result<bool> {
    if kind != FileType::Unknown {
        return Ok(kind == FileType::Directory);
    }
    let stat = sys::stat_at(parent, name)?;
    Ok(stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
}

/// Removes all that is in a directory: goes on after a failure, and returns the first.
fn remove_entries(dir: BorrowedFd<'_>) -> Result<()> {
    let mut first = Ok(());
    for (name, _) in sys::entries(dir)? {
        first = first.and(remove_entry(dir, name.as_c_str()));
    }
    first
}

fn remove_entry(parent: BorrowedFd<'_>, name: impl Name) -> Result<()> {
    match sys::unlink_at(parent, name, AtFlags::empty()) {
        Err(error) if error.errno == Errno::ISDIR => {}
        result => return Ok(ignore_missing(result)?),
    }
    let emptied = match open_dir(parent, name) {
        Err(error) if error.errno == Errno::NOENT => return Ok(()),
        result => remove_entries(result?.as_fd()),
    };
    emptied.and(ignore_missing(sys::unlink_at(parent, name, AtFlags::REMOVEDIR)).map_err(Error::from))
}

fn ignore_missing(result: sys::Result<()>) -> sys::Result<()> {
    match result {
        Err(error) if error.errno == Errno::NOENT => Ok(()),
        other => other,
    }
}
