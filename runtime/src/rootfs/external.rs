//! Mounts that criu does not make anew, because they come from outside of the container: named to it at a dump, and
//! given to it again at a restore.
//!
//! A name is the place of the mount in the root without links, so that images of runc fit. A file that is masked has
//! the name of the device that covers it.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, OFlags, StatxFlags, statx};

use crate::error::{During, Result};
use crate::plan::mounts::{Bind, Kind, MountPlan, RootfsPlan};
use crate::sys::files::{make_dir_at, make_node_at, open_at, read_link_at, set_umask, stat_fd};
use crate::sys::mounts::{Depth, attach_at, clone_tree};
use crate::sys::{self, Named as _};

use super::devices::is_null;
use super::mount::{Mounted, find_target, make_file_system, put_in_place};
use super::sources::{Sources, map_source, prepare};
use super::{CgroupView, Last, Missing, RootDir, bind, cgroup_mount, propagation};

const NULL: &str = "/dev/null";

pub(crate) struct Externals<'a> {
    pub(crate) plan: &'a RootfsPlan,
    pub(crate) cgroup: &'a CgroupView<'a>,
}

impl Externals<'_> {
    /// Place and name of each in the container whose root this is.
    pub(crate) fn of_container(&self, root: OwnedFd) -> Result<Vec<(String, String)>> {
        let root = RootDir::new(root);
        let mut names = Vec::new();
        for mount in &self.plan.mounts {
            match &mount.kind {
                Kind::Bind(_) => names.push(place(&root, &mount.target)),
                Kind::Cgroup(_) => names.extend(self.cgroup_binds(&root, mount)?.map(|(name, _)| name)),
                Kind::New(_) | Kind::Remount { .. } => {}
            }
        }
        names.extend(self.devices());
        let masks = self.plan.masked.iter().filter_map(|path| {
            let found = root.find(path, Missing::Fail, Last::Follow).ok()?;
            let kind = FileType::from_raw_mode(stat_fd(&found.fd).ok()?.st_mode);
            (kind != FileType::Directory).then(|| (format!("/{}", found.path), NULL.to_owned()))
        });
        Ok(names.into_iter().map(|name| (name.clone(), name)).chain(masks).collect())
    }

    /// Name and source of each for a container that is to be restored; its root is at `on`, a mount as criu wants it,
    /// and has all mount points. Only in a mount namespace that goes away: what is mounted here is for criu alone.
    ///
    /// A source is not the file that config.json names but a mount of it as the container is to have it: criu forgets
    /// the flags of the second of two mounts of one file system, and ids that are mapped.
    pub(crate) fn prepare(&self, on: &CriuRoot) -> Result<Vec<(String, String)>> {
        let mut sources = prepare(self.plan)?;
        let untouched = clone_tree(CWD, propagation::path_text(&self.plan.path)?, Depth::Tree)?;
        let root = propagation::prepare_root(self.plan)?;
        on.make()?;
        attach_at(untouched, CWD, propagation::path_text(&on.root())?)?;
        // Modes are taken literally, as when the root is built.
        let umask = set_umask(0);
        let named = self.mount_all(&root, &mut sources, on);
        set_umask(umask);
        let mut named = named?;
        let devices = self.devices().filter(|path| path != NULL);
        named.extend(devices.map(|path| (path.clone(), path)));
        named.push((NULL.into(), self.null_of(&root)));
        Ok(named)
    }

    /// What covers masked files. The host's would open a file system of the host to open_by_handle_at(2) (`mask`): it
    /// is taken only where no other can be made.
    fn null_of(&self, root: &RootDir) -> String {
        let made = root.find("dev", Missing::Directory, Last::Follow).and_then(|dev| {
            make_node_at(&dev.fd, "null", FileType::CharacterDevice, 0o666, (1, 3))
                .or_else(|error| if is_null_at(&dev.fd) { Ok(()) } else { Err(error) })?;
            Ok(dev.path)
        });
        made.map_or(NULL.into(), |dev| format!("{}/{dev}/null", self.plan.path.display()))
    }

    fn mount_all(
        &self,
        root: &RootDir,
        sources: &mut Sources,
        on: &CriuRoot,
    ) -> Result<Vec<(String, String)>> {
        let mut named = Vec::new();
        for mount in &self.plan.mounts {
            match &mount.kind {
                Kind::Cgroup(_) => named.extend(self.cgroup_binds(root, mount)?),
                Kind::Remount { .. } => {}
                Kind::New(_) | Kind::Bind(_) => {
                    let act = || format!("create criu restore mountpoint for {} mount", mount.destination);
                    named.extend(self.mount_one(root, mount, sources, on).during(act)?);
                }
            }
        }
        Ok(named)
    }

    fn mount_one(
        &self,
        root: &RootDir,
        mount: &MountPlan,
        sources: &mut Sources,
        on: &CriuRoot,
    ) -> Result<Option<(String, String)>> {
        let Kind::Bind(bind) = &mount.kind else {
            // criu brings the file system: mount points in it are no matter of the root.
            let target = find_target(root, mount, || Ok(Missing::Directory))?;
            let stand_in = make_file_system(&cgroup_mount::top_file_system(None), "tmpfs", 0, None)?;
            put_in_place(&stand_in, &target.fd, mount)?;
            return Ok(None);
        };
        let map_source = |index, tree: BorrowedFd<'_>| map_source(self.plan, index, tree);
        let Mounted::At(fd) = bind::bind(root, mount, bind, sources, &map_source)? else { return Ok(None) };
        let placed = path_of(&fd)?;
        let name =
            placed.strip_prefix(propagation::path_text(&self.plan.path)?).unwrap_or(&placed).to_owned();
        let source = if bind.in_tree { None } else { self.with_its_mount(mount, bind, on)? };
        Ok(Some((name, source.unwrap_or(placed))))
    }

    /// The source in a copy of the whole mount that it is on, which is as the container's is to be. A mount that receives what
    /// the host mounts gets its peers from the one that the source is on, whose root must be at or above its own; and criu asks
    /// one source for all of a group. None where the source is the top of its mount, which is as good.
    fn with_its_mount(&self, mount: &MountPlan, bind: &Bind, on: &CriuRoot) -> Result<Option<String>> {
        let nofollow = if bind.nofollow { OFlags::NOFOLLOW } else { OFlags::empty() };
        let path = path_of(&open_at(CWD, &mount.source, OFlags::PATH | nofollow)?)?;
        let Some(top) = top_of_mount(&path)? else { return Ok(None) };
        let whole = clone_tree(CWD, &top, Depth::One)?;
        bind::set_flags(&whole, Depth::One, mount)?;
        if bind.idmap.is_some() {
            map_source(self.plan, mount.index, whole.as_fd())?;
        }
        let place = on.make_place(mount.index)?;
        attach_at(whole, CWD, &place)?;
        Ok(Some(format!("{place}/{}", path[top.len()..].trim_start_matches('/'))))
    }

    /// The container may have been unable to make devices: then they are the host's.
    fn devices(&self) -> impl Iterator<Item = String> {
        self.plan.dev.iter().flatten().map(|node| format!("/{}", node.path))
    }

    /// Of a cgroup mount that is a set of binds: the name and the source of each.
    fn cgroup_binds(
        &self,
        root: &RootDir,
        mount: &MountPlan,
    ) -> Result<impl Iterator<Item = (String, String)>> {
        let at = place(root, &mount.target);
        let binds = cgroup_mount::binds(self.cgroup)?;
        Ok(binds.into_iter().map(move |(name, source)| (format!("{at}/{name}"), source)))
    }
}

/// A directory that is criu's while it restores: the root in it, and what mounts come from.
pub(crate) struct CriuRoot(pub(crate) PathBuf);

impl CriuRoot {
    /// The container's root.
    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// On a file system of its own, so that no place is left on the host's.
    fn make(&self) -> Result<()> {
        propagation::isolate(&self.0)?;
        let places = make_file_system(&cgroup_mount::top_file_system(None), "tmpfs", 0, None)?;
        attach_at(places, CWD, propagation::path_text(&self.0)?)?;
        Ok(make_dir_at(CWD, propagation::path_text(&self.root())?, 0o755)?)
    }

    fn make_place(&self, index: usize) -> Result<String> {
        let place = self.0.join(index.to_string());
        let place = propagation::path_text(&place)?;
        make_dir_at(CWD, place, 0o755)?;
        Ok(place.to_owned())
    }
}

fn path_of(fd: &OwnedFd) -> sys::Result<String> {
    read_link_at(CWD, &format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The mount point above a path; none if the path is one.
fn top_of_mount(path: &str) -> sys::Result<Option<String>> {
    let mount = |path: &Path| {
        let text = propagation::path_text(path)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let found = statx(CWD, text, flags, StatxFlags::MNT_ID).named(|| format!("statx {text}"))?;
        Ok(found.stx_mnt_id)
    };
    let path = Path::new(path);
    let own = mount(path)?;
    let mut top = path;
    for above in path.ancestors().skip(1) {
        if mount(above)? != own {
            break;
        }
        top = above;
    }
    Ok((top != path).then(|| top.display().to_string()))
}

fn is_null_at(dev: &OwnedFd) -> bool {
    open_at(dev, "null", OFlags::PATH | OFlags::NOFOLLOW).and_then(is_null).unwrap_or(false)
}

/// Where a path leads in the root; as it is written where that cannot be told.
fn place(root: &RootDir, target: &str) -> String {
    let found = root.find(target, Missing::Fail, Last::Follow);
    format!("/{}", found.map_or(target.to_owned(), |found| found.path))
}
