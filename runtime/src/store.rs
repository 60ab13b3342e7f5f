//! The state directory: one directory per container below the root, and the only place that writes there.
//!
//! `<root>/<id>/` holds `state.json` (see [`crate::record`]), `config.json` (the configuration as it was read, byte for
//! byte), and `exec.fifo` while the container waits for `start`. Everything is reached from the descriptor of its
//! directory and no symbolic link is followed. What the files mean is not known here.

mod maker;

use std::cell::Cell;
use std::fs::DirBuilder;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};

pub(crate) use maker::Maker;

use crate::error::{During as _, Error, Result};
use crate::sys::{self, Errno, Name, Named as _};

const STATE: &str = "state.json";
/// Where the next `state.json` is written before it takes the name.
const STATE_NEXT: &str = "state.json.next";
const CONFIG: &str = "config.json";
const CONFIG_NEXT: &str = "config.json.next";
const GATE: &str = "exec.fifo";
/// Where criu has the root of a container that it restores, in a mount namespace of its own; runc's name.
const CRIU_ROOT: &str = "criu-root";

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
        let dir = self.dir(id).and_then(|dir| dir.lock().map(|()| dir));
        // Without descriptors to spare it could be made, and not opened.
        dir.inspect_err(|_| drop(sys::unlink_at(self.root.as_fd(), id, AtFlags::REMOVEDIR)))
    }

    /// The directory of a container; [`Error::NotExist`] when there is none.
    pub(crate) fn dir(&self, id: &str) -> Result<StateDir> {
        check_id(id)?;
        match open_dir(self.root.as_fd(), id) {
            Err(error) if error.errno == Errno::NOENT => Err(Error::NotExist),
            result => Ok(StateDir { id: id.to_owned(), dir: result?, locked: Cell::new(false) }),
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
        // What a stopped container has; whatever else there is makes rmdir(2) say so.
        let usual = sys::unlink_at(state.dir.as_fd(), STATE, AtFlags::empty()).is_ok()
            && sys::unlink_at(state.dir.as_fd(), CONFIG, AtFlags::empty()).is_ok()
            && self.remove_dir(state).is_ok();
        if usual {
            // Nobody can find it any more.
            state.locked.set(false);
            return Ok(());
        }
        // By name, which takes no descriptor: there may be none left, and this must be possible then.
        for name in [GATE, STATE, CONFIG, STATE_NEXT, CONFIG_NEXT] {
            // What is wrong with one shows below.
            let _ = sys::unlink_at(state.dir.as_fd(), name, AtFlags::empty());
        }
        if self.remove_dir(state).is_ok() {
            return Ok(());
        }
        match remove_entries(state.dir.as_fd()) {
            // The directory is gone already, and its name may be that of a new container by now.
            Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(()),
            result => result?,
        }
        Ok(ignore_missing(self.remove_dir(state))?)
    }

    fn remove_dir(&self, state: &StateDir) -> sys::Result<()> {
        sys::unlink_at(self.root.as_fd(), state.id.as_str(), AtFlags::REMOVEDIR)
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

    /// Waits until no other command changes this container. A hook may call the runtime on its own container, so what
    /// runs hooks afterwards unlocks first.
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
        self.replace(STATE, STATE_NEXT, json)
    }

    /// The configuration that the container was created with; none where another runtime kept no copy.
    pub(crate) fn read_config(&self) -> Result<Option<Vec<u8>>> {
        self.read(CONFIG)
    }

    pub(crate) fn write_config(&self, json: &[u8]) -> Result<()> {
        self.write(CONFIG, json)
    }

    /// The same where there is one: a reader sees the old file or the new one.
    pub(crate) fn replace_config(&self, json: &[u8]) -> Result<()> {
        self.replace(CONFIG, CONFIG_NEXT, json)
    }

    /// Makes the start gate, which says that the container is created and not started, and opens both of its ends.
    ///
    /// Only the owner may open it: the container's first process inherits the descriptor, whatever user it is.
    pub(crate) fn create_gate(&self) -> Result<OwnedFd> {
        sys::mkfifo_at(self.dir.as_fd(), GATE, OWNER_ONLY)?;
        Ok(sys::open_at(self.dir.as_fd(), GATE, OFlags::RDWR, Mode::empty())?)
    }

    /// The end that `start` writes to; none when nobody waits at the other one any more.
    pub(crate) fn open_gate(&self) -> Result<Option<OwnedFd>> {
        match sys::open_at(self.dir.as_fd(), GATE, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
            Err(error) if matches!(error.errno, Errno::NXIO | Errno::NOENT) => Ok(None),
            result => Ok(Some(result?)),
        }
    }

    pub(crate) fn remove_gate(&self) -> Result<()> {
        Ok(sys::unlink_at(self.dir.as_fd(), GATE, AtFlags::empty())?)
    }

    /// Returns its absolute path, without links.
    pub(crate) fn make_criu_root(&self) -> Result<PathBuf> {
        sys::mkdir_at(self.dir.as_fd(), CRIU_ROOT, PASSABLE)?;
        let path = format!("/proc/self/fd/{}/{CRIU_ROOT}", self.dir.as_raw_fd());
        Ok(sys::resolve_dir(Path::new(&path)).named(|| format!("open {CRIU_ROOT}"))?)
    }

    pub(crate) fn remove_criu_root(&self) -> Result<()> {
        Ok(sys::unlink_at(self.dir.as_fd(), CRIU_ROOT, AtFlags::REMOVEDIR)?)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let file = match sys::open_at(self.dir.as_fd(), name, OFlags::RDONLY, Mode::empty()) {
            Err(error) if error.errno == Errno::NOENT => return Ok(None),
            result => result?,
        };
        sys::read_all(file).map(Some).during(|| format!("read {name}"))
    }

    fn replace(&self, name: &str, next: &str, bytes: &[u8]) -> Result<()> {
        self.write(next, bytes)?;
        sys::rename_at(self.dir.as_fd(), next, name).during(|| format!("write {name}"))
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    /// A root of this test's own, removed at its end.
    struct Root(PathBuf);

    impl Root {
        fn new(test: &str) -> (Self, Store) {
            let path =
                std::env::temp_dir().join(format!("knarr-store-{}-{test}/deep/er", std::process::id()));
            let store = Store::open_or_make(&path).unwrap();
            (Self(path), store)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            fs::remove_dir_all(self.0.ancestors().nth(2).unwrap()).unwrap();
        }
    }

    #[test]
    fn ids_follow_the_rule_of_runc() {
        for id in ["a", "A-b_c.d+9", "...", ".hidden", "-", &"x".repeat(1024)] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "/", "a b", "a\0", "\u{e9}", "a\n", "a:b", "a@b"] {
            assert!(matches!(check_id(id), Err(Error::InvalidId)), "{id}");
        }
    }

    #[test]
    fn a_root_that_is_missing_is_made_for_its_owner_alone() {
        assert!(matches!(Store::open(Path::new("/no/such/root")), Err(Error::NotExist)));
        let (root, store) = Root::new("modes");
        store.create("web").unwrap();
        assert_eq!(fs::metadata(&root.0).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(root.0.join("web")).unwrap().mode() & 0o7777, 0o711);
    }

    #[test]
    fn an_id_is_given_once() {
        let (_root, store) = Root::new("once");
        let first = store.create("web").unwrap();
        assert!(matches!(store.create("web"), Err(Error::Exists)));
        store.remove(&first).unwrap();
        store.create("web").unwrap();
    }

    #[test]
    fn ids_are_sorted_directories() {
        let (root, store) = Root::new("ids");
        assert!(store.ids().unwrap().is_empty());
        for id in ["b", "a", ".c"] {
            store.create(id).unwrap();
        }
        fs::create_dir(root.0.join("no container")).unwrap();
        fs::write(root.0.join("file"), "").unwrap();
        symlink("a", root.0.join("link")).unwrap();
        assert_eq!(store.ids().unwrap(), [".c", "a", "b"]);
        assert_eq!(store.ids().unwrap().len(), 3, "a second listing starts at the beginning");
    }

    #[test]
    fn a_link_is_neither_a_container_nor_its_state() {
        let (root, store) = Root::new("links");
        symlink("/", root.0.join("link")).unwrap();
        assert!(store.dir("link").unwrap_err().line().contains("openat(\"link\""));
        let dir = store.create("web").unwrap();
        let outside = root.0.join("outside");
        fs::write(&outside, "secret").unwrap();
        symlink(&outside, root.0.join("web/state.json")).unwrap();
        assert_eq!(dir.read_state().unwrap_err().errno(), Some(libc::ELOOP));
        dir.write_state(b"{}").unwrap();
        assert_eq!(dir.read_state().unwrap().unwrap(), b"{}");
        store.remove(&dir).unwrap();
        assert_eq!(fs::read(&outside).unwrap(), b"secret");
    }

    #[test]
    fn state_is_replaced_whole() {
        let (root, store) = Root::new("state");
        let dir = store.create("web").unwrap();
        assert_eq!(dir.read_state().unwrap(), None);
        assert_eq!(dir.read_config().unwrap(), None);
        dir.write_config(b"{ }").unwrap();
        dir.write_state(b"first, and longer").unwrap();
        let old = fs::File::open(root.0.join("web/state.json")).unwrap();
        dir.write_state(b"second").unwrap();
        let mut seen = String::new();
        (&old).read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "first, and longer");
        assert_eq!(dir.read_state().unwrap().unwrap(), b"second");
        let dir = store.dir("web").unwrap();
        assert_eq!(dir.read_config().unwrap().unwrap(), b"{ }");
        let mut names: Vec<_> =
            fs::read_dir(root.0.join("web")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["config.json", "state.json"]);
    }

    #[test]
    fn removal_takes_directories_and_spares_what_links_point_to() {
        let (root, store) = Root::new("remove");
        let dir = store.create("web").unwrap();
        let inside = root.0.join("web");
        fs::create_dir_all(inside.join("notify/deep")).unwrap();
        fs::write(inside.join("notify/deep/file"), "").unwrap();
        drop(dir.create_gate().unwrap());
        symlink("..", inside.join("up")).unwrap();
        store.create("other").unwrap();
        store.remove(&dir).unwrap();
        store.remove(&dir).unwrap();
        assert!(!inside.exists());
        assert_eq!(store.ids().unwrap(), ["other"]);
    }

    #[test]
    fn one_command_at_a_time_changes_a_container() {
        let (_root, store) = Root::new("lock");
        let creator = store.create("web").unwrap();
        let other = store.dir("web").unwrap();
        assert!(!other.try_lock().unwrap());
        creator.unlock().unwrap();
        assert!(other.try_lock().unwrap());
        assert!(!creator.try_lock().unwrap());
        drop(other);
        assert!(creator.try_lock().unwrap());
    }

    #[test]
    fn dropping_a_directory_unlocks_it_although_a_child_still_holds_it_open() {
        let (_root, store) = Root::new("inherited");
        let creator = store.create("web").unwrap();
        let inherited = creator.dir.try_clone().unwrap();
        drop(creator);
        assert!(store.dir("web").unwrap().try_lock().unwrap());
        drop(inherited);
    }

    #[test]
    fn the_gate_stands_while_somebody_waits_at_it() {
        let (_root, store) = Root::new("gate");
        let dir = store.create("web").unwrap();
        assert!(!dir.is_gate_closed().unwrap());
        assert!(dir.open_gate().unwrap().is_none(), "there is no gate");
        let mut waiting = fs::File::from(dir.create_gate().unwrap());
        assert!(dir.is_gate_closed().unwrap());
        let mut starter = fs::File::from(dir.open_gate().unwrap().unwrap());
        starter.write_all(b"0").unwrap();
        waiting.read_exact(&mut [0]).unwrap();
        drop((waiting, starter));
        assert!(dir.open_gate().unwrap().is_none(), "the one who waited is gone");
        assert!(dir.is_gate_closed().unwrap(), "without a configuration it is runc's");
        dir.write_config(b"{}").unwrap();
        assert!(!dir.is_gate_closed().unwrap());
        dir.remove_gate().unwrap();
        assert!(!dir.is_gate_closed().unwrap());
    }
}
