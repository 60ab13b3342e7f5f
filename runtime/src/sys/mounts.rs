//! System calls on mounts, all by descriptor: fsopen(2), open_tree(2), move_mount(2), mount_setattr(2) (Linux 5.12),
//! and those that change what `/` is.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use super::{Errno, Error, Named, Result, mount_setattr};

/// fsopen(2): a file system to be configured.
pub(crate) fn open_fs(name: &str) -> Result<OwnedFd> {
    use rustix::mount::{FsOpenFlags, fsopen};
    fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC).named(|| format!("fsopen({name:?})"))
}

/// fspick(2): the file system mounted at `mount`, to be configured anew.
pub(crate) fn pick_fs(mount: impl AsFd) -> Result<OwnedFd> {
    use rustix::mount::{FsPickFlags, fspick};
    fspick(mount, "", FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH).named(|| "fspick".into())
}

/// fsconfig(2), FSCONFIG_SET_FLAG.
pub(crate) fn set_fs_flag(fs: impl AsFd, key: &str) -> Result<()> {
    let result = rustix::mount::fsconfig_set_flag(&fs, key);
    result.map_err(|errno| fs_error(&fs, &format!("fsconfig({key:?})"), errno))
}

/// fsconfig(2), FSCONFIG_SET_STRING. The kernel takes at most 255 bytes.
pub(crate) fn set_fs_option(fs: impl AsFd, key: &str, value: &str) -> Result<()> {
    let result = rustix::mount::fsconfig_set_string(&fs, key, value);
    result.map_err(|errno| fs_error(&fs, &format!("fsconfig({key:?}, {value:?})"), errno))
}

/// fsconfig(2), FSCONFIG_CMD_CREATE.
pub(crate) fn create_fs(fs: impl AsFd) -> Result<()> {
    rustix::mount::fsconfig_create(&fs).map_err(|errno| fs_error(&fs, "fsconfig(create)", errno))
}

/// fsconfig(2), FSCONFIG_CMD_RECONFIGURE.
pub(crate) fn reconfigure_fs(fs: impl AsFd) -> Result<()> {
    rustix::mount::fsconfig_reconfigure(&fs).map_err(|errno| fs_error(&fs, "fsconfig(reconfigure)", errno))
}

/// fsmount(2): the configured file system as a mount that is nowhere yet. `attributes`: `MOUNT_ATTR_*`.
pub(crate) fn mount_fs(fs: impl AsFd, attributes: u64) -> Result<OwnedFd> {
    use rustix::mount::{FsMountFlags, MountAttrFlags, fsmount};
    // All attributes fit in the 32 bits that the call takes.
    #[allow(clippy::cast_possible_truncation)]
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|errno| fs_error(&fs, "fsmount", errno))
}

/// What the file system itself had to say is in its descriptor, a line per read (fsopen(2)).
fn fs_error(fs: impl AsFd, call: &str, errno: Errno) -> Error {
    let mut call = call.to_owned();
    let mut line = [0; 512];
    while let Ok(length @ 1..) = rustix::io::read(&fs, &mut line) {
        let line = String::from_utf8_lossy(&line[..length]);
        // Each starts with its severity: `e `, `w ` or `i `.
        let text = line.trim_end().get(2..).unwrap_or_default();
        call = format!("{call}: {text}");
    }
    Error { call, errno }
}

/// A copy of one mount or of all mounts below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    One,
    Tree,
}

impl Depth {
    fn flag(self) -> libc::c_int {
        match self {
            Self::One => 0,
            Self::Tree => libc::AT_RECURSIVE,
        }
    }
}

/// open_tree(2) with OPEN_TREE_CLONE: a copy of what is mounted at `path`, nowhere yet. A last link is followed.
pub(crate) fn clone_tree(dir: impl AsFd, path: &str, depth: Depth) -> Result<OwnedFd> {
    clone_tree_with(dir, path, depth, OpenTreeFlags::empty())
}

/// The same; a last link is copied itself.
pub(crate) fn clone_tree_nofollow(dir: impl AsFd, path: &str, depth: Depth) -> Result<OwnedFd> {
    clone_tree_with(dir, path, depth, OpenTreeFlags::AT_SYMLINK_NOFOLLOW)
}

/// The same of what a descriptor is.
pub(crate) fn clone_tree_at(fd: impl AsFd, depth: Depth) -> Result<OwnedFd> {
    clone_tree_with(fd, "", depth, OpenTreeFlags::AT_EMPTY_PATH)
}

fn clone_tree_with(dir: impl AsFd, path: &str, depth: Depth, flags: OpenTreeFlags) -> Result<OwnedFd> {
    let mut flags = flags | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if depth == Depth::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(dir, path, flags).named(|| format!("open_tree({path:?})"))
}

/// move_mount(2) onto what `target` is.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    attach_with(mount, target, "", MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
}

/// move_mount(2) onto `path`, a last link followed.
pub(crate) fn attach_at(mount: impl AsFd, dir: impl AsFd, path: &str) -> Result<()> {
    attach_with(mount, dir, path, MoveMountFlags::MOVE_MOUNT_T_SYMLINKS)
}

/// move_mount(2) onto `path`, a last link not followed.
pub(crate) fn attach_at_nofollow(mount: impl AsFd, dir: impl AsFd, path: &str) -> Result<()> {
    attach_with(mount, dir, path, MoveMountFlags::empty())
}

fn attach_with(mount: impl AsFd, dir: impl AsFd, path: &str, flags: MoveMountFlags) -> Result<()> {
    rustix::mount::move_mount(mount, "", dir, path, flags | MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).named(
        || {
            if path.is_empty() { "move_mount".into() } else { format!("move_mount({path:?})") }
        },
    )
}

/// What mount_setattr(2) changes; the default changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MountChange<'a> {
    /// `MOUNT_ATTR_*` to set and to clear.
    pub(crate) set: u64,
    pub(crate) clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`; 0: as it is.
    pub(crate) propagation: libc::c_ulong,
    /// A user namespace whose ids the mount shows; with `MOUNT_ATTR_IDMAP`.
    pub(crate) ids: Option<BorrowedFd<'a>>,
}

/// mount_setattr(2) on the mount that `mount` is.
pub(crate) fn change_mount(mount: impl AsFd, depth: Depth, change: &MountChange<'_>) -> Result<()> {
    mount_setattr(mount.as_fd(), c"", libc::AT_EMPTY_PATH | depth.flag(), change)
}

/// mount_setattr(2) on the mount at `path`.
pub(crate) fn change_mount_at(path: &Path, depth: Depth, change: &MountChange<'_>) -> Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error { call: "mount_setattr".into(), errno: Errno::INVAL })?;
    mount_setattr(CWD, &path, depth.flag(), change)
}

/// pivot_root(2) with `.` for both: the old root ends up on top of the new one.
pub(crate) fn pivot_here() -> Result<()> {
    rustix::process::pivot_root(".", ".").named(|| "pivot_root(\".\", \".\")".into())
}

/// umount2(2), MNT_DETACH.
pub(crate) fn detach(path: &str) -> Result<()> {
    rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH)
        .named(|| format!("umount2({path:?}, MNT_DETACH)"))
}

/// chroot(2) to the working directory.
pub(crate) fn chroot_here() -> Result<()> {
    rustix::process::chroot(".").named(|| "chroot(\".\")".into())
}
