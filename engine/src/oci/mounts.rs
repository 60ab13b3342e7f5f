//! The mounts of a container in the order in which they are made: the kernel's file systems, then the engine's files and
//! what the user asked for, by depth. What a user puts at a place replaces what would be there.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount as Entry;

use super::{Security, Spec, defaults, shared_memory, tmpfs};
use crate::error::{Error, Result};

/// Where `--init`'s program is in a container.
pub(super) const INIT: &str = "/sbin/docker-init";
/// Those stay writable though the root is not.
const ALWAYS_WRITABLE: [&str; 5] = ["/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"];

/// A mount that a user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mount {
    Bind(Bind),
    /// Options as Docker writes them: `size=64m,mode=1777`.
    Tmpfs {
        target: String,
        options: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bind {
    /// On the host.
    pub(crate) source: PathBuf,
    /// Absolute, in the container.
    pub(crate) target: String,
    pub(crate) access: Access,
    /// `private`, `rprivate`, `shared`, ...; empty: the runtime's default, `rprivate`.
    pub(crate) propagation: String,
    /// With the mounts below the source.
    pub(crate) recursive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Writable,
    /// The mounts below the source stay as they are.
    ReadOnly,
    /// With the mounts below the source.
    RecursivelyReadOnly,
}

impl Mount {
    fn target(&self) -> &str {
        match self {
            Self::Bind(bind) => &bind.target,
            Self::Tmpfs { target, .. } => target,
        }
    }
}

pub(super) struct Mounts {
    pub(super) list: Vec<Entry>,
    /// What the root has to be so that mounts propagate as asked for.
    pub(super) root_propagation: Option<&'static str>,
}

pub(super) fn plan(spec: &Spec<'_>, security: &Security) -> Result<Mounts> {
    let host = &spec.record.host_config;
    let mut asked = spec.mounts.to_vec();
    let users: HashSet<String> = asked.iter().map(|mount| clean(mount.target())).collect();
    asked.extend(files(spec, &users));
    asked.extend(shared_memory(spec, &users)?);
    // The sort is stable: of two at the same depth the user's order stays.
    asked.sort_by_key(|mount| depth(mount.target()));
    let taken: HashSet<String> = asked.iter().map(|mount| clean(mount.target())).collect();

    let mut list = kernel(spec, &taken);
    if let Some(init) = init(spec)? {
        list.push(init);
    }
    for mount in &asked {
        list.push(entry(mount)?);
    }
    for entry in &mut list {
        let place = entry.destination().to_string_lossy().into_owned();
        let stays = ALWAYS_WRITABLE.contains(&place.as_str()) || taken.contains(&place);
        if host.readonly_rootfs && !stays {
            add_read_only(entry);
        }
        if taken.contains(&place) {
            continue;
        }
        let writable_cgroups = security.writable_cgroups.unwrap_or(host.privileged);
        if (host.privileged && place == "/sys")
            || (writable_cgroups && entry.typ().as_deref() == Some("cgroup"))
        {
            remove_read_only(entry);
        }
    }
    Ok(Mounts { list, root_propagation: root_propagation(&asked)? })
}

/// A path without `.`, `..`, double and last slashes.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn depth(path: &str) -> usize {
    clean(path).split('/').filter(|part| !part.is_empty()).count()
}

/// The kernel's file systems but those that something else is mounted over.
fn kernel(spec: &Spec<'_>, taken: &HashSet<String>) -> Vec<Entry> {
    let host = &spec.record.host_config;
    let wanted = |place: &str| {
        let hidden = taken.contains("/dev") && place.starts_with("/dev/");
        let without = place == "/dev/shm" && host.ipc_mode == "none";
        !(taken.contains(place) || hidden || without)
    };
    let entry = |(place, kind, source, options): (&str, &str, &str, &[&str])| {
        let mut options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        if place == "/dev/shm" {
            options.push(format!("size={}", host.shm_size));
        }
        make(place, kind, Path::new(source), options)
    };
    defaults::MOUNTS.into_iter().filter(|(place, ..)| wanted(place)).map(entry).collect()
}

/// The files that each container has of its own.
fn files(spec: &Spec<'_>, users: &HashSet<String>) -> Vec<Mount> {
    let access =
        if spec.record.host_config.readonly_rootfs { Access::RecursivelyReadOnly } else { Access::Writable };
    let names = ["resolv.conf", "hostname", "hosts"];
    let bind = |name: &str| {
        let target = format!("/etc/{name}");
        let source = spec.folder.join(name);
        let propagation = "rprivate".to_owned();
        (!users.contains(&target)).then_some(Mount::Bind(Bind {
            source,
            target,
            access,
            propagation,
            recursive: true,
        }))
    };
    names.into_iter().filter_map(bind).collect()
}

/// /dev/shm where it is not the container's alone.
fn shared_memory(spec: &Spec<'_>, users: &HashSet<String>) -> Result<Option<Mount>> {
    const PLACE: &str = "/dev/shm";
    let source = match spec.record.host_config.ipc_mode.as_str() {
        _ if users.contains(PLACE) => return Ok(None),
        "host" => PathBuf::from(PLACE),
        "shareable" => shared_memory::folder(spec.folder),
        mode if mode.starts_with("container:") => spec
            .joined
            .shm
            .clone()
            .ok_or_else(|| Error::system("the joined container's /dev/shm is not known"))?,
        _ => return Ok(None),
    };
    let propagation = "rprivate".to_owned();
    let access = Access::Writable;
    Ok(Some(Mount::Bind(Bind { source, target: PLACE.to_owned(), access, propagation, recursive: true })))
}

fn init(spec: &Spec<'_>) -> Result<Option<Entry>> {
    if !super::process::has_init(&spec.record.host_config, spec.settings) {
        return Ok(None);
    }
    let program = spec.settings.init.as_deref();
    let program = program.ok_or_else(|| {
        Error::invalid("exec: \"docker-init\": executable file not found in $PATH: the engine was given no program for --init")
    })?;
    Ok(Some(make(INIT, "bind", program, ["bind", "ro"].map(str::to_owned).to_vec())))
}

fn entry(mount: &Mount) -> Result<Entry> {
    match mount {
        Mount::Tmpfs { target, options } => {
            Ok(make(target, "tmpfs", Path::new("tmpfs"), tmpfs::options(options)?))
        }
        Mount::Bind(bind) => {
            let mut options = vec![if bind.recursive { "rbind" } else { "bind" }];
            options.extend(match bind.access {
                Access::Writable => None,
                Access::ReadOnly => Some("ro"),
                Access::RecursivelyReadOnly => Some("rro"),
            });
            options.extend(Some(bind.propagation.as_str()).filter(|word| !word.is_empty()));
            Ok(make(&bind.target, "bind", &bind.source, options.into_iter().map(str::to_owned).collect()))
        }
    }
}

fn make(place: &str, kind: &str, source: &Path, options: Vec<String>) -> Entry {
    let mut entry = Entry::default();
    entry
        .set_destination(clean(place).into())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.to_owned()))
        .set_options(Some(options));
    entry
}

fn add_read_only(entry: &mut Entry) {
    let options = entry.options_mut().get_or_insert_default();
    if !options.iter().any(|option| option == "ro") {
        options.push("ro".to_owned());
    }
}

fn remove_read_only(entry: &mut Entry) {
    entry.options_mut().get_or_insert_default().retain(|option| option != "ro");
}

/// A bind can be shared or a slave only as far as its source and the root are.
fn root_propagation(mounts: &[Mount]) -> Result<Option<&'static str>> {
    let mut propagation = None;
    for mount in mounts {
        let Mount::Bind(bind) = mount else { continue };
        match bind.propagation.as_str() {
            "shared" | "rshared" => {
                check_source(&bind.source, &["shared:"], "shared")?;
                propagation = Some("shared");
            }
            "slave" | "rslave" => {
                check_source(&bind.source, &["shared:", "master:"], "shared or slave")?;
                propagation = propagation.or(Some("rslave"));
            }
            _ => {}
        }
    }
    Ok(propagation)
}

fn check_source(source: &Path, wanted: &[&str], kind: &str) -> Result<()> {
    let real = std::fs::canonicalize(source)
        .map_err(|error| Error::system(format!("look for {}: {error}", source.display())))?;
    let table = std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(|error| Error::system(format!("read /proc/self/mountinfo: {error}")))?;
    let (place, tags) = mount_of(&table, &real)
        .ok_or_else(|| Error::system(format!("Can't find mount point of {}", source.display())))?;
    if tags.iter().any(|tag| wanted.iter().any(|wanted| tag.starts_with(wanted))) {
        return Ok(());
    }
    let source = source.display();
    Err(Error::system(format!("path {source} is mounted on {place} but it is not a {kind} mount")))
}

/// The mount that a path is on, and its optional fields (proc_pid_mountinfo(5)).
fn mount_of<'a>(table: &'a str, path: &Path) -> Option<(String, Vec<&'a str>)> {
    let parse = |line: &'a str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let place = unescape(fields.get(4)?);
        let tags = fields.get(6..)?.iter().copied().take_while(|field| *field != "-").collect();
        path.starts_with(&place).then_some((place, tags))
    };
    // Of those at one place the last one is on top.
    table.lines().filter_map(parse).max_by_key(|(place, _)| place.len())
}

fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_path_is_the_deepest_and_last() {
        let table = "1 0 8:1 / / rw shared:1 - ext4 x rw\n2 1 8:2 / /a rw - ext4 x rw\n3 1 8:3 / /a rw master:7 - ext4 x rw\n4 1 8:3 / /a\\040b rw shared:9 master:2 - ext4 x rw\n";
        for (path, place, tags) in [
            ("/x", "/", &["shared:1"][..]),
            ("/a/y", "/a", &["master:7"]),
            ("/ab", "/", &["shared:1"]),
            ("/a b/c", "/a b", &["shared:9", "master:2"]),
        ] {
            assert_eq!(mount_of(table, Path::new(path)), Some((place.to_owned(), tags.to_vec())), "{path}");
        }
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, cleaned, parts) in
            [("/", "/", 0), ("//a/./b/", "/a/b", 2), ("/a/../../b", "/b", 1), ("c", "/c", 1)]
        {
            assert_eq!((clean(path).as_str(), depth(path)), (cleaned, parts), "{path}");
        }
    }
}
