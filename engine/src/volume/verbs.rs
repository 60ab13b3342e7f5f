//! What the API does with volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::{Arc, TryLockError};

use jiff::Timestamp;
use knarr_images::store::Space;

use super::store::{Record, Volume};
use super::{ANONYMOUS, LOCAL};
use crate::container::new_id;
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::log;
use crate::wire::{self, Filters, Labels, VolumeCreate, VolumeUsage, VolumesPruned};

/// Options of the driver `local` that Docker knows.
const OPTIONS: [&str; 4] = ["type", "o", "device", "size"];
/// What each of these cannot be without.
const NEEDED: [(&str, &[&str]); 3] =
    [("device", &["type"]), ("type", &["device"]), ("o", &["device", "type"])];

/// Which volumes a prune removes if no filter says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Anonymous,
    /// As before version 1.42 of the API.
    All,
}

/// Whether a volume that is not there is a failure of its removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    Fine,
    Failure,
}

impl Engine {
    /// Makes a volume; one that is there already is the answer as it is.
    pub(crate) fn volume_create(&self, create: VolumeCreate) -> Result<wire::Volume> {
        if create.cluster_volume_spec.is_some() {
            return Err(Error::not_implemented("cluster volumes are not supported"));
        }
        check_driver(&create.name, &create.driver, self.volumes.get(&create.name).is_some())?;
        check_options(&create.name, &create.driver_opts)?;
        let volume = self.make_volume(&create.name, create.labels, None)?;
        Ok(shown(&volume))
    }

    /// The volume of a name, made if need be; an empty name makes an anonymous one.
    pub(super) fn make_volume(
        &self,
        name: &str,
        labels: Labels,
        claimant: Option<&str>,
    ) -> Result<Arc<Volume>> {
        let made_for = claimant.filter(|_| name.is_empty()).map(str::to_owned);
        let (name, labels) = if name.is_empty() {
            let mut labels = labels.unwrap_or_default();
            labels.insert(ANONYMOUS.to_owned(), String::new());
            (new_id()?, Some(labels))
        } else {
            check_name(name)?;
            (name.to_owned(), labels)
        };
        let record = Record { created: Timestamp::now(), labels, options: None, made_for };
        let (volume, made) = self.volumes.get_or_create(&name, record, claimant)?;
        if made {
            self.tell_volume("create", &name);
        }
        Ok(volume)
    }

    pub(crate) fn volume_inspect(&self, name: &str) -> Result<wire::Volume> {
        self.find_volume(name).map(|volume| shown(&volume))
    }

    /// In the order of names.
    pub(crate) fn volume_list(&self, filters: &Filters) -> Result<Vec<wire::Volume>> {
        filters.check(&["dangling", "driver", "label", "name"])?;
        let wanted = filters.flag("dangling")?;
        let names = filters.patterns("name");
        let users = self.volume_users();
        let fits = |volume: &Arc<Volume>| {
            filters.is("driver", LOCAL)
                && names.fit(&volume.name)
                && filters.has_labels("label", volume.record.labels.as_ref())
                && wanted.is_none_or(|wanted| wanted == self.users_of(&users, &volume.name).is_empty())
        };
        Ok(self.volumes.all().iter().filter(|volume| fits(volume)).map(|volume| shown(volume)).collect())
    }

    /// All volumes with their sizes and the numbers of their users, for `system df`.
    pub(crate) fn volume_usage(&self) -> Vec<wire::Volume> {
        let users = self.volume_users();
        let usage = |volume: &Volume| VolumeUsage {
            size: size(volume).and_then(|size| i64::try_from(size).ok()).unwrap_or(-1),
            ref_count: i64::try_from(self.users_of(&users, &volume.name).len()).unwrap_or(i64::MAX),
        };
        self.volumes
            .all()
            .iter()
            .map(|volume| wire::Volume { usage_data: Some(usage(volume)), ..shown(volume) })
            .collect()
    }

    pub(crate) fn volume_remove(&self, name: &str, absent: Absent) -> Result<()> {
        let volume = match self.find_volume(name) {
            Err(_) if absent == Absent::Fine => return Ok(()),
            found => found?,
        };
        self.remove_volume(&volume)
    }

    /// Removes the anonymous volumes of a container that never came to be.
    pub(crate) fn remove_volumes_made_for(&self, container: &str) -> Result<()> {
        let its = |volume: &&Arc<Volume>| volume.record.made_for.as_deref() == Some(container);
        self.volumes.all().iter().filter(its).try_for_each(|volume| self.remove_volume(volume))
    }

    fn remove_volume(&self, volume: &Volume) -> Result<()> {
        let named = |name: &str| {
            let users = self.volume_users();
            users.get(name).cloned().unwrap_or_default()
        };
        match self.volumes.remove(volume, &named, &|id| self.container_exists(id))? {
            Ok(()) => {
                self.tell_volume("destroy", &volume.name);
                Ok(())
            }
            Err(users) => {
                let users = users.into_iter().collect::<Vec<_>>().join(", ");
                Err(Error::conflict(format!("remove {}: volume is in use - [{users}]", volume.name)))
            }
        }
    }

    /// Removes the volumes that no container has.
    pub(crate) fn volume_prune(&self, filters: &Filters, which: Which) -> Result<VolumesPruned> {
        filters.check(&["label", "label!", "all"])?;
        let all = filters.flag("all")?.unwrap_or(false) || which == Which::All;
        let _pruning = match self.volumes.pruning.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Error::conflict("a prune operation is already running"));
            }
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Ok(guard) => guard,
        };
        let users = self.volume_users();
        let mut pruned = VolumesPruned::default();
        for volume in self.volumes.all() {
            let chosen = (all || volume.is_anonymous()) && filters.labels_fit(volume.record.labels.as_ref());
            if !chosen || !self.users_of(&users, &volume.name).is_empty() {
                continue;
            }
            let size = size(&volume).unwrap_or(0);
            match self.remove_volume(&volume) {
                Ok(()) => {
                    pruned.volumes_deleted.push(volume.name.clone());
                    pruned.space_reclaimed += size;
                }
                // A container got it meanwhile, or the disk is at fault; the others go all the same.
                Err(error) => log::warn(&error.within("prune volumes")),
            }
        }
        let reclaimed = BTreeMap::from([("reclaimed".to_owned(), pruned.space_reclaimed.to_string())]);
        self.events.publish("volume", "prune", "", reclaimed);
        Ok(pruned)
    }

    fn find_volume(&self, name: &str) -> Result<Arc<Volume>> {
        self.volumes.get(name).ok_or_else(|| Error::not_found(format!("get {name}: no such volume")))
    }

    /// IDs of the containers on record that have a volume, by its name.
    fn volume_users(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for record in self.containers.all().iter().map(|container| container.record()) {
            // The volumes of a container that is being removed go with it.
            if record.removing && !record.state.status.is_running() {
                continue;
            }
            for mount in record.mounts.iter().filter(|mount| mount.kind == "volume") {
                users.entry(mount.name.clone()).or_default().insert(record.id.clone());
            }
        }
        users
    }

    fn users_of(&self, users: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
        let named = |name: &str| users.get(name).cloned().unwrap_or_default();
        self.volumes.users(name, &named, &|id| self.container_exists(id))
    }

    /// Whether any other container has a volume.
    pub(super) fn volume_is_shared(&self, name: &str, container: &str) -> bool {
        self.users_of(&self.volume_users(), name).iter().any(|user| user != container)
    }

    /// A container that is being made has a folder, and no record yet.
    fn container_exists(&self, id: &str) -> bool {
        let going = self.containers.find(id).is_ok_and(|container| {
            let record = container.record();
            record.removing && !record.state.status.is_running()
        });
        !going && self.containers_folder().join(id).exists()
    }

    fn tell_volume(&self, action: &'static str, name: &str) {
        let attributes = BTreeMap::from([("driver".to_owned(), LOCAL.to_owned())]);
        self.events.publish("volume", action, name, attributes);
    }
}

fn shown(volume: &Volume) -> wire::Volume {
    wire::Volume {
        created_at: volume.record.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        driver: LOCAL.to_owned(),
        labels: volume.record.labels.clone(),
        mountpoint: volume.data().to_string_lossy().into_owned(),
        name: volume.name.clone(),
        options: volume.record.options.clone(),
        scope: "local",
        usage_data: None,
    }
}

/// Bytes of the files of a volume.
fn size(volume: &Volume) -> Option<u64> {
    let data = volume.data();
    let measured = File::open(&data).and_then(|folder| Space::of(folder.as_fd())).during("measure", &data);
    match measured {
        Ok(space) => Some(space.bytes),
        Err(error) => {
            log::warn(&error);
            None
        }
    }
}

/// Only one driver is there. A volume of the same name is another mistake than a driver that is not known.
pub(super) fn check_driver(name: &str, driver: &str, exists: bool) -> Result<()> {
    if driver.is_empty() || driver == LOCAL {
        return Ok(());
    }
    if exists {
        let why = format!("driver '{LOCAL}' already has volume '{name}': volume name must be unique");
        return Err(Error::conflict(format!("create {name}: {why}")));
    }
    let why = format!("error looking up volume plugin {driver}: plugin \"{driver}\" not found");
    Err(Error::not_found(format!("create {name}: {why}")))
}

/// The options of the driver `local` are checked as Docker does, and then refused.
pub(super) fn check_options(name: &str, options: &BTreeMap<String, String>) -> Result<()> {
    let refused = |why: String| Err(Error::invalid(format!("create {name}: {why}")));
    if let Some(option) = options.keys().find(|option| !OPTIONS.contains(&option.as_str())) {
        return refused(format!("invalid option: {option:?}"));
    }
    for (option, needed) in NEEDED {
        if let Some(missing) =
            needed.iter().find(|needed| options.contains_key(option) && !options.contains_key(**needed))
        {
            return refused(format!("missing required option: {missing:?}"));
        }
    }
    match options.keys().next() {
        Some(option) => Err(Error::not_implemented(format!(
            "create {name}: option {option:?} of the volume driver \"local\" is not supported: volumes are folders of the data root"
        ))),
        None => Ok(()),
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.len() == 1 {
        return Err(Error::invalid(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )));
    }
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || !name.bytes().all(fine) {
        return Err(Error::invalid(format!(
            "create {name}: {name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn names_are_those_that_docker_allows() {
        for name in ["v1", "a_b.c-d", "0x"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        assert_eq!(
            check_name("x").unwrap_err().message,
            "create x: volume name is too short, names should be at least two alphanumeric characters"
        );
        for name in [".x", "-x", "a/b", "..", "a b", "é1", "a\n"] {
            let error = check_name(name).unwrap_err();
            assert_eq!(error.kind, Kind::InvalidParameter);
            assert!(error.message.contains("includes invalid characters for a local volume name"), "{error}");
        }
    }

    #[test]
    fn other_drivers_are_not_known() {
        let error = check_driver("v", "nfs", false).unwrap_err();
        assert_eq!(error.kind, Kind::NotFound);
        assert_eq!(error.message, "create v: error looking up volume plugin nfs: plugin \"nfs\" not found");
        assert_eq!(check_driver("v", "nfs", true).unwrap_err().kind, Kind::Conflict);
    }

    #[test]
    fn options_are_checked_and_refused() {
        let check = |options: &[&str]| {
            let options = options.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
            check_options("v", &options)
        };
        assert!(check(&[]).is_ok());
        assert_eq!(check(&["foo"]).unwrap_err().message, "create v: invalid option: \"foo\"");
        assert_eq!(check(&["device"]).unwrap_err().message, "create v: missing required option: \"type\"");
        assert_eq!(check(&["device", "type", "o"]).unwrap_err().kind, Kind::NotImplemented);
    }
}
