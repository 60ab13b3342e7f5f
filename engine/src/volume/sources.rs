//! The mounts of a container that is about to start, as the runtime takes them.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::subpath::{self, Held};
use super::{Details, propagation, text, tmpfs};
use crate::container::Record;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::log;
use crate::oci;
use crate::wire::MountPoint;

/// One mount, in the order in which they are made. It has to live until the runtime has made it.
#[derive(Debug)]
pub(crate) struct Planned {
    /// In the container, absolute and clean.
    pub(crate) target: String,
    pub(crate) source: Source,
}

#[derive(Debug)]
pub(crate) enum Source {
    Bind {
        path: PathBuf,
        access: Access,
        /// `rprivate`, `private`, `rslave`, `slave`, `rshared` or `shared`.
        propagation: String,
        /// `rbind`, not `bind`.
        recursive: bool,
        /// What keeps the path what it is.
        _held: Option<Held>,
    },
    /// With all its options.
    Tmpfs(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Writable,
    /// The mount itself, not those below it.
    ReadOnly,
    /// `rro`.
    ReadOnlyRecursive,
}

/// The mounts of a container. Sources that are to be made are made.
pub(crate) fn sources(engine: &Engine, record: &Record) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    for (target, options) in record.host_config.tmpfs.iter().flatten() {
        let target = text::tmpfs_target(target)?;
        planned.push(Planned { target, source: Source::Tmpfs(tmpfs::merged(options)?) });
    }
    let tmpfs: Vec<String> = planned.iter().map(|mount| mount.target.clone()).collect();
    // What a tmpfs is mounted on is not there.
    for mount in record.mounts.iter().filter(|mount| !tmpfs.contains(&mount.destination)) {
        let details = record.mount_details.get(&mount.destination).cloned().unwrap_or_default();
        let source = source(engine, mount, &details)?;
        planned.push(Planned { target: mount.destination.clone(), source });
    }
    planned.sort_by_key(|mount| text::depth(&mount.target));
    Ok(planned)
}

fn source(engine: &Engine, mount: &MountPoint, details: &Details) -> Result<Source> {
    let access = access(mount, details, oci::Host::get().recursive_read_only)?;
    match mount.kind.as_str() {
        "tmpfs" => Ok(Source::Tmpfs(tmpfs::merged(&details.tmpfs)?)),
        "volume" => {
            let volume = engine.volumes.get(&mount.name);
            let volume =
                volume.ok_or_else(|| Error::invalid(format!("get {}: no such volume", mount.name)))?;
            let held = if details.subpath.is_empty() {
                None
            } else {
                Some(subpath::hold(&volume.data(), &details.subpath, &engine.volumes.mounts())?)
            };
            let path = held.as_ref().map_or_else(|| volume.data(), |held| held.path().to_owned());
            Ok(Source::Bind {
                path,
                access,
                propagation: "rprivate".to_owned(),
                recursive: true,
                _held: held,
            })
        }
        _ => bind(engine, mount, details, access),
    }
}

/// `recursive` is what the kernel can.
fn access(mount: &MountPoint, details: &Details, recursive: bool) -> Result<Access> {
    match () {
        () if mount.writable => Ok(Access::Writable),
        () if !details.read_only_alone && recursive => Ok(Access::ReadOnlyRecursive),
        () if details.read_only_below => Err(Error::system(
            "rro is not supported: mount_setattr(2) is missing (kernel is older than 5.12?)",
        )),
        () => Ok(Access::ReadOnly),
    }
}

fn bind(engine: &Engine, mount: &MountPoint, details: &Details, access: Access) -> Result<Source> {
    let path = PathBuf::from(&mount.source);
    if details.make_source {
        make(&path)?;
    }
    let mut propagation = mount.propagation.clone();
    if let Err(error) = propagation::check(&path, &propagation) {
        let root = &engine.settings.data_root;
        let own = path.starts_with(root) || root.starts_with(&path);
        // The engine chose it, for its own mounts' sake.
        if !own || !details.propagation.is_empty() {
            return Err(error);
        }
        log::debug(&error);
        "rprivate".clone_into(&mut propagation);
    }
    Ok(Source::Bind { path, access, propagation, recursive: !details.alone, _held: None })
}

/// Makes a folder where there is nothing.
fn make(path: &Path) -> Result<()> {
    let text = |error| format!("error while creating mount source path '{}': {error}", path.display());
    if path.try_exists().map_err(|error| Error::system(text(error)))? {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| Error::system(text(error)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn mounts_below_are_read_only_where_that_is_wanted_and_possible() {
        let access = |writable, read_only_alone, read_only_below, recursive| {
            let mount = MountPoint { writable, ..MountPoint::default() };
            let details = Details { read_only_alone, read_only_below, ..Details::default() };
            access(&mount, &details, recursive).map_err(|error| error.message)
        };
        assert_eq!(access(true, false, false, true), Ok(Access::Writable));
        assert_eq!(access(false, false, false, true), Ok(Access::ReadOnlyRecursive));
        assert_eq!(access(false, false, true, true), Ok(Access::ReadOnlyRecursive));
        assert_eq!(access(false, true, false, true), Ok(Access::ReadOnly));
        assert_eq!(access(false, false, false, false), Ok(Access::ReadOnly));
        assert!(access(false, false, true, false).unwrap_err().starts_with("rro is not supported"));
    }

    #[test]
    fn a_missing_source_becomes_a_folder_and_a_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        make(&path).unwrap();
        assert!(fs::metadata(&path).unwrap().is_dir());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o022, 0);
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        make(&file).unwrap();
        let error = make(&file.join("below")).unwrap_err();
        assert!(error.message.starts_with("error while creating mount source path '"), "{error}");
    }
}
