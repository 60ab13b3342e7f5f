//! One cgroup in all its hierarchies.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use crate::error::Result;
use crate::hierarchy::Hierarchies;
use crate::limits::Limits;

/// Who makes the cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// This process, through the file system.
    #[default]
    Cgroupfs,
    /// systemd, as a scope or slice unit.
    Systemd,
    /// Nobody: the caller's cgroup is used as it is.
    Disabled,
}

/// What is known when a cgroup's place is chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Name of the cgroup when `cgroups_path` is empty.
    pub id: &'a str,
    /// `linux.cgroupsPath`: a path for [`Driver::Cgroupfs`], `slice:prefix:name` for [`Driver::Systemd`], or empty.
    pub cgroups_path: &'a str,
    pub driver: Driver,
    /// Without a privileged user: a cgroup that may not be made is not an error as long as nothing asks for it.
    pub rootless: bool,
    /// First part of the unit's name when systemd makes it and `cgroups_path` is empty.
    pub scope_prefix: &'a str,
    /// Annotations; only `org.systemd.property.*` are looked at, and only by [`Driver::Systemd`].
    pub annotations: &'a [(&'a str, &'a str)],
}

/// Which hierarchies a process is in already, so that [`Cgroup::join`] does not move it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Already {
    /// None.
    Nowhere,
    /// The version 2 one: it was cloned with `CLONE_INTO_CGROUP`.
    Unified,
}

/// A cgroup: one directory per hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    paths: BTreeMap<String, PathBuf>,
}

impl Cgroup {
    /// Chooses the directories; makes none.
    ///
    /// # Errors
    /// A `cgroups_path` of the wrong form, or no `devices` hierarchy on version 1.
    pub fn locate(_hierarchies: &Hierarchies, _request: &Request) -> Result<Self> {
        unimplemented!("next commit")
    }

    /// A cgroup made earlier, from what [`Cgroup::paths`] said then.
    pub fn from_paths(paths: &BTreeMap<String, PathBuf>) -> Self {
        Self { paths: paths.clone() }
    }

    /// Directory by controller name; the version 2 one is under `""`.
    pub fn paths(&self) -> &BTreeMap<String, PathBuf> {
        &self.paths
    }

    /// Processes in the cgroup itself; none when it does not exist.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        unimplemented!("next commit")
    }

    /// Processes in the cgroup and all below it; none when it does not exist.
    pub fn all_processes(&self) -> Result<Vec<Pid>> {
        unimplemented!("next commit")
    }

    /// Whether it is frozen; false when it does not exist.
    pub fn is_frozen(&self) -> Result<bool> {
        unimplemented!("next commit")
    }

    /// Makes the directories and, on version 2, enables the controllers above them.
    ///
    /// Rootless without a `cgroups_path`, a hierarchy in which nothing may be made is left out, unless `limits` need it.
    pub fn create(&mut self, _limits: &Limits) -> Result<()> {
        unimplemented!("next commit")
    }

    /// The directory's descriptor for `CLONE_INTO_CGROUP`; none before [`Cgroup::create`] or without a version 2 mount.
    pub fn clone_dir(&self) -> Option<BorrowedFd<'_>> {
        unimplemented!("next commit")
    }

    /// Moves a process in, one write per hierarchy.
    pub fn join(&self, _pid: Pid, _already: Already) -> Result<()> {
        unimplemented!("next commit")
    }

    /// Sets the limits.
    pub fn apply(&self, _limits: &Limits) -> Result<()> {
        unimplemented!("next commit")
    }

    /// Stops every task; returns when all are stopped.
    pub fn freeze(&self) -> Result<()> {
        unimplemented!("next commit")
    }

    /// Lets every task go on.
    pub fn thaw(&self) -> Result<()> {
        unimplemented!("next commit")
    }

    /// Sends a signal to every process in the cgroup and below.
    pub fn kill(&self, _signal: Signal) -> Result<()> {
        unimplemented!("next commit")
    }

    /// Removes the cgroup and all below it. Its processes must be dead or dying; the dying are waited for.
    pub fn delete(&self) -> Result<()> {
        unimplemented!("next commit")
    }

    /// A cgroup below this one: `sub` by controller name, or under `""` for all hierarchies.
    ///
    /// # Errors
    /// A path that leaves this cgroup, or a controller that it has not.
    pub fn child(&self, _sub: &BTreeMap<String, &Path>) -> Result<Self> {
        unimplemented!("next commit")
    }
}
