//! New file systems, and changes to mounts that are there: fsopen(2), fsconfig(2), fsmount(2), fspick(2).
//!
//! A file system is configured completely, then put in place by one move_mount(2) onto a target that was looked up once;
//! its descriptor is what later changes go to, never a path.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, OFlags};

use crate::error::{During, Error, Result};
use crate::plan::mounts::{
    Attributes, FileSystem, FsOption, Kind, MountPlan, On, RootfsPlan, check_not_in_proc,
};
use crate::sys::files::{open_at, set_attribute, stat_fd};
use crate::sys::mounts::{
    Depth, MountChange, attach, attach_at, change_mount, clone_tree, create_fs, mount_fs, open_fs, pick_fs,
    reconfigure_fs, set_fs_flag, set_fs_option,
};
use crate::sys::{self, Errno};

use super::{Found, Last, Missing, RootDir, bind, mask, propagation, tmpfs_copyup};

/// Where a mount ended up.
pub(super) enum Mounted {
    At(OwnedFd),
    /// Nothing was mounted: a link was made instead.
    Nowhere,
}

pub(super) fn mount_new(
    plan: &RootfsPlan,
    root: &RootDir,
    mount: &MountPlan,
    fs: &FileSystem,
) -> Result<Mounted> {
    let target = find_target(root, mount, || Ok(Missing::Directory))?;
    let attributes = mount.flags.map_or(0, |flags| flags.exact.set);
    let mode =
        if fs.inherits_mode && !target.made { Some(stat_fd(&target.fd)?.st_mode & 0o7777) } else { None };
    let made = match make_file_system(fs, &mount.source, attributes, mode) {
        Err(error) if is_withheld_sysfs(plan, fs, attributes, &error) => {
            return host_sys(plan, mount, &target.fd, attributes)
                .during(|| format!("{error}; bind /sys instead"));
        }
        result => result?,
    };
    if fs.copy_up {
        tmpfs_copyup::copy_tree(&target.fd, &made)?;
    }
    if let Some(label) = &fs.label_root {
        set_attribute(open_at(&made, ".", OFlags::RDONLY)?, b"security.selinux", label.as_bytes())?;
    }
    put_in_place(&made, &target.fd, mount)?;
    Ok(Mounted::At(made))
}

/// The kernel gives a sysfs only to the user namespace that owns the network namespace.
fn is_withheld_sysfs(plan: &RootfsPlan, fs: &FileSystem, attributes: u64, error: &sys::Error) -> bool {
    let readonly = attributes & libc::MOUNT_ATTR_RDONLY != 0;
    fs.name == "sysfs" && readonly && plan.user_namespace && error.errno == Errno::PERM
}

/// crun's way out of that: the host's sysfs, read-only as it was asked for, without the host's cgroups
/// (CVE-2023-25809).
fn host_sys(plan: &RootfsPlan, mount: &MountPlan, target: &OwnedFd, attributes: u64) -> Result<Mounted> {
    let made = clone_tree(CWD, "/sys", Depth::Tree)?;
    // The access time is the host's to choose.
    let set = attributes & (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC);
    change_attributes(&made, Depth::Tree, Attributes { set: set | libc::MOUNT_ATTR_RDONLY, clear: 0 })?;
    put_in_place(&made, target, mount)?;
    if plan.mounts.iter().all(|other| other.target != "sys/fs/cgroup") {
        attach_at(mask::empty_directory(plan.label.as_deref())?, &made, "fs/cgroup")?;
    }
    Ok(Mounted::At(made))
}

/// A file system that is mounted nowhere. `attributes`: `MOUNT_ATTR_*`.
pub(super) fn make_file_system(
    fs: &FileSystem,
    source: &str,
    attributes: u64,
    mode: Option<u32>,
) -> sys::Result<OwnedFd> {
    let context = open_fs(&fs.name)?;
    set_fs_option(&context, "source", source)?;
    if let Some(mode) = mode {
        set_fs_option(&context, "mode", &format!("{mode:04o}"))?;
    }
    configure(&context, &fs.options)?;
    // The hierarchies of cgroups are shared with the host: only this mount of theirs is read-only.
    if attributes & libc::MOUNT_ATTR_RDONLY != 0 && !fs.name.starts_with("cgroup") {
        set_fs_flag(&context, "ro")?;
    }
    create_fs(&context)?;
    mount_fs(&context, attributes)
}

fn configure(context: &OwnedFd, options: &[FsOption]) -> sys::Result<()> {
    options.iter().try_for_each(|option| match option {
        FsOption::Flag(key) => set_fs_flag(context, key),
        FsOption::Pair(key, value) => set_fs_option(context, key, value),
    })
}

/// The target of a mount; what to make is asked only where it may be missing.
pub(super) fn find_target(
    root: &RootDir,
    mount: &MountPlan,
    missing: impl FnOnce() -> sys::Result<Missing>,
) -> Result<Found> {
    if mount.on == On::OrdinaryDirectory {
        return root.ordinary_directory(&mount.target).map_err(|error| not_ordinary(mount, error));
    }
    let found = match mount.on {
        On::NotFollowed => root.find(&mount.target, Missing::Fail, Last::Keep)?,
        _ => root.find_or(&mount.target, missing, Last::Follow)?,
    };
    // Links may have led to where the plan, which saw the words only, would have refused to go.
    if found.path != mount.target {
        check_really(&found.path, mount)?;
    }
    Ok(found)
}

fn check_really(path: &str, mount: &MountPlan) -> Result<()> {
    let refused = |reason: String| Error::refused(format!("/mounts/{}/destination", mount.index), reason);
    if path.is_empty() {
        return Err(refused(format!("mountpoint {:?} is on the top of rootfs", mount.destination)));
    }
    check_not_in_proc(path, &mount.kind).map_err(refused)
}

fn not_ordinary(mount: &MountPlan, error: sys::Error) -> Error {
    match (error.errno, &mount.kind) {
        (Errno::NOTDIR, Kind::New(fs)) => Error::refused(
            format!("/mounts/{}/destination", mount.index),
            format!("filesystem {:?} must be mounted on ordinary directory", fs.name),
        ),
        _ => error.into(),
    }
}

/// The move onto the target, attributes of the whole tree, propagation.
pub(super) fn put_in_place(made: &OwnedFd, target: &OwnedFd, mount: &MountPlan) -> sys::Result<()> {
    change_attributes(made, Depth::Tree, mount.recursive)?;
    attach(made, target).map_err(|error| name_mismatch(made, target, error))?;
    propagation::apply(made.as_fd(), &mount.propagation)
}

pub(super) fn change_attributes(mount: &OwnedFd, depth: Depth, attributes: Attributes) -> sys::Result<()> {
    if attributes.is_empty() {
        return Ok(());
    }
    let Attributes { set, clear } = attributes;
    change_mount(mount, depth, &MountChange { set, clear, ..MountChange::default() })
}

/// EINVAL stands for many things; a directory on a file or the reverse has a word of its own, which engines know.
fn name_mismatch(made: &OwnedFd, target: &OwnedFd, error: sys::Error) -> sys::Error {
    let is_directory =
        |fd| stat_fd(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    if error.errno == Errno::INVAL && is_directory(made) != is_directory(target) {
        return sys::Error { errno: Errno::NOTDIR, ..error };
    }
    error
}

/// `remount`: the mount at the target changes; its superblock too, unless it is a bind.
pub(super) fn remount(root: &RootDir, mount: &MountPlan, superblock: Option<&[FsOption]>) -> Result<Mounted> {
    let target = find_target(root, mount, || Ok(Missing::Fail))?;
    if let Some(options) = superblock {
        let context = pick_fs(&target.fd)?;
        configure(&context, options)?;
        reconfigure_fs(&context)?;
    }
    bind::set_flags(&target.fd, Depth::One, mount)?;
    change_attributes(&target.fd, Depth::Tree, mount.recursive)?;
    propagation::apply(target.fd.as_fd(), &mount.propagation)?;
    Ok(Mounted::At(target.fd))
}
