//! /dev/shm of a container that shares it with others (`--ipc shareable`): a tmpfs on the host that all of them bind. It is
//! there as long as the container that owns it runs.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::container::Record;
use crate::error::{During as _, Result};

/// Where it is in a container's folder.
pub(crate) fn folder(container: &Path) -> PathBuf {
    container.join("mounts/shm")
}

/// Mounts it for a container that shares. What an earlier run left was taken away by [`unmount_left`].
pub(crate) fn prepare(record: &Record, container: &Path) -> Result<()> {
    let host = &record.host_config;
    if host.ipc_mode != "shareable" {
        return Ok(());
    }
    let target = folder(container);
    DirBuilder::new().recursive(true).mode(0o700).create(&target).during("create", &target)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    let data = format!("mode=1777,size={}", host.shm_size);
    let data = std::ffi::CString::new(data).map_err(crate::error::Error::system)?;
    mount("shm", &target, "tmpfs", flags, data.as_c_str()).during("mount", &target)
}

/// Takes it away; containers that joined keep what they have bound.
pub(crate) fn unmount_left(container: &Path) -> Result<()> {
    let target = folder(container);
    match unmount(&target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Not mounted, or not there.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(error) => Err(error).during("unmount", &target),
    }
}
