//! The two cgroup layouts, each seen from a mount namespace of the test's own.
//!
//! A world lives in a thread with a private mount namespace: what a test or a runtime mounts by mistake is seen
//! by that test alone and goes away with it.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};

use crate::sys;

const CGROUPS: &str = "/sys/fs/cgroup";

/// How cgroups are mounted on /sys/fs/cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As the machine has it: one directory per v1 hierarchy, cgroup2 on `unified`.
    Hybrid,
    /// cgroup2 alone. Its controllers stay with the v1 hierarchies, so only device programs, freeze and kill
    /// can be tested here.
    Unified,
}

impl Layout {
    /// Moves the calling thread into a mount namespace with this layout.
    pub fn enter(self) -> Result<(), String> {
        sys::unshare_mounts().map_err(|error| format!("unshare the mount namespace: {error}"))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(|error| format!("make / private: {error}"))?;
        match self {
            Layout::Hybrid if fs::metadata("/sys/fs/cgroup/cgroup.procs").is_ok() => {
                Err("this machine has cgroup2 alone; v1 cases need the hybrid layout".into())
            }
            Layout::Hybrid => Ok(()),
            Layout::Unified => mount_unified(),
        }
    }

    /// The directories a cgroup named `/path` has: one per mounted v1 hierarchy, or one.
    pub fn directories(self, path: &str) -> Vec<PathBuf> {
        self.hierarchies()
            .map(|hierarchy| below(&hierarchy, path))
            .filter(|cgroup| in_hierarchy(cgroup))
            .collect()
    }

    /// The same, and those in places where no hierarchy is mounted: some runtimes make folders there too.
    pub fn places(self, path: &str) -> Vec<PathBuf> {
        self.hierarchies().map(|hierarchy| below(&hierarchy, path)).collect()
    }

    fn hierarchies(self) -> impl Iterator<Item = PathBuf> {
        let folders = match self {
            Layout::Unified => vec![PathBuf::from(CGROUPS)],
            Layout::Hybrid => {
                fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
            }
        };
        folders.into_iter()
    }

    /// The directory of cgroup `path` in the hierarchy of `controller`.
    pub fn directory(self, controller: &str, path: &str) -> PathBuf {
        match self {
            Layout::Unified => below(Path::new(CGROUPS), path),
            Layout::Hybrid => below(&Path::new(CGROUPS).join(controller), path),
        }
    }
}

fn below(hierarchy: &Path, path: &str) -> PathBuf {
    hierarchy.join(path.trim_start_matches('/'))
}

/// Below a mounted hierarchy: a plain folder has no such file.
fn in_hierarchy(cgroup: &Path) -> bool {
    let above = cgroup.ancestors().skip(1).take_while(|folder| *folder != Path::new(CGROUPS));
    let top = above.last().unwrap_or(Path::new(CGROUPS));
    top.join("cgroup.procs").exists()
}

fn mount_unified() -> Result<(), String> {
    let already = fs::metadata("/sys/fs/cgroup/cgroup.procs").is_ok();
    if already {
        return Ok(());
    }
    unmount(CGROUPS, UnmountFlags::DETACH).map_err(|error| format!("unmount {CGROUPS}: {error}"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("cgroup2", CGROUPS, "cgroup2", flags, None)
        .map_err(|error| format!("mount cgroup2 on {CGROUPS}: {error}"))
}
