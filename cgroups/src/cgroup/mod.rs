//! One cgroup in all its hierarchies: where it is, and who is in it. What is done to it stands in the files below.

mod apply;
mod create;
mod delegate;
mod delete;
mod freeze;
mod join;
mod kill;
mod locate;
mod managed;
mod tree;
mod update;
mod wait;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::hierarchy::Hierarchies;

use managed::Managed;

/// Who makes the cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// This process, through the file system.
    #[default]
    Cgroupfs,
    /// systemd, as a scope or slice unit.
    Systemd,
    /// Nobody: the caller's cgroup is used as it is, and every act below does nothing.
    Disabled,
}

/// What is known when a cgroup's place is chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Name of the cgroup when `cgroups_path` is empty.
    pub id: &'a str,
    /// `linux.cgroupsPath`. For [`Driver::Cgroupfs`]: absolute, that is below the mount point of each hierarchy; or
    /// relative to this process's cgroup (version 1) or that cgroup's parent (version 2); or empty. For
    /// [`Driver::Systemd`]: `slice:prefix:name`, where an empty slice is `system.slice` or the user's `user.slice`;
    /// or empty, as `:scope_prefix:id`.
    pub cgroups_path: &'a str,
    pub driver: Driver,
    /// First part of the unit's name when systemd makes it and `cgroups_path` is empty.
    pub scope_prefix: &'a str,
    /// Annotations; only `org.systemd.property.*` are looked at, and only by [`Driver::Systemd`].
    pub annotations: &'a [(&'a str, &'a str)],
    /// Without a privileged user: a cgroup that may not be made is not an error as long as nothing asks for it, and
    /// device rules are set only where possible.
    pub rootless: bool,
}

/// Which hierarchies a process is in already, so that [`Cgroup::join`] does not move it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Already {
    /// None.
    Nowhere,
    /// The version 2 one: it was cloned with `CLONE_INTO_CGROUP` and [`Cgroup::clone_dir`].
    Unified,
}

/// A cgroup: one directory per hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    paths: BTreeMap<String, PathBuf>,
    nodes: Vec<Node>,
    /// No version 1 hierarchy takes part.
    pure_v2: bool,
    /// [`Driver::Disabled`].
    disabled: bool,
    rootless: bool,
    /// Rootless without a `cgroups_path`: nobody asked for this cgroup.
    optional: bool,
    unit: Option<Managed>,
}

/// The directory in one hierarchy.
#[derive(Debug)]
struct Node {
    /// As in [`crate::Hierarchy::controllers`].
    controllers: Vec<String>,
    path: PathBuf,
    /// Unknown when the cgroup was made by another process.
    mount_point: PathBuf,
    dir: OnceCell<Dir>,
}

impl Cgroup {
    /// A cgroup made earlier, from what [`Cgroup::paths`] said then. Without any path no limit can be set.
    pub fn from_paths(paths: &BTreeMap<String, PathBuf>) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        for (controller, path) in paths {
            match nodes.iter_mut().find(|node| node.path == *path) {
                Some(node) => node.controllers.push(controller.clone()),
                None => nodes.push(Node::new(vec![controller.clone()], path.clone(), PathBuf::new())),
            }
        }
        Self {
            paths: paths.clone(),
            pure_v2: nodes.iter().all(Node::is_v2),
            disabled: false,
            nodes,
            rootless: false,
            optional: false,
            unit: None,
        }
    }

    /// For one from [`Cgroup::from_paths`]: permission errors of joining and of device rules are ignored, as they are
    /// for a [`Request`] that is `rootless` and names no path.
    #[must_use]
    pub fn rootless(self) -> Self {
        Self { rootless: true, optional: true, ..self }
    }

    /// Directory by controller name; the version 2 one is under `""`.
    pub fn paths(&self) -> &BTreeMap<String, PathBuf> {
        &self.paths
    }

    /// Processes in the cgroup itself; none when it does not exist.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        match self.main() {
            Some(node) => absent_as_empty(node.dir().and_then(tree::processes)),
            None => Ok(Vec::new()),
        }
    }

    /// Processes in the cgroup and all below it; none when it does not exist.
    pub fn all_processes(&self) -> Result<Vec<Pid>> {
        match self.main() {
            Some(node) => absent_as_empty(node.dir().and_then(tree::all_processes)),
            None => Ok(Vec::new()),
        }
    }

    /// Whether its directory is there.
    pub fn exists(&self) -> bool {
        self.main().is_some_and(|node| node.path.is_dir())
    }

    /// The version 2 directory's descriptor, for `CLONE_INTO_CGROUP`; none if there is no such directory.
    pub fn clone_dir(&self) -> Option<BorrowedFd<'_>> {
        self.unified()?.dir().ok().map(Dir::as_fd)
    }

    /// A cgroup below this one: `sub` by controller name, or under `""` for all hierarchies. Not made here.
    ///
    /// # Errors
    /// A path that leaves this cgroup, or a controller that it has not.
    pub fn child(&self, sub: &BTreeMap<String, &Path>) -> Result<Self> {
        let mut paths = self.paths.clone();
        for (controller, below) in sub {
            if !controller.is_empty() && !paths.contains_key(controller) {
                return Err(Error::UnknownController(controller.clone()));
            }
            // The common key is the version 2 directory's name as well.
            let all = controller.is_empty();
            for (_, path) in paths.iter_mut().filter(|(name, _)| all || *name == controller) {
                *path = locate::below(path, below).ok_or_else(|| Error::BadSubPath(below.to_path_buf()))?;
            }
        }
        let child = Self::from_paths(&paths);
        Ok(Self { rootless: self.rootless, optional: self.optional, disabled: self.disabled, ..child })
    }

    /// The cgroup below this one in which a process is, on pure version 2; none if it is in this one or elsewhere. A cgroup
    /// whose processes have moved down to give controllers to their children takes no process itself (EBUSY).
    ///
    /// # Errors
    /// A file of `/proc` cannot be read.
    pub fn below_with(&self, pid: Pid) -> Result<Option<Self>> {
        let Some(node) = self.unified().filter(|_| self.pure_v2) else { return Ok(None) };
        let directory = Hierarchies::discover()?.unified_directory_of(pid)?;
        let below = directory.as_deref().and_then(|directory| directory.strip_prefix(&node.path).ok());
        match below.filter(|below| !below.as_os_str().is_empty()) {
            Some(below) => self.child(&BTreeMap::from([(String::new(), below)])).map(Some),
            None => Ok(None),
        }
    }

    /// The directory whose list of processes counts: the only one, or the one that cannot be left out on version 1.
    fn main(&self) -> Option<&Node> {
        self.node("devices").or_else(|| self.node("")).or_else(|| self.nodes.first())
    }

    pub(crate) fn is_pure_v2(&self) -> bool {
        self.pure_v2
    }

    /// The directory with a controller's files, if there is one.
    pub(crate) fn dir_of(&self, controller: &str) -> Result<Option<&Dir>> {
        match self.node_of(controller).map(Node::dir) {
            None => Ok(None),
            Some(Err(error)) if error.is_absent() => Ok(None),
            Some(result) => result.map(Some),
        }
    }

    fn unified(&self) -> Option<&Node> {
        self.node("")
    }

    fn node(&self, controller: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.controllers.iter().any(|name| name == controller))
    }

    /// Where a controller's files are.
    fn node_of(&self, controller: &str) -> Option<&Node> {
        if self.pure_v2 { self.unified() } else { self.node(controller) }
    }
}

impl Node {
    fn new(controllers: Vec<String>, path: PathBuf, mount_point: PathBuf) -> Self {
        Self { controllers, path, mount_point, dir: OnceCell::new() }
    }

    fn is_v2(&self) -> bool {
        self.controllers.iter().all(String::is_empty)
    }

    /// systemd's own hierarchy of version 1: it moves processes there itself.
    fn is_systemds(&self) -> bool {
        self.controllers.iter().any(|name| name == "name=systemd")
    }

    /// Opened when it is needed first.
    fn dir(&self) -> Result<&Dir> {
        if let Some(dir) = self.dir.get() {
            return Ok(dir);
        }
        let dir = Dir::open(&self.path)?;
        Ok(self.dir.get_or_init(|| dir))
    }
}

fn absent_as_empty<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(error) if error.is_absent() => Ok(T::default()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(pairs: &[(&str, &str)]) -> BTreeMap<String, PathBuf> {
        pairs.iter().map(|(name, path)| ((*name).to_owned(), PathBuf::from(path))).collect()
    }

    #[test]
    fn joint_hierarchies_are_one_directory() {
        let cgroup = Cgroup::from_paths(&paths(&[
            ("cpu", "/c/x"),
            ("cpuacct", "/c/x"),
            ("devices", "/d/x"),
            ("", "/u/x"),
        ]));
        assert_eq!(cgroup.nodes.len(), 3);
        assert!(!cgroup.pure_v2);
        assert_eq!(cgroup.main().unwrap().path, Path::new("/d/x"));
    }

    #[test]
    fn an_absent_cgroup_is_empty() {
        let cgroup = Cgroup::from_paths(&paths(&[("", "/sys/fs/cgroup/knarr-no-such")]));
        assert!(cgroup.processes().unwrap().is_empty());
        assert!(cgroup.all_processes().unwrap().is_empty());
        assert!(!cgroup.is_frozen().unwrap());
        assert!(!cgroup.exists());
        assert!(cgroup.clone_dir().is_none());
        cgroup.delete().unwrap();
    }

    #[test]
    fn without_any_path_nothing_can_be_set() {
        let cgroup = Cgroup::from_paths(&BTreeMap::new()).rootless();
        let resources = serde_json::from_str(r#"{"pids":{"limit":5}}"#).unwrap();
        let limits =
            crate::Limits::compile(&resources, crate::Mode::Hybrid, crate::DeviceRules::Keep).unwrap();
        let told = cgroup.update(&limits).unwrap_err().to_string();
        assert_eq!(told, "cannot set pids limit: container could not join or create cgroup");
        let told = cgroup.freeze().unwrap_err().to_string();
        assert_eq!(told, "cannot toggle freezer: cgroups not configured for container");
        assert!(cgroup.all_processes().unwrap().is_empty());
        cgroup.delete().unwrap();
    }

    #[test]
    fn children() {
        let cgroup = Cgroup::from_paths(&paths(&[("cpu", "/c/x"), ("devices", "/d/x")]));
        let child = |name: &str, sub: &str| {
            cgroup.child(&BTreeMap::from([(name.to_owned(), Path::new(sub))])).map(|child| child.paths)
        };
        assert_eq!(child("", "a/../b").unwrap(), paths(&[("cpu", "/c/x/b"), ("devices", "/d/x/b")]));
        assert_eq!(child("cpu", "/b").unwrap(), paths(&[("cpu", "/c/x/b"), ("devices", "/d/x")]));
        assert_eq!(
            child("", "../xy").unwrap_err().to_string(),
            "bad sub cgroup path: ../xy is not a sub cgroup path"
        );
        assert_eq!(child("pids", "b").unwrap_err().to_string(), "unknown controller pids in SubCgroupPaths");
    }
}
