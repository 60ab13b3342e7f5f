//! How mount events travel between the host and the container: of `/`, of the root filesystem and of single mounts.
//!
//! mount_namespaces(7), SHARED SUBTREES; the runtime specification's `rootfsPropagation`.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::CWD;

use crate::error::Result;
use crate::plan::mounts::{Jail, Peers, Propagation, RootfsPlan};
use crate::sys::mounts::{Depth, MountChange, attach_at, change_mount, change_mount_at, clone_tree};
use crate::sys::{self, Errno};

use super::RootDir;

/// Of `/` where the configuration does not say: mounts of the host still go, those made here do not come back.
const DEFAULT: Propagation = Propagation { peers: Peers::Slave, recursive: true };

/// Cuts the host off as far as the plan wants it, and makes the root filesystem a mount of its own.
pub(super) fn prepare_root(plan: &RootfsPlan) -> Result<RootDir> {
    let own_namespace = plan.jail != Jail::Chroot;
    if own_namespace {
        let (depth, change) = change_of(plan.propagation.unwrap_or(DEFAULT));
        change_mount_at(Path::new("/"), depth, &change).map_err(name_old_kernel)?;
    }
    // As if its parent were so, which keeps what is mounted on the host below it from appearing inside.
    let parent = change(parent_peers(plan));
    if own_namespace && !is_plain(plan.propagation.unwrap_or(DEFAULT)) {
        change_parent(&plan.path, &parent)?;
    }
    let tree = clone_tree(CWD, path_text(&plan.path)?, Depth::Tree)?;
    attach_at(&tree, CWD, path_text(&plan.path)?)?;
    change_mount(&tree, Depth::One, &parent)?;
    Ok(RootDir::new(tree))
}

/// The first call that no kernel before 5.12 has.
fn name_old_kernel(error: sys::Error) -> sys::Error {
    match error.errno {
        Errno::NOSYS => {
            sys::Error { call: format!("Linux 5.12 or later is needed: {}", error.call), ..error }
        }
        _ => error,
    }
}

/// Whether every mount may now be copied, and be the parent of a root. One that is shared would carry the root to its
/// peers, and pivot_root(2) refuses it; one that is unbindable cannot be copied (both EINVAL).
fn is_plain(propagation: Propagation) -> bool {
    propagation.recursive && matches!(propagation.peers, Peers::Slave | Peers::Private)
}

fn parent_peers(plan: &RootfsPlan) -> Peers {
    match plan.propagation {
        Some(Propagation { peers: Peers::Slave, .. }) => Peers::Slave,
        _ => Peers::Private,
    }
}

/// Keeps what will be mounted at a path from appearing elsewhere. What receives the host's mounts goes on to do so, as
/// copies of it have to.
pub(super) fn isolate(path: &Path) -> Result<()> {
    change_parent(path, &change(Peers::Slave))
}

/// Whether a path is the top of a mount only the kernel knows; EINVAL says that it is not.
fn change_parent(rootfs: &Path, change: &MountChange<'_>) -> Result<()> {
    for path in rootfs.ancestors() {
        match change_mount_at(path, Depth::One, change) {
            Err(error) if error.errno == Errno::INVAL && path.parent().is_some() => {}
            result => return Ok(result?),
        }
    }
    Ok(())
}

pub(super) fn path_text(path: &Path) -> sys::Result<&str> {
    path.to_str().ok_or_else(|| sys::Error { call: format!("open({})", path.display()), errno: Errno::ILSEQ })
}

/// What could not be said while the old root was there, or would have reached the host.
pub(super) fn set_final(root: BorrowedFd<'_>, plan: &RootfsPlan) -> Result<()> {
    match plan.propagation {
        Some(word)
            if plan.jail != Jail::Chroot && matches!(word.peers, Peers::Shared | Peers::Unbindable) =>
        {
            let (depth, change) = change_of(word);
            Ok(change_mount(root, depth, &change)?)
        }
        _ => Ok(()),
    }
}

/// The propagation words of one mount, in order.
pub(super) fn apply(mount: BorrowedFd<'_>, words: &[Propagation]) -> sys::Result<()> {
    words.iter().try_for_each(|&word| {
        let (depth, change) = change_of(word);
        change_mount(mount, depth, &change)
    })
}

pub(super) fn change_of(propagation: Propagation) -> (Depth, MountChange<'static>) {
    let depth = if propagation.recursive { Depth::Tree } else { Depth::One };
    (depth, change(propagation.peers))
}

fn change(peers: Peers) -> MountChange<'static> {
    let propagation = match peers {
        Peers::Private => libc::MS_PRIVATE,
        Peers::Shared => libc::MS_SHARED,
        Peers::Slave => libc::MS_SLAVE,
        Peers::Unbindable => libc::MS_UNBINDABLE,
    };
    MountChange { propagation, ..MountChange::default() }
}
