//! The root filesystem of a container: from a plan to a `/` that only the container sees.
//!
//! The parent calls [`prepare`] before it clones. The child then calls, in this order, [`build`], [`enter_root`],
//! [`make_cwd`], [`finalize`] and [`restrict`]; hooks, the console and more go in between, which is why
//! they are apart. Until `enter_root` the child sees the host's tree, and afterwards no path of the host is opened.
//! Everything is mounted by descriptor, Linux 5.12 or later: mount_namespaces(7), pivot_root(2).

mod bind;
mod cgroup_mount;
mod devices;
mod external;
mod mask;
mod mount;
mod pivot;
mod propagation;
mod root_dir;
mod sources;
mod tmpfs_copyup;

#[cfg(test)]
mod scratch;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod userns_tests;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use knarr_cgroups::{Driver, Hierarchies};

use crate::error::{During, Result};
use crate::plan::mounts::{Kind, MountPlan, RootfsPlan, in_root};
use crate::sys::files::set_umask;
use crate::sys::mounts::{Depth, MountChange, change_mount};

pub(crate) use external::{CriuRoot, Externals};
pub(crate) use sources::{Sources, id_mapped, map_source, prepare};

use devices::Means;
use mask::Mask;
use mount::Mounted;
use root_dir::{Found, Last, Missing, RootDir};

/// What a child knows of its cgroups, for cgroup mounts.
pub(crate) struct CgroupView<'a> {
    pub(crate) hierarchies: &'a Hierarchies,
    /// Directories of the container's cgroup, as `knarr_cgroups::Cgroup::paths` gives them.
    pub(crate) paths: &'a BTreeMap<String, PathBuf>,
    /// The container has a cgroup namespace of its own, new or joined.
    pub(crate) namespace: bool,
    /// The same of a user namespace.
    pub(crate) user_namespace: bool,
    /// systemd makes the directories when the first process joins, not before.
    pub(crate) driver: Driver,
    pub(crate) rootless: bool,
}

/// What [`build`] needs from the life of the process around it.
pub(crate) struct Surroundings<'a> {
    pub(crate) cgroup: CgroupView<'a>,
    /// Called once, before the first cgroup mount or at the end: returns when this process is in its cgroup and, where
    /// one is planned, in a new cgroup namespace.
    pub(crate) enter_cgroup: &'a mut dyn FnMut() -> Result<()>,
    /// Has the parent do it.
    pub(crate) map_source: MapSource<'a>,
}

/// Maps the ids of a source, which is mounted nowhere yet, as mount `usize` wants it.
type MapSource<'a> = &'a dyn Fn(usize, BorrowedFd<'_>) -> Result<()>;

/// A root filesystem that is built.
pub(crate) struct Root {
    dir: RootDir,
    /// Mounts to be made read-only in the end, by their position in `mounts`.
    late_readonly: Vec<(usize, OwnedFd)>,
    mask: Option<Mask>,
}

impl Root {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.fd()
    }
}

/// Mounts everything and makes the devices.
pub(crate) fn build(plan: &RootfsPlan, sources: Sources, around: &mut Surroundings<'_>) -> Result<Root> {
    // Modes are taken literally, as the configuration says them.
    let umask = set_umask(0);
    let result = build_with_no_umask(plan, sources, around);
    set_umask(umask);
    result
}

fn build_with_no_umask(
    plan: &RootfsPlan,
    mut sources: Sources,
    around: &mut Surroundings<'_>,
) -> Result<Root> {
    let dir = propagation::prepare_root(plan).during(|| "error preparing rootfs".into())?;
    let mut root = Root { dir, late_readonly: Vec::new(), mask: None };
    let mut in_cgroup = false;
    for mount in &plan.mounts {
        if !in_cgroup && shows_cgroups(mount) {
            (around.enter_cgroup)()?;
            in_cgroup = true;
        }
        let mounted =
            mount_one(plan, &root, mount, &mut sources, around).at(|| mount.field(), || mount.act())?;
        if let (true, Mounted::At(fd)) = (mount.late_readonly, mounted) {
            root.late_readonly.push((mount.index, fd));
        }
    }
    if let Some(nodes) = &plan.dev {
        let means = if plan.user_namespace { Means::Bind } else { Means::Make };
        devices::fill_dev(&root.dir, nodes, means, &mut sources)?;
    }
    if !plan.masked.is_empty() {
        root.mask = Some(Mask::take_null(&root.dir, plan.label.clone())?);
    }
    if !in_cgroup {
        (around.enter_cgroup)()?;
    }
    Ok(root)
}

fn shows_cgroups(mount: &MountPlan) -> bool {
    match &mount.kind {
        Kind::Cgroup(_) => true,
        Kind::New(file_system) => matches!(file_system.name.as_str(), "cgroup" | "cgroup2"),
        Kind::Bind(_) | Kind::Remount { .. } => false,
    }
}

fn mount_one(
    plan: &RootfsPlan,
    root: &Root,
    mount: &MountPlan,
    sources: &mut Sources,
    around: &Surroundings<'_>,
) -> Result<Mounted> {
    match &mount.kind {
        Kind::Bind(bind) => bind::bind(&root.dir, mount, bind, sources, around.map_source),
        Kind::Cgroup(file_system) => cgroup_mount::mount(&root.dir, mount, file_system, &around.cgroup, plan),
        Kind::New(file_system) => mount::mount_new(plan, &root.dir, mount, file_system),
        Kind::Remount { superblock } => mount::remount(&root.dir, mount, superblock.as_deref()),
    }
}

/// Makes the root `/`. After this the host's tree is gone.
pub(crate) fn enter_root(root: &Root, plan: &RootfsPlan) -> Result<()> {
    pivot::enter(root.fd(), plan).during(|| "error jailing process inside rootfs".into())
}

/// Propagation of `/`, and what had to stay writable until now.
pub(crate) fn finalize(root: &Root, plan: &RootfsPlan) -> Result<()> {
    propagation::set_final(root.fd(), plan).during(|| "unable to apply root propagation flags".into())?;
    let readonly = MountChange { set: libc::MOUNT_ATTR_RDONLY, ..MountChange::default() };
    for (index, mount) in &root.late_readonly {
        change_mount(mount, Depth::One, &readonly)
            .during(|| format!("error remounting {:?} as readonly", plan.mounts[*index].destination))?;
    }
    if plan.readonly {
        change_mount(root.fd(), Depth::One, &readonly)
            .during(|| "error setting rootfs as readonly".into())?;
    }
    Ok(())
}

/// `readonlyPaths`, then `maskedPaths`.
pub(crate) fn restrict(root: &mut Root, plan: &RootfsPlan) -> Result<()> {
    for path in &plan.readonly_paths {
        mask::make_readonly(root.dir.fd(), path)
            .during(|| format!("can't make {:?} read-only", format!("/{path}")))?;
    }
    if let Some(mask) = &mut root.mask {
        for path in &plan.masked {
            mask.cover(root.dir.fd(), path).during(|| format!("can't mask path {:?}", format!("/{path}")))?;
        }
    }
    Ok(())
}

/// Makes the working directory where it is missing, mode 0755, owned by the container's root.
pub(crate) fn make_cwd(root: &Root, cwd: &str) -> Result<()> {
    if in_root(cwd).is_empty() {
        return Ok(());
    }
    let umask = set_umask(0o022);
    let found = root.dir.find(cwd, Missing::Directory, Last::Follow);
    set_umask(umask);
    found.map(drop).during(|| format!("mkdir {cwd}"))
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}
