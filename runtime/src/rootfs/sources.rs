//! What the parent opens before it clones: bind sources that the child could not reach, or not change.
//!
//! In a user namespace the container's root is nobody on the host: the way to a source may be closed to it. And
//! only a process with rights over the file system may map its ids, once, while the mount is nowhere yet:
//! mount_setattr(2), ID-mapped mounts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, OFlags};

use crate::error::{During, Error, Result};
use crate::idmap::{self, Caller};
use crate::plan::idmap_words::{Idmap, MappedIds};
use crate::plan::ids::{Ids, Map, Range};
use crate::plan::mounts::{Bind, Kind, MountPlan, Peers, Propagation, RootfsPlan};
use crate::sys::files::open_at;
use crate::sys::mounts::{Depth, MountChange, change_mount, clone_tree};
use crate::sys::{self, Errno, Named, Side};

use super::{bind, propagation};

/// Open copies of sources, handed to the child by being inherited.
#[derive(Default)]
pub(crate) struct Sources {
    mounts: Vec<(usize, OwnedFd)>,
    devices: Vec<(usize, OwnedFd)>,
}

impl Sources {
    pub(super) fn take_mount(&mut self, index: usize) -> Option<OwnedFd> {
        take(&mut self.mounts, index)
    }

    pub(super) fn take_device(&mut self, index: usize) -> Option<OwnedFd> {
        take(&mut self.devices, index)
    }
}

fn take(list: &mut Vec<(usize, OwnedFd)>, index: usize) -> Option<OwnedFd> {
    let at = list.iter().position(|(known, _)| *known == index)?;
    Some(list.swap_remove(at).1)
}

/// Opens what `plan` will need. Without a user namespace and without id-mapped mounts that is nothing.
pub(crate) fn prepare(plan: &RootfsPlan) -> Result<Sources> {
    let mut sources = Sources::default();
    let mut namespaces = Vec::new();
    for mount in &plan.mounts {
        let Kind::Bind(bind) = &mount.kind else { continue };
        if let Some(fd) =
            prepare_bind(plan, mount, bind, &mut namespaces).at(|| mount.field(), || mount.act())?
        {
            sources.mounts.push((mount.index, fd));
        }
    }
    if plan.user_namespace {
        sources.devices = prepare_devices(plan);
    }
    Ok(sources)
}

type KnownNamespaces = Vec<(MappedIds, OwnedFd)>;

fn prepare_bind(
    plan: &RootfsPlan,
    mount: &MountPlan,
    bind: &Bind,
    known: &mut KnownNamespaces,
) -> Result<Option<OwnedFd>> {
    if bind.in_tree || bind.idmap.is_none() && !plan.user_namespace {
        return Ok(None);
    }
    let tree = match bind::clone_source(mount, bind) {
        // The child says so where it is known which mount it spoils.
        Err(_) if bind.idmap.is_none() => return Ok(None),
        result => result?,
    };
    // Its copy would be of the host's peer groups: what the child mounts in it must not come out.
    let host = plan.propagation.unwrap_or(Propagation { peers: Peers::Slave, recursive: true });
    propagation::apply(tree.as_fd(), &[Propagation { recursive: true, ..host }])?;
    if let Some(idmap) = &bind.idmap {
        map_ids(tree.as_fd(), idmap, known)
            .during(|| format!("failed to set MOUNT_ATTR_IDMAP on {}", mount.source))?;
    }
    Ok(Some(tree))
}

/// Maps the ids of a source that only the child could open: `tree` is its copy, mounted nowhere yet.
pub(crate) fn map_source(plan: &RootfsPlan, index: usize, tree: BorrowedFd<'_>) -> Result<()> {
    let Some((mount, idmap)) = plan.mounts.iter().find(|mount| mount.index == index).and_then(idmapped)
    else {
        return Err(Error::WrongState(format!("mounts[{index}] is not to be id-mapped")));
    };
    map_ids(tree, idmap, &mut Vec::new())
        .during(|| format!("failed to set MOUNT_ATTR_IDMAP on {}", mount.source))
}

fn idmapped(mount: &MountPlan) -> Option<(&MountPlan, &Idmap)> {
    match &mount.kind {
        Kind::Bind(Bind { idmap: Some(idmap), .. }) => Some((mount, idmap)),
        _ => None,
    }
}

/// Devices with a path of their own: those below `/dev` that every host has are in reach.
fn prepare_devices(plan: &RootfsPlan) -> Vec<(usize, OwnedFd)> {
    let listed = plan.dev.iter().flatten().filter_map(|node| Some((node.index?, node)));
    // A device that is missing is an error of the child's, which names it.
    listed
        .filter_map(|(index, node)| {
            Some((index, clone_tree(CWD, &format!("/{}", node.path), Depth::One).ok()?))
        })
        .collect()
}

fn map_ids(tree: BorrowedFd<'_>, idmap: &Idmap, known: &mut KnownNamespaces) -> Result<()> {
    let at = known.iter().position(|(ids, _)| *ids == idmap.ids).unwrap_or(known.len());
    if at == known.len() {
        known.push((idmap.ids.clone(), open_namespace(&idmap.ids)?));
    }
    let depth = if idmap.recursive { Depth::Tree } else { Depth::One };
    let change = MountChange { ids: Some(known[at].1.as_fd()), ..MountChange::default() };
    match change_mount(tree, depth, &change) {
        Err(error) if error.errno == Errno::INVAL => {
            let act =
                || "the filesystem of the source may not support id-mapped mounts on this kernel".into();
            Err(error).during(act)
        }
        result => Ok(result?),
    }
}

fn open_namespace(ids: &MappedIds) -> Result<OwnedFd> {
    match ids {
        MappedIds::Namespace(path) => Ok(open_user_namespace(path)?),
        MappedIds::Maps(ids) => make_namespace(ids),
    }
}

fn open_user_namespace(path: &Path) -> sys::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
        .named(|| format!("open({})", path.display()))
}

/// A user namespace exists as long as a process or a descriptor is in it: a child makes it and waits until the
/// parent has opened it.
fn make_namespace(ids: &Ids) -> Result<OwnedFd> {
    let (waits, tells) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).named(|| "pipe".into())?;
    match sys::clone3(flag_bits(libc::CLONE_NEWUSER), None)? {
        Side::Child => {
            drop(tells);
            // Ends when the parent closes its end, or ends itself.
            let _ = rustix::io::read(&waits, &mut [0]);
            sys::exit_now(0)
        }
        Side::Parent { pid, pidfd } => {
            let opened = idmap::write(pid, ids, Caller::Privileged).and_then(|()| {
                Ok(open_at(CWD, &format!("/proc/{}/ns/user", pid.as_raw_nonzero()), OFlags::RDONLY)?)
            });
            drop(tells);
            let ended = rustix::process::waitid(
                rustix::process::WaitId::PidFd(pidfd.as_fd()),
                rustix::process::WaitIdOptions::EXITED,
            );
            ended.named(|| "waitid".into())?;
            opened
        }
    }
}

/// Whether the file system of `tree`, which is mounted nowhere, takes other ids: one of them will do to know.
pub(crate) fn id_mapped(tree: BorrowedFd<'_>) -> Result<()> {
    let map = || Map(vec![Range { container: 0, host: 1, size: 1 }]);
    let namespace = make_namespace(&Ids { uid_map: map(), gid_map: map() })?;
    let change = MountChange { ids: Some(namespace.as_fd()), ..MountChange::default() };
    Ok(change_mount(tree, Depth::One, &change)?)
}

fn flag_bits(flag: libc::c_int) -> u64 {
    u64::from(flag.unsigned_abs())
}
