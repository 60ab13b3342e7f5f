//! A container's files as the container sees them, mounts included, for who copies: of a running one through its process,
//! of another one in mounts that a thread makes for itself and that go with it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::thread;

use knarr_images::store::Access;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};

use super::{Container, Record};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::sys;
use crate::volume;

/// Links are followed as in the container; nothing leads out of it, and no link of /proc leads anywhere.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

impl Engine {
    /// Lets `act` work in the root of a container.
    pub(super) fn in_root<T: Send>(
        &self,
        container: &Container,
        act: impl FnOnce(BorrowedFd<'_>) -> Result<T> + Send,
    ) -> Result<T> {
        let record = container.record();
        if record.state.status.is_up() {
            let path = format!("/proc/{}/root", record.state.pid);
            let root = File::open(&path).during("open", path.as_ref())?;
            return act(root.as_fd());
        }
        // Nobody starts or removes it meanwhile.
        let _act = container.begin_act();
        let mounted = || self.mount_privately(&record).and_then(|root| act(root.as_fd()));
        let joined = thread::scope(|scope| scope.spawn(mounted).join());
        joined.unwrap_or_else(|_| Err(Error::system("a thread that copies has failed")))
    }

    /// Mounts the root and the volumes for this thread alone.
    fn mount_privately(&self, record: &Record) -> Result<OwnedFd> {
        sys::unshare_mounts().while_doing("unshare(CLONE_NEWNS)")?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .while_doing("make the mounts private")?;
        let snapshot = self.images.snapshot(&record.id)?;
        let view = self.images.view(&snapshot, Access::Writable)?;
        // A mount has to be somewhere to have others on it; no other thread sees it there.
        let place = File::open("/").during("open", Path::new("/"))?;
        self.images.attach(&view, &place)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(&view, c".", flags, Mode::empty()).while_doing("open the root")?;
        for planned in volume::sources(self, record)? {
            if let volume::Source::Bind { path, access, .. } = &planned.source {
                bind(root.as_fd(), path, &planned.target, *access)?;
            }
        }
        Ok(root)
    }
}

fn bind(root: BorrowedFd<'_>, source: &Path, target: &str, access: volume::Access) -> Result<()> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = match open_tree(rustix::fs::CWD, source, flags) {
        Ok(tree) => tree,
        // It is made when the container starts.
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error).during("open", source),
    };
    // A link of the container may lead here, whatever the path was that somebody asked for.
    if access != volume::Access::Writable {
        sys::make_read_only(&tree).while_doing(format_args!("mount_setattr for {target}"))?;
    }
    let folder = fs::metadata(source).during("look at", source)?.is_dir();
    let place = match open(root, target, OFlags::PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(root, target, folder)?,
        outcome => outcome.while_doing(format_args!("open {target} in the container"))?,
    };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", &place, "", flags).while_doing(format_args!("mount on {target} in the container"))
}

/// Makes a missing place for a mount, as a start would.
fn make(root: BorrowedFd<'_>, target: &str, folder: bool) -> Result<OwnedFd> {
    let act = || format!("make {target} in the container");
    let names: Vec<&std::ffi::OsStr> = Path::new(target)
        .components()
        .filter_map(|component| if let Component::Normal(name) = component { Some(name) } else { None })
        .collect();
    let mut path = std::path::PathBuf::from("/");
    for (index, name) in names.iter().enumerate() {
        let parent = open(root, path.as_os_str(), OFlags::PATH | OFlags::DIRECTORY).while_doing(act())?;
        let made = if folder || index + 1 < names.len() {
            mkdirat(&parent, *name, Mode::from_raw_mode(0o755))
        } else {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(&parent, *name, flags, Mode::from_raw_mode(0o644)).map(drop)
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).while_doing(act()),
        }
        path.push(name);
    }
    open(root, target, OFlags::PATH).while_doing(act())
}

/// Opens a path in the container.
pub(super) fn open(root: BorrowedFd<'_>, path: impl rustix::path::Arg, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), INSIDE)?)
}

/// A file by its directory and its name there; the name may be a link, which is not followed. `.` is the directory itself.
pub(super) struct Place {
    pub(super) folder: OwnedFd,
    pub(super) name: String,
}

impl Place {
    /// Finds `path` in the container. The file need not be there.
    pub(super) fn find(root: BorrowedFd<'_>, path: &str) -> io::Result<Self> {
        let path = format!("/{}", path.trim_start_matches('/'));
        let (folder, name) = path.rsplit_once('/').unwrap_or(("/", ""));
        let (folder, name) = match name {
            "" | "." => (folder, "."),
            ".." => (path.as_str(), "."),
            name => (folder, name),
        };
        let folder = if folder.is_empty() { "/" } else { folder };
        let folder = open(root, folder, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Self { folder, name: name.to_owned() })
    }

    pub(super) fn stat(&self) -> io::Result<rustix::fs::Stat> {
        Ok(rustix::fs::statat(&self.folder, self.name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}
