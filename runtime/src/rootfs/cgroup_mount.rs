//! Mounts of type `cgroup`: what the container sees of its cgroups.
//!
//! With a cgroup namespace a hierarchy is mounted anew and shows only what is below the container's cgroup; without
//! one the container's own directory is bound, never the whole hierarchy unless that is all there is. cgroups(7),
//! cgroup_namespaces(7).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use knarr_cgroups::{Hierarchy, Mode};
use rustix::fs::CWD;

use crate::error::{Error, Result};
use crate::plan::mounts::{Attributes, FileSystem, FsOption, MountPlan, RootfsPlan};
use crate::sys::files::{make_dir_at, symlink_at};
use crate::sys::mounts::{Depth, MountChange, attach_at_nofollow, change_mount, clone_tree};
use crate::sys::{self, Errno};

use super::mount::{Mounted, change_attributes, find_target, make_file_system, put_in_place};
use super::{CgroupView, Missing, RootDir, bind, mask, propagation};

pub(super) fn mount(
    root: &RootDir,
    mount: &MountPlan,
    fs: &FileSystem,
    view: &CgroupView<'_>,
    plan: &RootfsPlan,
) -> Result<Mounted> {
    match view.hierarchies.mode() {
        Mode::Unified => mount_unified(root, mount, fs, view, plan),
        Mode::Legacy | Mode::Hybrid => mount_legacy(root, mount, view, plan),
    }
}

fn mount_unified(
    root: &RootDir,
    mount: &MountPlan,
    fs: &FileSystem,
    view: &CgroupView<'_>,
    plan: &RootfsPlan,
) -> Result<Mounted> {
    let target = find_target(root, mount, || Ok(Missing::Directory))?;
    let attributes = mount.flags.map_or(0, |flags| flags.exact.set);
    let fs = FileSystem { name: "cgroup2".into(), ..fs.clone() };
    let made = if view.is_the_hosts() && fs.options.is_empty() {
        bound(whole(view), mount)?
    } else {
        match make_file_system(&fs, &mount.source, attributes, None) {
            // In a user namespace the kernel wants the cgroup namespace to be its own too.
            Err(error) if matches!(error.errno, Errno::PERM | Errno::BUSY) => {
                // Never the whole hierarchy where there is a cgroup of its own: CVE-2023-25809.
                match bound(view.paths.get("").map_or_else(|| whole(view), PathBuf::as_path), mount) {
                    // The container's cgroup is out of sight: better none than the host's.
                    Err(Error::Sys(error)) if error.errno == Errno::NOENT && view.rootless => {
                        mask::empty_directory(plan.label.as_deref())?
                    }
                    result => result?,
                }
            }
            result => result?,
        }
    };
    put_in_place(&made, &target.fd, mount)?;
    Ok(Mounted::At(made))
}

impl CgroupView<'_> {
    /// The host's cgroup namespace, by one who may mount there. The options of cgroup2 belong to all its mounts, and the
    /// kernel lets the newest one in that namespace decide: nsdelegate would be lost for the whole machine.
    fn is_the_hosts(&self) -> bool {
        !(self.namespace || self.user_namespace || self.rootless)
    }
}

fn bound(directory: &Path, mount: &MountPlan) -> Result<OwnedFd> {
    let made = clone_directory(directory)?;
    bind::set_flags(&made, Depth::One, mount)?;
    Ok(made)
}

fn whole<'a>(view: &CgroupView<'a>) -> &'a Path {
    let unified = view.hierarchies.iter().find(|hierarchy| is_unified(hierarchy));
    unified.map_or(Path::new("/sys/fs/cgroup"), |hierarchy| &hierarchy.mount_point)
}

fn is_unified(hierarchy: &Hierarchy) -> bool {
    hierarchy.controllers.iter().all(String::is_empty)
}

fn clone_directory(path: &Path) -> sys::Result<OwnedFd> {
    let text = path
        .to_str()
        .ok_or_else(|| sys::Error { call: format!("open_tree({})", path.display()), errno: Errno::ILSEQ })?;
    let tree = clone_tree(CWD, text, Depth::Tree)?;
    // Nothing is mounted there by the host, and a mount that has peers outside of the container cannot be dumped.
    change_mount(
        &tree,
        Depth::Tree,
        &MountChange { propagation: libc::MS_PRIVATE, ..MountChange::default() },
    )?;
    Ok(tree)
}

const SAFE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// What a mount consists of where it shows directories of the host: their names in it, and their paths.
pub(super) fn binds(view: &CgroupView<'_>) -> Result<Vec<(String, String)>> {
    if view.namespace || view.hierarchies.mode() == Mode::Unified {
        return Ok(Vec::new());
    }
    let named = view.hierarchies.into_iter().filter_map(|hierarchy| Some((hierarchy, name_of(hierarchy)?)));
    named
        .map(|(hierarchy, name)| {
            let source = own_directory(hierarchy, view)?;
            Ok((name.to_owned(), source.to_string_lossy().into_owned()))
        })
        .collect()
}

fn name_of(hierarchy: &Hierarchy) -> Option<&str> {
    hierarchy.mount_point.file_name()?.to_str()
}

/// A tmpfs with a directory per hierarchy, and a link per controller of those that have several.
fn mount_legacy(
    root: &RootDir,
    mount: &MountPlan,
    view: &CgroupView<'_>,
    plan: &RootfsPlan,
) -> Result<Mounted> {
    let target = find_target(root, mount, || Ok(Missing::Directory))?;
    let top = make_file_system(&top_file_system(plan.label.as_deref()), "tmpfs", SAFE, None)?;
    put_in_place(&top, &target.fd, mount)?;
    let attributes = mount.flags.map_or(0, |flags| flags.exact.set);
    let readonly = attributes & libc::MOUNT_ATTR_RDONLY;
    // The usual flags are good for all of it: they are set at once, in the end.
    let at_once = !view.namespace && attributes & SAFE == SAFE;
    for hierarchy in view.hierarchies {
        let Some(name) = name_of(hierarchy) else { continue };
        let made = open_hierarchy(hierarchy, view, SAFE | readonly)?;
        if !view.namespace && !at_once {
            bind::set_flags(&made, Depth::One, mount)?;
        }
        make_dir_at(&top, name, 0o755)?;
        attach_at_nofollow(&made, &top, name)?;
        propagation::apply(made.as_fd(), &mount.propagation)?;
        link_controllers(&top, hierarchy, name)?;
    }
    if at_once {
        bind::set_flags(&top, Depth::Tree, mount)?;
    } else {
        change_attributes(&top, Depth::One, Attributes { set: readonly, clear: 0 })?;
    }
    Ok(Mounted::At(top))
}

pub(super) fn top_file_system(label: Option<&str>) -> FileSystem {
    let pair = |key: &str, value: &str| FsOption::Pair(key.into(), value.into());
    let context = label.map(|label| pair("context", label));
    let options = [pair("mode", "755")].into_iter().chain(context).collect();
    FileSystem { name: "tmpfs".into(), options, inherits_mode: false, copy_up: false, label_root: None }
}

/// `attributes`: for a mount of its own.
fn open_hierarchy(hierarchy: &Hierarchy, view: &CgroupView<'_>, attributes: u64) -> Result<OwnedFd> {
    if view.namespace {
        let (fs, source) = namespaced(hierarchy);
        return Ok(make_file_system(&fs, &source, attributes, None)?);
    }
    Ok(clone_directory(&own_directory(hierarchy, view)?)?)
}

/// The hierarchy that exists with these controllers, or this name, is the one that is mounted.
fn namespaced(hierarchy: &Hierarchy) -> (FileSystem, String) {
    let options = hierarchy.controllers.iter().filter(|controller| !controller.is_empty());
    let option = |controller: &String| match controller.split_once('=') {
        Some((key, value)) => FsOption::Pair(key.into(), value.into()),
        None => FsOption::Flag(controller.clone()),
    };
    let name = if is_unified(hierarchy) { "cgroup2" } else { "cgroup" };
    let options = options.map(option).collect();
    let fs =
        FileSystem { name: name.into(), options, inherits_mode: false, copy_up: false, label_root: None };
    // Named hierarchies have their name as source, so that `findmnt` shows it.
    let source = hierarchy.controllers.iter().find_map(|controller| controller.strip_prefix("name="));
    (fs, source.unwrap_or("cgroup").to_owned())
}

/// The container's cgroup; where it has none in this hierarchy, the one its maker is in.
fn own_directory(hierarchy: &Hierarchy, view: &CgroupView<'_>) -> Result<PathBuf> {
    if let Some(known) = hierarchy.controllers.iter().find_map(|controller| view.paths.get(controller)) {
        return Ok(known.clone());
    }
    let own = view.hierarchies.own(hierarchy)?;
    Ok(hierarchy.mount_point.join(own.strip_prefix("/").unwrap_or(&own)))
}

fn link_controllers(top: &OwnedFd, hierarchy: &Hierarchy, name: &str) -> sys::Result<()> {
    for controller in hierarchy.controllers.iter().filter(|controller| controller.as_str() != name) {
        if hierarchy.controllers.len() < 2 || controller.contains('=') {
            continue;
        }
        match symlink_at(name, top, controller) {
            Err(error) if error.errno != Errno::EXIST => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
