//! `-v` and `--mount` as they are written: what each asks for, or Docker's words for why it is refused. Nothing here looks at
//! the host. See moby's volume/mounts.

use super::tmpfs;
use crate::error::{Error, Result};
use crate::wire::mount_options::{self, BindOptions, TmpfsOptions, VolumeOptions};
use crate::wire::{Labels, Mount};

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
const CONSISTENCIES: [&str; 3] = ["consistent", "cached", "delegated"];
const DEFAULT_CONSISTENCY: &str = "default";

/// One mount that a container is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Absolute, clean, not the root.
    pub(super) target: String,
    pub(super) writable: bool,
    /// The options of a `-v`, as they were written.
    pub(super) mode: String,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Bind(Bind),
    Volume(Named),
    /// With the options of a mount, separated by commas.
    Tmpfs(String),
}

/// A file or folder of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bind {
    /// Absolute and clean.
    pub(super) source: String,
    pub(super) options: BindOptions,
    pub(super) missing: Missing,
}

/// What becomes of a source that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// A folder is made at the start.
    Make,
    Refuse,
}

/// A volume by name, or a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Empty: an anonymous one.
    pub(super) name: String,
    /// Empty: `local`.
    pub(super) driver: String,
    pub(super) options: VolumeOptions,
}

/// A container whose mounts another one has too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct From {
    pub(super) container: String,
    pub(super) writable: bool,
}

/// Reads `[SOURCE:]TARGET[:OPTIONS]`.
pub(super) fn bind(text: &str, driver: &str) -> Result<Asked> {
    let refused = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.splitn(4, ':').collect();
    let (source, target, mode) = match parts.as_slice() {
        ["", ..] => return Err(refused()),
        [target] => ("", *target, ""),
        // A target with options has no source.
        [_, mode] if is_mode(mode) => return Err(refused()),
        [source, target] => (*source, *target, ""),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(refused()),
    };
    if !is_mode(mode) {
        return Err(Error::invalid(format!("invalid mode: {mode}")));
    }
    let mut asked = of_bind(source, target, mode, driver).map_err(|error| error.within(refused()))?;
    mode.clone_into(&mut asked.mode);
    Ok(asked)
}

fn of_bind(source: &str, target: &str, mode: &str, driver: &str) -> Result<Asked> {
    let words = || mode.split(',');
    let propagation = words().find(|word| PROPAGATIONS.contains(word));
    let no_copy = words().any(|word| word == "nocopy");
    let kind = if source.starts_with('/') { "bind" } else { "volume" };
    let target = checked_target(kind, target)?;
    let what = if kind == "bind" {
        if no_copy {
            return Err(refused(kind, "field VolumeOptions must not be specified"));
        }
        let propagation = propagation.unwrap_or_default().to_owned();
        let options = BindOptions { propagation, ..BindOptions::default() };
        What::Bind(Bind { source: clean(source), options, missing: Missing::Make })
    } else {
        if propagation.is_some() {
            return Err(refused(kind, "field BindOptions must not be specified"));
        }
        let writable = words().all(|word| word != "ro");
        if !writable && source.is_empty() {
            return Err(refused(kind, "must not set ReadOnly mode when using anonymous volumes"));
        }
        let options = VolumeOptions { no_copy, ..VolumeOptions::default() };
        What::Volume(Named { name: source.to_owned(), driver: driver.to_owned(), options })
    };
    Ok(Asked { target, writable: words().all(|word| word != "ro"), mode: String::new(), what })
}

/// Known words, at most one of each class. No words are fine.
fn is_mode(mode: &str) -> bool {
    let class = |word: &str| match word {
        "rw" | "ro" => Some(0),
        "z" | "Z" => Some(1),
        "nocopy" => Some(2),
        _ if PROPAGATIONS.contains(&word) => Some(3),
        _ if CONSISTENCIES.contains(&word) => Some(4),
        _ => None,
    };
    let mut seen = [false; 5];
    mode.is_empty()
        || mode
            .split(',')
            .all(|word| class(word).is_some_and(|class| !std::mem::replace(&mut seen[class], true)))
}

/// Reads an entry of `Mounts`.
pub(super) fn mount(mount: &Mount) -> Result<Asked> {
    let kind = mount.kind.as_str();
    let target = checked_target(kind, &mount.target)?;
    let consistency = mount.consistency.as_str();
    if !consistency.is_empty() && consistency != DEFAULT_CONSISTENCY && !CONSISTENCIES.contains(&consistency)
    {
        return Err(refused(kind, &format!("invalid consistency: {consistency}")));
    }
    let strange: &[(&str, bool)] = &[
        ("BindOptions", kind != "bind" && given(mount.bind_options.as_ref())),
        ("VolumeOptions", kind != "volume" && given(mount.volume_options.as_ref())),
        ("ImageOptions", kind != "image" && given(mount.image_options.as_ref())),
        ("TmpfsOptions", kind != "tmpfs" && given(mount.tmpfs_options.as_ref())),
        ("ClusterOptions", given(mount.cluster_options.as_ref())),
    ];
    let what = match kind {
        "bind" => What::Bind(of_host(mount)?),
        "volume" => What::Volume(of_volume(mount)?),
        "tmpfs" => What::Tmpfs(of_tmpfs(mount)?),
        "image" => return Err(Error::not_implemented("mounts of type \"image\" are not supported")),
        _ => return Err(refused(kind, "mount type unknown")),
    };
    if let Some((field, _)) = strange.iter().find(|(_, given)| *given) {
        return Err(refused(kind, &format!("field {field} must not be specified")));
    }
    Ok(Asked { target, writable: !mount.read_only, mode: String::new(), what })
}

fn given(options: Option<&serde_json::Value>) -> bool {
    options.is_some_and(|options| !options.is_null())
}

fn of_host(mount: &Mount) -> Result<Bind> {
    const KIND: &str = "bind";
    if mount.source.is_empty() {
        return Err(refused(KIND, "field Source must not be empty"));
    }
    let options: BindOptions = mount_options::read(mount.bind_options.as_ref())?.unwrap_or_default();
    let propagation = options.propagation.as_str();
    if !propagation.is_empty() && !PROPAGATIONS.contains(&propagation) {
        return Err(refused(KIND, &format!("invalid propagation mode: {propagation}")));
    }
    absolute(&mount.source).map_err(|why| refused(KIND, &why))?;
    let clash = |what: &str| Err(Error::invalid(format!("mount options conflict: {what}")));
    match (mount.read_only, options.read_only_non_recursive, options.read_only_force_recursive) {
        (false, true, _) => return clash("!ReadOnly && BindOptions.ReadOnlyNonRecursive"),
        (false, _, true) => return clash("!ReadOnly && BindOptions.ReadOnlyForceRecursive"),
        (true, true, true) => return clash("ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"),
        _ => {}
    }
    let missing = if options.create_mountpoint { Missing::Make } else { Missing::Refuse };
    Ok(Bind { source: clean(&mount.source), options, missing })
}

fn of_volume(mount: &Mount) -> Result<Named> {
    const KIND: &str = "volume";
    let options: VolumeOptions = mount_options::read(mount.volume_options.as_ref())?.unwrap_or_default();
    let anonymous = mount.source.is_empty();
    if !options.subpath.is_empty() {
        if anonymous {
            return Err(refused(KIND, "must not set Subpath when using anonymous volumes"));
        }
        if !is_local(&options.subpath) {
            return Err(refused(KIND, "subpath must be a relative path within the volume"));
        }
    }
    if mount.read_only && anonymous {
        return Err(refused(KIND, "must not set ReadOnly mode when using anonymous volumes"));
    }
    let driver = options.driver_config.as_ref().map(|driver| driver.name.clone()).unwrap_or_default();
    Ok(Named { name: mount.source.clone(), driver, options })
}

fn of_tmpfs(mount: &Mount) -> Result<String> {
    const KIND: &str = "tmpfs";
    if !mount.source.is_empty() {
        return Err(refused(KIND, "field Source must not be specified"));
    }
    let options: TmpfsOptions = mount_options::read(mount.tmpfs_options.as_ref())?.unwrap_or_default();
    tmpfs::words(&options, mount.read_only).map_err(|why| refused(KIND, &why))
}

/// Reads `CONTAINER[:OPTIONS]` of `--volumes-from`.
pub(super) fn volumes_from(text: &str) -> Result<From> {
    if text.is_empty() {
        return Err(Error::invalid("volumes-from specification cannot be an empty string"));
    }
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    // These go with the mounts of the other container.
    let foreign = |word: &str| word == "nocopy" || PROPAGATIONS.contains(&word);
    if !is_mode(mode) || mode.split(',').any(foreign) {
        return Err(Error::invalid(format!("invalid mode: {mode}")));
    }
    let writable = mode.split(',').all(|word| word != "ro");
    Ok(From { container: container.to_owned(), writable })
}

/// Checks a target of `Tmpfs`.
pub(super) fn tmpfs_target(target: &str) -> Result<String> {
    not_root(target).and_then(|()| absolute(target)).map_err(Error::invalid)?;
    Ok(clean(target))
}

/// Reads the key of `Volumes`: an image may have written it without the slash.
pub(super) fn anonymous(target: &str) -> Result<Asked> {
    let target = clean(&format!("/{target}"));
    not_root(&target).map_err(Error::invalid)?;
    Ok(Asked { target, writable: true, mode: String::new(), what: What::Volume(Named::default()) })
}

fn checked_target(kind: &str, target: &str) -> Result<String> {
    if target.is_empty() {
        return Err(refused(kind, "field Target must not be empty"));
    }
    not_root(target).and_then(|()| absolute(target)).map_err(|why| refused(kind, &why))?;
    Ok(clean(target))
}

fn not_root(target: &str) -> std::result::Result<(), String> {
    if clean(target) == "/" {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    Ok(())
}

fn absolute(path: &str) -> std::result::Result<(), String> {
    if path.starts_with('/') {
        return Ok(());
    }
    Err(format!("invalid mount path: '{path}' mount path must be absolute"))
}

fn refused(kind: &str, why: &str) -> Error {
    Error::invalid(format!("invalid mount config for type {kind:?}: {why}"))
}

/// The shortest path of the same meaning, links aside, as Go's `path.Clean` has it.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => match names.last() {
                Some(&last) if last != ".." => drop(names.pop()),
                _ if rooted => {}
                _ => names.push(".."),
            },
            name => names.push(name),
        }
    }
    match (rooted, names.join("/")) {
        (true, names) => format!("/{names}"),
        (false, names) if names.is_empty() => ".".to_owned(),
        (false, names) => names,
    }
}

/// Relative, and not out of where it begins.
fn is_local(path: &str) -> bool {
    let clean = clean(path);
    !path.is_empty() && !path.starts_with('/') && clean != ".." && !clean.starts_with("../")
}

/// How many components a target has: what is mounted deeper is mounted later.
pub(super) fn depth(target: &str) -> usize {
    clean(target).matches('/').count()
}

/// The labels that a volume gets.
pub(super) fn labels(named: &Named) -> Labels {
    named.options.labels.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn host(source: &str, propagation: &str) -> What {
        let options = BindOptions { propagation: propagation.to_owned(), ..BindOptions::default() };
        What::Bind(Bind { source: source.to_owned(), options, missing: Missing::Make })
    }

    fn volume(name: &str, no_copy: bool) -> What {
        let options = VolumeOptions { no_copy, ..VolumeOptions::default() };
        What::Volume(Named { name: name.to_owned(), driver: String::new(), options })
    }

    #[test]
    fn what_v_asks_for() {
        let table = [
            ("/a:/b", "/b", true, host("/a", "")),
            ("/a/../x/:/b/./c/", "/b/c", true, host("/x", "")),
            ("/a:/b:ro", "/b", false, host("/a", "")),
            ("/a:/b:rw,Z,rslave,cached", "/b", true, host("/a", "rslave")),
            ("v1:/b", "/b", true, volume("v1", false)),
            ("v1:/b:nocopy,ro", "/b", false, volume("v1", true)),
            ("/b", "/b", true, volume("", false)),
            ("/a:/b:", "/b", true, host("/a", "")),
        ];
        for (text, target, writable, what) in table {
            let asked = bind(text, "").unwrap();
            assert_eq!(
                (asked.target.as_str(), asked.writable, asked.what),
                (target, writable, what),
                "{text}"
            );
        }
        assert_eq!(bind("/a:/b:rw,Z", "").unwrap().mode, "rw,Z");
    }

    #[test]
    fn what_v_may_not_be() {
        let table = [
            ("", "invalid volume specification: ''"),
            (":/b", "invalid volume specification: ':/b'"),
            ("/a:rw", "invalid volume specification: '/a:rw'"),
            ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
            ("/a:/b:bad", "invalid mode: bad"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:z,Z", "invalid mode: z,Z"),
            ("/a:/b:shared,slave", "invalid mode: shared,slave"),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            (
                "v:/x/..",
                "invalid volume specification: 'v:/x/..': invalid mount config for type \"volume\": invalid specification: destination can't be '/'",
            ),
            (
                "/a:b",
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
            ),
            (
                "v:/b:shared",
                "invalid volume specification: 'v:/b:shared': invalid mount config for type \"volume\": field BindOptions must not be specified",
            ),
            (
                "/a:/b:nocopy",
                "invalid volume specification: '/a:/b:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
            ),
            ("/a:", "invalid volume specification: '/a:'"),
        ];
        for (text, words) in table {
            assert_eq!(bind(text, "").unwrap_err().message, words, "{text}");
        }
    }

    fn asked(value: serde_json::Value) -> Result<Asked> {
        mount(&serde_json::from_value::<Mount>(value).unwrap())
    }

    #[test]
    fn what_mounts_ask_for() {
        let bound = asked(json!({"Type": "bind", "Source": "/a/", "Target": "/b", "ReadOnly": true,
            "BindOptions": {"Propagation": "rshared", "CreateMountpoint": true}}))
        .unwrap();
        let What::Bind(bind) = bound.what else { panic!("{bound:?}") };
        assert_eq!((bind.source.as_str(), bind.missing, bound.writable), ("/a", Missing::Make, false));
        assert_eq!(bind.options.propagation, "rshared");

        let named = asked(json!({"Type": "volume", "Source": "v", "Target": "/b",
            "VolumeOptions": {"NoCopy": true, "Subpath": "x/y", "Labels": {"a": "b"}, "DriverConfig": {"Name": "local"}}}))
        .unwrap();
        let What::Volume(named) = named.what else { panic!("{named:?}") };
        assert_eq!((named.name.as_str(), named.driver.as_str()), ("v", "local"));
        assert!(named.options.no_copy && named.options.subpath == "x/y");

        let tmpfs = asked(
            json!({"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1_048_576, "Mode": 0o1770}}),
        );
        assert_eq!(tmpfs.unwrap().what, What::Tmpfs("mode=1770,size=1m".to_owned()));
    }

    #[test]
    fn what_mounts_may_not_be() {
        let bind = "invalid mount config for type \"bind\": ";
        let volume = "invalid mount config for type \"volume\": ";
        let tmpfs = "invalid mount config for type \"tmpfs\": ";
        let table = [
            (json!({"Type": "bind", "Source": "/a"}), format!("{bind}field Target must not be empty")),
            (json!({"Type": "bind", "Target": "/a"}), format!("{bind}field Source must not be empty")),
            (
                json!({"Type": "bind", "Source": "a", "Target": "/b"}),
                format!("{bind}invalid mount path: 'a' mount path must be absolute"),
            ),
            (
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"Propagation": "x"}}),
                format!("{bind}invalid propagation mode: x"),
            ),
            (
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "VolumeOptions": {}}),
                format!("{bind}field VolumeOptions must not be specified"),
            ),
            (
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"ReadOnlyForceRecursive": true}}),
                "mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive".to_owned(),
            ),
            (
                json!({"Type": "volume", "Target": "/b", "BindOptions": {}}),
                format!("{volume}field BindOptions must not be specified"),
            ),
            (
                json!({"Type": "volume", "Target": "/b", "ReadOnly": true}),
                format!("{volume}must not set ReadOnly mode when using anonymous volumes"),
            ),
            (
                json!({"Type": "volume", "Target": "/b", "VolumeOptions": {"Subpath": "a"}}),
                format!("{volume}must not set Subpath when using anonymous volumes"),
            ),
            (
                json!({"Type": "volume", "Source": "v", "Target": "/b", "VolumeOptions": {"Subpath": "a/../../b"}}),
                format!("{volume}subpath must be a relative path within the volume"),
            ),
            (
                json!({"Type": "volume", "Source": "v", "Target": "/"}),
                format!("{volume}invalid specification: destination can't be '/'"),
            ),
            (
                json!({"Type": "tmpfs", "Source": "a", "Target": "/b"}),
                format!("{tmpfs}field Source must not be specified"),
            ),
            (
                json!({"Type": "tmpfs", "Target": "/b", "TmpfsOptions": {"Options": [["suid"]]}}),
                format!("{tmpfs}invalid option: suid"),
            ),
            (
                json!({"Type": "npipe", "Source": "a", "Target": "/b"}),
                "invalid mount config for type \"npipe\": mount type unknown".to_owned(),
            ),
            (
                json!({"Type": "image", "Source": "a", "Target": "/b"}),
                "mounts of type \"image\" are not supported".to_owned(),
            ),
        ];
        for (value, words) in table {
            assert_eq!(asked(value.clone()).unwrap_err().message, words, "{value}");
        }
    }

    #[test]
    fn volumes_of_another_container() {
        let from = |container: &str, writable| From { container: container.to_owned(), writable };
        assert_eq!(volumes_from("c").unwrap(), from("c", true));
        assert_eq!(volumes_from("c:ro").unwrap(), from("c", false));
        assert_eq!(volumes_from("c:z").unwrap(), from("c", true));
        for (text, words) in [
            ("", "volumes-from specification cannot be an empty string"),
            ("c:x", "invalid mode: x"),
            ("c:shared", "invalid mode: shared"),
            ("c:nocopy", "invalid mode: nocopy"),
        ] {
            assert_eq!(volumes_from(text).unwrap_err().message, words);
        }
    }

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        let table = [
            ("/a//b/./c/", "/a/b/c"),
            ("/..", "/"),
            ("/../a", "/a"),
            ("a/..", "."),
            ("../../a/b/..", "../../a"),
            ("", "."),
            ("/", "/"),
        ];
        for (path, clean_one) in table {
            assert_eq!(clean(path), clean_one, "{path}");
        }
        assert_eq!((depth("/a"), depth("/a/b/"), depth("/a/b/c")), (1, 2, 3));
    }
}
