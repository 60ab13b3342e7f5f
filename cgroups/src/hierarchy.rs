//! Which cgroup hierarchies are mounted, where, and where this process is in each.

use std::path::PathBuf;

use crate::error::Result;

/// How the machine (or the container we run in) has its cgroups mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Version 1 only.
    Legacy,
    /// Version 1, and an additional version 2 mount.
    Hybrid,
    /// Version 2 only.
    Unified,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Controllers of version 1 mounted together (`cpu`, `cpuacct`), or `name=systemd`; `""` for version 2.
    pub controllers: Vec<String>,
    /// Where it is mounted, such as `/sys/fs/cgroup/memory`.
    pub mount_point: PathBuf,
    /// This process's cgroup, relative to the mount point, starting with `/`.
    pub own: PathBuf,
}

/// All mounted hierarchies.
#[derive(Clone, Debug)]
pub struct Hierarchies {
    mode: Mode,
    all: Vec<Hierarchy>,
}

impl Hierarchies {
    /// Looks at what is mounted. On pure version 2 this is one statfs(2) and one read of `/proc/self/cgroup`.
    pub fn discover() -> Result<Self> {
        unimplemented!("next commit")
    }

    /// Version 1, 2, or both.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The hierarchies; exactly one on pure version 2.
    pub fn iter(&self) -> std::slice::Iter<'_, Hierarchy> {
        self.all.iter()
    }
}
