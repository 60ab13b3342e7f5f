//! Bind mounts: open_tree(2), mount_setattr(2), move_mount(2).

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, FileType};

use crate::error::{During, Error, Result};
use crate::plan::mounts::{Bind, MountPlan, not_of_type_proc};
use crate::sys::files::{magic_of, read_link_at, stat_at, stat_fd};
use crate::sys::mounts::{Depth, clone_tree, clone_tree_nofollow};
use crate::sys::{self, Errno};

use super::mount::{Mounted, change_attributes, find_target, put_in_place};
use super::{MapSource, Missing, RootDir, Sources};

pub(super) fn bind(
    root: &RootDir,
    mount: &MountPlan,
    bind: &Bind,
    sources: &mut Sources,
    map_source: MapSource<'_>,
) -> Result<Mounted> {
    if bind.copy_symlink && is_symlink(&mount.source)? {
        root.symlink(&read_link_at(CWD, &mount.source)?, &mount.target)?;
        return Ok(Mounted::Nowhere);
    }
    let source = take_source(mount, bind, sources)?;
    if bind.idmap.is_some() && bind.in_tree {
        map_source(mount.index, source.as_fd())?;
    }
    let target = find_target(root, mount, || kind_of(&source))?;
    if target.path == "proc" && magic_of(&source)? != libc::PROC_SUPER_MAGIC {
        return Err(Error::refused(format!("/mounts/{}/source", mount.index), not_of_type_proc()));
    }
    set_flags(&source, Depth::One, mount)?;
    put_in_place(&source, &target.fd, mount)?;
    Ok(Mounted::At(source))
}

fn is_symlink(path: &str) -> sys::Result<bool> {
    Ok(FileType::from_raw_mode(stat_at(CWD, path)?.st_mode) == FileType::Symlink)
}

/// What a missing mount point has to be.
fn kind_of(source: &OwnedFd) -> sys::Result<Missing> {
    let kind = FileType::from_raw_mode(stat_fd(source)?.st_mode);
    Ok(if kind == FileType::Directory { Missing::Directory } else { Missing::File })
}

/// A copy of the source, made here if possible: in a user namespace only such a copy keeps the flags that the host
/// has locked (mount_namespaces(7)). The parent's copy is for sources that are out of reach here.
fn take_source(mount: &MountPlan, bind: &Bind, sources: &mut Sources) -> sys::Result<OwnedFd> {
    match sources.take_mount(mount.index) {
        Some(mapped) if bind.idmap.is_some() => Ok(mapped),
        Some(parents) => match clone_source(mount, bind) {
            Err(error) if error.errno == Errno::ACCESS => Ok(parents),
            result => result,
        },
        None => clone_source(mount, bind),
    }
}

pub(super) fn clone_source(mount: &MountPlan, bind: &Bind) -> sys::Result<OwnedFd> {
    let depth = if bind.recursive { Depth::Tree } else { Depth::One };
    if bind.nofollow {
        clone_tree_nofollow(CWD, &mount.source, depth)
    } else {
        clone_tree(CWD, &mount.source, depth)
    }
}

/// The named flags and no others; where others are locked (mount_namespaces(7)), the named ones on top of them.
pub(super) fn set_flags(fd: &OwnedFd, depth: Depth, mount: &MountPlan) -> Result<()> {
    let Some(flags) = mount.flags else { return Ok(()) };
    match change_attributes(fd, depth, flags.exact) {
        Err(error) if error.errno == Errno::PERM => {
            change_attributes(fd, depth, flags.lenient).during(|| {
                "failed to set user-requested vfs flags on bind-mount: cannot change locked flags".into()
            })
        }
        result => Ok(result?),
    }
}
