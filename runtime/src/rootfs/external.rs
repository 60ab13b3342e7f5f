//! Mounts whose content criu leaves to us, because it comes from outside of the container: named to it at a dump, and
//! given to it again at a restore, along with the mount points that the root itself must have.
//!
//! A name is the place of the mount in the root without links, so that images of runc fit. A file that is masked has
//! the name of the device that covers it.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, OFlags};

use crate::error::{During, Error, Result};
use crate::plan::mounts::{Kind, MountPlan, Peers, Propagation, RootfsPlan};
use crate::sys::files::{open_at, set_umask, stat_fd};
use crate::sys::mounts::{Depth, attach, attach_at, change_mount_at, clone_tree};

use super::mount::find_target;
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
                Kind::Bind(bind) if bind.idmap.is_some() => {
                    let text = format!("id-mapped mount {:?} cannot be checkpointed", mount.destination);
                    return Err(Error::refused(format!("/mounts/{}", mount.index), text));
                }
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

    /// Name and source of each for a container that is to be restored, and the root itself at `on`, made a mount as
    /// criu wants it. Only in a mount namespace that goes away: what is mounted here is for criu alone.
    pub(crate) fn prepare(&self, on: &Path) -> Result<Vec<(String, String)>> {
        let slave = propagation::change_of(Propagation { peers: Peers::Slave, recursive: true });
        change_mount_at(Path::new("/"), slave.0, &slave.1)?;
        let path = propagation::path_text(&self.plan.path)?;
        attach_at(clone_tree(CWD, path, Depth::Tree)?, CWD, propagation::path_text(on)?)?;
        let root = RootDir::new(open_at(CWD, path, OFlags::PATH | OFlags::DIRECTORY)?);
        // Modes are taken literally, as when the root is built.
        let umask = set_umask(0);
        let sources = self.make_mount_points(&root);
        set_umask(umask);
        let mut sources = sources?;
        sources.extend(self.devices().map(|path| (path.clone(), path)));
        if !self.plan.masked.is_empty() {
            sources.push((NULL.into(), NULL.into()));
        }
        Ok(sources)
    }

    fn make_mount_points(&self, root: &RootDir) -> Result<Vec<(String, String)>> {
        let mut sources = Vec::new();
        for mount in &self.plan.mounts {
            match &mount.kind {
                // A v2 one is below /sys, those of v1 are on a tmpfs of criu's: both have their places already.
                Kind::Cgroup(_) => sources.extend(self.cgroup_binds(root, mount)?),
                Kind::Remount { .. } => {}
                // criu brings the content of a tmpfs.
                Kind::Bind(_) if self.is_on_tmpfs(mount) => {
                    sources.push((format!("/{}", mount.target), mount.source.clone()));
                }
                Kind::New(_) if self.is_on_tmpfs(mount) => {}
                _ => {
                    let act = || format!("create criu restore mountpoint for {} mount", mount.destination);
                    sources.extend(make_mount_point(root, mount).during(act)?);
                }
            }
        }
        Ok(sources)
    }

    fn is_on_tmpfs(&self, mount: &MountPlan) -> bool {
        self.plan.mounts.iter().any(|other| {
            let below = mount.target.strip_prefix(&other.target).is_some_and(|rest| rest.starts_with('/'));
            below && matches!(&other.kind, Kind::New(fs) if fs.name == "tmpfs")
        })
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

/// Where a path leads in the root; as it is written where that cannot be told.
fn place(root: &RootDir, target: &str) -> String {
    let found = root.find(target, Missing::Fail, Last::Follow);
    format!("/{}", found.map_or(target.to_owned(), |found| found.path))
}

/// A bind is mounted too, since others may have their mount points in it.
fn make_mount_point(root: &RootDir, mount: &MountPlan) -> Result<Option<(String, String)>> {
    let Kind::Bind(bind) = &mount.kind else {
        find_target(root, mount, || Ok(Missing::Directory))?;
        return Ok(None);
    };
    let source = bind::clone_source(mount, bind)?;
    let target = find_target(root, mount, || bind::kind_of(&source))?;
    attach(&source, &target.fd)?;
    Ok(Some((format!("/{}", target.path), mount.source.clone())))
}
