//! Choosing a cgroup's directories. Paths are cleaned by their text alone, so `..` never leads out of a hierarchy.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::cgroup::{Cgroup, Driver, Node, Request};
use crate::error::{Error, Result};
use crate::hierarchy::{Hierarchies, Hierarchy, Mode};

impl Cgroup {
    /// Chooses the directories; makes none.
    ///
    /// # Errors
    /// No `devices` hierarchy on version 1: without it a container could use any device. For [`Driver::Systemd`] also a
    /// path of another form, an annotation that is no property, and, rootless, a user manager that does not answer.
    pub fn locate(hierarchies: &Hierarchies, request: &Request) -> Result<Self> {
        match request.driver {
            Driver::Disabled => return Ok(Self { disabled: true, ..Self::from_paths(&BTreeMap::new()) }),
            Driver::Systemd => return Self::locate_unit(hierarchies, request),
            Driver::Cgroupfs => {}
        }
        let path = if request.cgroups_path.is_empty() { request.id } else { request.cgroups_path };
        let mut cgroup =
            Self::at(hierarchies, |hierarchy| directory(hierarchies, hierarchy, Path::new(path)))?;
        cgroup.rootless = request.rootless;
        cgroup.optional = request.rootless && request.cgroups_path.is_empty();
        Ok(cgroup)
    }

    /// One directory in each hierarchy.
    pub(super) fn at(
        hierarchies: &Hierarchies,
        directory: impl Fn(&Hierarchy) -> Result<PathBuf>,
    ) -> Result<Self> {
        let mut cgroup = Self::from_paths(&BTreeMap::new());
        cgroup.pure_v2 = hierarchies.mode() == Mode::Unified;
        for hierarchy in hierarchies {
            let path = directory(hierarchy)?;
            for controller in &hierarchy.controllers {
                cgroup.paths.insert(controller.clone(), path.clone());
            }
            cgroup.nodes.push(Node::new(hierarchy.controllers.clone(), path, hierarchy.mount_point.clone()));
        }
        if !cgroup.pure_v2 && cgroup.node("devices").is_none() {
            return Err(Error::NoHierarchy("devices".to_owned()));
        }
        Ok(cgroup)
    }
}

/// A relative path starts at this process's cgroup. On pure version 2 it starts at that cgroup's parent, since a cgroup
/// with processes cannot have children with controllers.
fn directory(hierarchies: &Hierarchies, hierarchy: &Hierarchy, wanted: &Path) -> Result<PathBuf> {
    let mount = &hierarchy.mount_point;
    let base = match (wanted.is_absolute(), hierarchy.is_v2(), hierarchies.mode()) {
        (true, _, _) => PathBuf::new(),
        (false, true, Mode::Unified) => {
            hierarchies.own(hierarchy)?.parent().unwrap_or(Path::new("")).to_owned()
        }
        (false, _, _) => hierarchies.own(hierarchy)?,
    };
    Ok(mount.join(clean(&base)).join(clean(wanted)))
}

/// Relative, without `.`, `..` and double slashes; what would lead above the start stays there.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

/// `base/sub`, or nothing if that is not at or below `base`.
pub(super) fn below(base: &Path, sub: &Path) -> Option<PathBuf> {
    let mut path = base.to_owned();
    for component in sub.components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path.starts_with(base).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, cleaned) in [
            ("/a/b", "a/b"),
            ("a//b/./c", "a/b/c"),
            ("/../../etc", "etc"),
            ("../../x", "x"),
            ("a/../../b", "b"),
            ("", ""),
            ("..", ""),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(cleaned), "{path}");
        }
    }

    #[test]
    fn below_means_below() {
        let base = Path::new("/c/x");
        assert_eq!(below(base, Path::new("/a/../b")), Some("/c/x/b".into()));
        assert_eq!(below(base, Path::new("")), Some("/c/x".into()));
        assert_eq!(below(base, Path::new("../x/y")), Some("/c/x/y".into()));
        assert_eq!(below(base, Path::new("../xy")), None);
        assert_eq!(below(base, Path::new("..")), None);
    }
}
