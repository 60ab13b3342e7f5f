//! The mounts of a container that is being created: everything is read and checked first, then volumes are made and filled.
//!
//! Of several mounts for one place, that of another container (`--volumes-from`) gives way to one that was asked for, and
//! both stand above the anonymous volumes of `Volumes`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::fill::{self, Others};
use super::text::{self, Asked, Bind, Missing, Named, What};
use super::{Details, LOCAL, verbs};
use crate::container::Record;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::wire::{BelowReadOnly, MountPoint};

/// What is to be at one place.
enum Wanted {
    Asked(Asked),
    /// A key of `Volumes`.
    Anonymous(Asked),
    /// As another container has it.
    Inherited(MountPoint, Details),
}

/// Decides the mounts of a container and makes its volumes; `root` is what the image has. Details go into the record.
///
/// When that fails, named volumes that were made stay, as Docker leaves them.
pub(crate) fn plan(
    engine: &Engine,
    record: &mut Record,
    root: BorrowedFd<'_>,
    below: BelowReadOnly,
) -> Result<Vec<MountPoint>> {
    let wanted = wanted(engine, record)?;
    let mut act = Act { engine, id: &record.id, root, below, made: Vec::new(), details: BTreeMap::new() };
    let outcome =
        wanted.into_iter().map(|(target, one)| act.carry_out(target, one)).collect::<Result<Vec<_>>>();
    let mut mounts = match outcome {
        Ok(mounts) => mounts,
        Err(error) => {
            act.undo();
            return Err(error);
        }
    };
    record.mount_details = act.details;
    mounts.sort_by_key(|mount| text::depth(&mount.destination));
    Ok(mounts)
}

/// Everything that is asked for, by its place, checked. Nothing has been made yet.
fn wanted(engine: &Engine, record: &Record) -> Result<BTreeMap<String, Wanted>> {
    let host = &record.host_config;
    let tmpfs = tmpfs_targets(record)?;
    let mut wanted = BTreeMap::new();
    for from in host.volumes_from.iter().flatten() {
        inherit(engine, from, &mut wanted)?;
    }
    let mut seen = BTreeSet::new();
    for bind in host.binds.iter().flatten() {
        let asked = text::bind(bind, &host.volume_driver)?;
        if tmpfs.contains(&asked.target) {
            return Err(duplicate(&asked.target));
        }
        add(engine, asked, &mut seen, &mut wanted)?;
    }
    for mount in host.mounts.iter().flatten() {
        add(engine, text::mount(mount)?, &mut seen, &mut wanted)?;
    }
    for target in record.config.volumes.iter().flatten().map(|(target, _)| target) {
        let asked = text::anonymous(target)?;
        if !tmpfs.contains(&asked.target) && !wanted.contains_key(&asked.target) {
            // A driver nobody has matters only where a volume is made with it.
            check_driver(engine, "", &host.volume_driver)?;
            wanted.entry(asked.target.clone()).or_insert(Wanted::Anonymous(asked));
        }
    }
    Ok(wanted)
}

/// Checks the mounts of `Tmpfs`; the runtime makes them, so that they are no part of the plan.
fn tmpfs_targets(record: &Record) -> Result<BTreeSet<String>> {
    let tmpfs = record.host_config.tmpfs.iter().flatten();
    tmpfs
        .map(|(target, options)| super::tmpfs::merged(options).and_then(|_| text::tmpfs_target(target)))
        .collect()
}

fn check_driver(engine: &Engine, name: &str, driver: &str) -> Result<()> {
    let exists = engine.volumes.get(name).is_some();
    verbs::check_driver(name, driver, exists).map_err(|error| Error {
        // Docker's clients take a missing object for a missing image.
        kind: if error.kind == Kind::NotFound { Kind::InvalidParameter } else { error.kind },
        ..error
    })
}

fn duplicate(target: &str) -> Error {
    Error::invalid(format!("Duplicate mount point: {target}"))
}

fn add(
    engine: &Engine,
    mut asked: Asked,
    seen: &mut BTreeSet<String>,
    wanted: &mut BTreeMap<String, Wanted>,
) -> Result<()> {
    if !seen.insert(asked.target.clone()) {
        return Err(duplicate(&asked.target));
    }
    match &mut asked.what {
        What::Bind(bind) => check_bind(bind, &engine.settings.data_root)?,
        What::Volume(named) => {
            check_driver(engine, &named.name, &named.driver)?;
            if let Some(driver) = &named.options.driver_config {
                verbs::check_options(&named.name, &driver.options)?;
            }
        }
        What::Tmpfs(options) => drop(super::tmpfs::merged(options)?),
    }
    wanted.insert(asked.target.clone(), Wanted::Asked(asked));
    Ok(())
}

/// Refuses a source that is not there, unless it is to be made. What leads to the engine's own mounts must not keep them
/// from going: it follows them.
fn check_bind(bind: &mut Bind, data_root: &Path) -> Result<()> {
    let source = Path::new(&bind.source);
    if bind.missing == Missing::Refuse && !source.try_exists().unwrap_or(true) {
        let why = format!("bind source path does not exist: {}", bind.source);
        return Err(Error::invalid(format!("invalid mount config for type \"bind\": {why}")));
    }
    if !source.starts_with(data_root) && !data_root.starts_with(source) {
        return Ok(());
    }
    match bind.options.propagation.as_str() {
        "" | "rslave" | "rshared" => Ok(()),
        other => Err(Error::invalid(format!(
            "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is within the daemon root, daemon root: {:?}, bind mount source: {:?}, propagation: {other:?}",
            data_root.display().to_string(),
            bind.source
        ))),
    }
}

fn inherit(engine: &Engine, from: &str, wanted: &mut BTreeMap<String, Wanted>) -> Result<()> {
    let from = text::volumes_from(from)?;
    let container = engine.containers.find(&from.container).map_err(Error::invalid)?;
    let record = container.record();
    for mount in &record.mounts {
        let details = record.mount_details.get(&mount.destination).cloned().unwrap_or_default();
        let mount =
            MountPoint { writable: mount.writable && from.writable, mode: String::new(), ..mount.clone() };
        wanted.insert(mount.destination.clone(), Wanted::Inherited(mount, details));
    }
    Ok(())
}

/// The second half: volumes come to be.
struct Act<'a> {
    engine: &'a Engine,
    /// Of the container.
    id: &'a str,
    root: BorrowedFd<'a>,
    below: BelowReadOnly,
    /// Anonymous volumes that go if the rest fails.
    made: Vec<String>,
    details: BTreeMap<String, Details>,
}

impl Act<'_> {
    fn carry_out(&mut self, target: String, wanted: Wanted) -> Result<MountPoint> {
        let (mount, details) = match wanted {
            Wanted::Inherited(mount, details) => {
                if mount.kind == "volume" && self.engine.volumes.claim(&mount.name, self.id).is_none() {
                    return Err(Error::invalid(format!("get {}: no such volume", mount.name)));
                }
                (mount, details)
            }
            Wanted::Anonymous(asked) => {
                let (mount, details) = self.volume(&asked, &Named::default())?;
                (MountPoint { mode: String::new(), ..mount }, details)
            }
            Wanted::Asked(asked) => match &asked.what {
                What::Volume(named) => self.volume(&asked, named)?,
                What::Bind(bind) => {
                    let (mount, details) = bound(&asked, bind, &self.engine.settings.data_root);
                    let alone = !asked.writable && self.below == BelowReadOnly::AsTheyAre;
                    (mount, Details { read_only_alone: details.read_only_alone || alone, ..details })
                }
                What::Tmpfs(options) => {
                    let mount = MountPoint { kind: "tmpfs".to_owned(), ..blank(&asked) };
                    (mount, Details { tmpfs: options.clone(), ..Details::default() })
                }
            },
        };
        self.details.insert(target, details);
        Ok(mount)
    }

    fn volume(&mut self, asked: &Asked, named: &Named) -> Result<(MountPoint, Details)> {
        let wants_content = !named.options.no_copy && named.options.subpath.is_empty();
        // A file at the place is found before there is a volume that nobody has.
        let content = if wants_content { fill::place(self.root, &asked.target)? } else { None };
        let volume = self.engine.make_volume(&named.name, text::labels(named), Some(self.id))?;
        if named.name.is_empty() {
            self.made.push(volume.name.clone());
        }
        if let Some(content) = content {
            let shared = self.engine.volume_is_shared(&volume.name, self.id);
            fill::fill(&volume, &content, if shared { Others::Some } else { Others::None })?;
        }
        let mount = MountPoint {
            kind: "volume".to_owned(),
            name: volume.name.clone(),
            source: volume.data().to_string_lossy().into_owned(),
            driver: LOCAL.to_owned(),
            // Docker's word for content that several containers may share.
            mode: if asked.mode.is_empty() { "z".to_owned() } else { asked.mode.clone() },
            ..blank(asked)
        };
        let details = Details {
            named: !named.name.is_empty(),
            subpath: named.options.subpath.clone(),
            ..Details::default()
        };
        Ok((mount, details))
    }

    fn undo(&self) {
        for name in &self.made {
            self.engine.volumes.release(name, self.id);
            if let Err(error) = self.engine.volume_remove(name, verbs::Absent::Fine) {
                log::warn(&error);
            }
        }
    }
}

fn blank(asked: &Asked) -> MountPoint {
    MountPoint {
        destination: asked.target.clone(),
        mode: asked.mode.clone(),
        writable: asked.writable,
        ..MountPoint::default()
    }
}

fn bound(asked: &Asked, bind: &Bind, data_root: &Path) -> (MountPoint, Details) {
    let source = Path::new(&bind.source);
    let own = source.starts_with(data_root) || data_root.starts_with(source);
    let propagation = match bind.options.propagation.as_str() {
        "" if own => "rslave",
        "" => "rprivate",
        asked => asked,
    };
    let mount = MountPoint {
        kind: "bind".to_owned(),
        source: bind.source.clone(),
        propagation: propagation.to_owned(),
        ..blank(asked)
    };
    let details = Details {
        named: true,
        make_source: bind.missing == Missing::Make,
        alone: bind.options.non_recursive,
        read_only_alone: bind.options.read_only_non_recursive,
        read_only_below: bind.options.read_only_force_recursive,
        propagation: bind.options.propagation.clone(),
        ..Details::default()
    };
    (mount, details)
}
