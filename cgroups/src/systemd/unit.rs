//! Names: what `linux.cgroupsPath` says about the unit and its slice, and where systemd puts them.

use std::path::{Path, PathBuf};

use crate::error::Refusal;

/// A transient unit to be made, or made earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// `prefix-name.scope`, or `name.slice` if the name says so.
    pub(crate) name: String,
    /// The slice it is to be in; unknown for one made earlier.
    pub(crate) slice: String,
    /// What it is about, for people who list units.
    pub(crate) description: String,
}

impl Unit {
    /// `slice:prefix:name`, where an empty slice is `default_slice`; an empty path is `:prefix:id`.
    pub(crate) fn parse(path: &str, id: &str, prefix: &str, default_slice: &str) -> Result<Self, Refusal> {
        let parts: Vec<&str> = if path.is_empty() { vec!["", prefix, id] } else { path.split(':').collect() };
        let [slice, prefix, name] = parts.as_slice() else {
            return Err(Refusal::SystemdPath(path.to_owned()));
        };
        let slice = if slice.is_empty() { default_slice } else { slice };
        let unit = if is_slice(name) { (*name).to_owned() } else { format!("{prefix}-{name}.scope") };
        if unit.contains('/') {
            return Err(Refusal::UnitName(unit));
        }
        Ok(Self {
            name: unit,
            slice: slice.to_owned(),
            description: format!("libcontainer container {name}"),
        })
    }

    /// From the directory that systemd made for it, or from one that crun made in that for a container's processes.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let is_scope = |path: &&Path| path.extension().is_some_and(|extension| extension == "scope");
        let own = path.parent().filter(is_scope).unwrap_or(path);
        let name = own.file_name()?.to_str()?.to_owned();
        Some(Self { name, slice: String::new(), description: String::new() })
    }

    pub(crate) fn is_slice(&self) -> bool {
        is_slice(&self.name)
    }

    /// Relative to where systemd's own cgroups begin.
    pub(crate) fn directory(&self) -> Result<PathBuf, Refusal> {
        Ok(expand_slice(&self.slice)?.join(&self.name))
    }
}

fn is_slice(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "slice")
}

/// A dash in a slice's name means inside: `a-b.slice` is `a.slice/a-b.slice`. See systemd.slice(5).
pub(crate) fn expand_slice(slice: &str) -> Result<PathBuf, Refusal> {
    let refused = || Refusal::SliceName(slice.to_owned());
    let name = slice
        .strip_suffix(".slice")
        .filter(|name| !name.is_empty() && !name.contains('/'))
        .ok_or_else(refused)?;
    let mut path = PathBuf::new();
    if name == "-" {
        return Ok(path);
    }
    if name.split('-').any(str::is_empty) {
        return Err(refused());
    }
    let ends = name.match_indices('-').map(|(index, _)| index).chain([name.len()]);
    ends.for_each(|end| path.push(format!("{}.slice", &name[..end])));
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named() {
        let parse = |path: &str| Unit::parse(path, "box", "runc", "system.slice");
        let named = |path: &str| parse(path).map(|unit| (unit.slice.clone(), unit.name.clone())).unwrap();
        let pair = |slice: &str, name: &str| (slice.to_owned(), name.to_owned());
        assert_eq!(named(""), pair("system.slice", "runc-box.scope"));
        assert_eq!(named("machine.slice:libpod:1234"), pair("machine.slice", "libpod-1234.scope"));
        assert_eq!(named(":docker:1234"), pair("system.slice", "docker-1234.scope"));
        assert_eq!(named("a.slice:x:kubepods.slice"), pair("a.slice", "kubepods.slice"));
        assert_eq!(
            parse("/a/b").unwrap_err().to_string(),
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead"
        );
        assert!(matches!(parse("a.slice:b:c/../d"), Err(Refusal::UnitName(_))));
    }

    #[test]
    fn a_unit_is_found_by_its_directory() {
        for (path, name) in [
            ("/sys/fs/cgroup/system.slice/runc-a.scope", Some("runc-a.scope")),
            ("/sys/fs/cgroup/machine.slice/libpod-a.scope/container", Some("libpod-a.scope")),
            ("/sys/fs/cgroup/a.slice/a-b.slice", Some("a-b.slice")),
            ("/", None),
        ] {
            assert_eq!(Unit::at(Path::new(path)).map(|unit| unit.name).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn slices_are_expanded() {
        for (slice, path) in [
            ("system.slice", "system.slice"),
            ("test-a-b.slice", "test.slice/test-a.slice/test-a-b.slice"),
            ("-.slice", ""),
        ] {
            assert_eq!(expand_slice(slice).unwrap(), Path::new(path), "{slice}");
        }
        for slice in ["", ".slice", "a", "a/b.slice", "-a.slice", "a--b.slice", "a-.slice"] {
            assert_eq!(expand_slice(slice).unwrap_err().to_string(), format!("invalid slice name: {slice}"));
        }
    }
}
