//! The volumes on disk: `<root>/<name>/{_data,volume.json}`, and all of them in memory.
//!
//! A volume gets its name by a rename when it is complete, and loses it by another before its files go. What begins with a
//! dot is no volume: `.new-*` and `.gone-*` are what a crash has left, `.mounts` has places for parts of volumes (`subpath`).
//! A folder without a readable record is a volume all the same: the record is less than the data.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ANONYMOUS, subpath};
use crate::container::lock;
use crate::error::{During as _, Error, Result};
use crate::log;
use crate::wire::Labels;

const RECORD: &str = "volume.json";
const DATA: &str = "_data";
const MOUNTS: &str = ".mounts";

/// All volumes of an engine.
pub(crate) struct Volumes {
    root: PathBuf,
    known: Mutex<Known>,
    /// For names of folders that are no volumes.
    next: AtomicU64,
    /// Held by a prune.
    pub(super) pruning: Mutex<()>,
}

#[derive(Default)]
struct Known {
    by_name: BTreeMap<String, Arc<Volume>>,
    /// Containers that are about to have a volume, by its name. One that never came to be has no folder.
    claims: BTreeMap<String, BTreeSet<String>>,
}

/// One volume.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) name: String,
    /// Its folder; the files are in `data`.
    folder: PathBuf,
    pub(crate) record: Record,
    /// Held by who fills it from an image.
    pub(super) filling: Mutex<()>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) created: Timestamp,
    pub(crate) labels: Labels,
    /// Options of the driver, as they were given.
    #[serde(default)]
    pub(crate) options: Option<BTreeMap<String, String>>,
    /// The container that an anonymous volume was made for. If that never came to be, nobody knows of the volume.
    #[serde(default)]
    pub(crate) made_for: Option<String>,
}

impl Volume {
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.record.labels.as_ref().is_some_and(|labels| labels.contains_key(ANONYMOUS))
    }
}

/// Who has a volume now, beside those who claim it.
pub(super) type Users<'a> = &'a dyn Fn(&str) -> BTreeSet<String>;

impl Volumes {
    /// Reads what is there, and removes what a crash has left.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o701).create(root).during("create", root)?;
        subpath::clear(&root.join(MOUNTS))?;
        let mut known = Known::default();
        for entry in fs::read_dir(root).during("list", root)? {
            let entry = entry.during("list", root)?;
            let folder = entry.path();
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(".new-") || name.starts_with(".gone-") {
                fs::remove_dir_all(&folder).during("remove", &folder)?;
            } else if !name.starts_with('.') && folder.join(DATA).is_dir() {
                super::fill::clear(&folder)?;
                let record = read(&folder, &name)?;
                let volume = Volume { name: name.clone(), folder, record, filling: Mutex::default() };
                known.by_name.insert(name, Arc::new(volume));
            }
        }
        let volumes = Self {
            root: root.to_owned(),
            known: Mutex::new(known),
            next: AtomicU64::default(),
            pruning: Mutex::default(),
        };
        Ok(volumes)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Volume>> {
        lock(&self.known).by_name.values().cloned().collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Volume>> {
        lock(&self.known).by_name.get(name).cloned()
    }

    /// Where a part of a volume may be mounted.
    pub(super) fn mounts(&self) -> PathBuf {
        self.root.join(MOUNTS)
    }

    /// Gives the volume of a name, which is made if there is none; whether it was made. `claimant` is a container that is
    /// about to have it.
    pub(super) fn get_or_create(
        &self,
        name: &str,
        record: Record,
        claimant: Option<&str>,
    ) -> Result<(Arc<Volume>, bool)> {
        let mut known = lock(&self.known);
        let (volume, made) = match known.by_name.get(name) {
            Some(volume) => (Arc::clone(volume), false),
            None => (self.create(name, record)?, true),
        };
        known.by_name.insert(name.to_owned(), Arc::clone(&volume));
        claim(&mut known, name, claimant);
        Ok((volume, made))
    }

    /// Claims a volume that is there.
    pub(super) fn claim(&self, name: &str, claimant: &str) -> Option<Arc<Volume>> {
        let mut known = lock(&self.known);
        let volume = known.by_name.get(name).cloned()?;
        claim(&mut known, name, Some(claimant));
        Some(volume)
    }

    /// A container that claimed a volume will not have it.
    pub(super) fn release(&self, name: &str, claimant: &str) {
        if let Some(claims) = lock(&self.known).claims.get_mut(name) {
            claims.remove(claimant);
        }
    }

    /// Removes a volume that nobody has. `Err(users)` is who has it.
    pub(super) fn remove(
        &self,
        volume: &Volume,
        users: Users<'_>,
        exists: &dyn Fn(&str) -> bool,
    ) -> Result<std::result::Result<(), BTreeSet<String>>> {
        let gone = {
            let mut known = lock(&self.known);
            let users = all_users(&mut known, &volume.name, users, exists);
            if !users.is_empty() {
                return Ok(Err(users));
            }
            let gone = self.root.join(format!(".gone-{}", self.number()));
            fs::rename(&volume.folder, &gone).during("rename", &volume.folder)?;
            known.by_name.remove(&volume.name);
            gone
        };
        fs::remove_dir_all(&gone).during("remove", &gone)?;
        Ok(Ok(()))
    }

    /// Containers that have a volume or are about to.
    pub(super) fn users(
        &self,
        name: &str,
        users: Users<'_>,
        exists: &dyn Fn(&str) -> bool,
    ) -> BTreeSet<String> {
        all_users(&mut lock(&self.known), name, users, exists)
    }

    /// The folder of a new volume, complete when it has its name.
    fn create(&self, name: &str, record: Record) -> Result<Arc<Volume>> {
        let new = self.root.join(format!(".new-{}", self.number()));
        let folder = self.root.join(name);
        let volume = Volume { name: name.to_owned(), folder, record, filling: Mutex::default() };
        let made = make(&new, &volume)
            .and_then(|()| fs::rename(&new, &volume.folder).during("rename", &new))
            .map_err(|error| error.within("error while creating volume root path"));
        if made.is_err() {
            // The first failure is the answer; the next start removes what is left.
            let _ = fs::remove_dir_all(&new);
        }
        made.map(|()| Arc::new(volume))
    }

    fn number(&self) -> String {
        format!("{}-{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed))
    }
}

fn claim(known: &mut MutexGuard<'_, Known>, name: &str, claimant: Option<&str>) {
    if let Some(claimant) = claimant {
        known.claims.entry(name.to_owned()).or_default().insert(claimant.to_owned());
    }
}

fn all_users(
    known: &mut MutexGuard<'_, Known>,
    name: &str,
    users: Users<'_>,
    exists: &dyn Fn(&str) -> bool,
) -> BTreeSet<String> {
    let mut all = users(name);
    if let Some(claims) = known.claims.get_mut(name) {
        claims.retain(|container| exists(container));
        all.extend(claims.iter().cloned());
        if claims.is_empty() {
            known.claims.remove(name);
        }
    }
    all
}

fn make(new: &Path, volume: &Volume) -> Result<()> {
    let make = |path: &Path, mode| DirBuilder::new().mode(mode).create(path).during("create", path);
    make(new, 0o701)?;
    make(&new.join(DATA), 0o755)?;
    let path = new.join(RECORD);
    let text = serde_json::to_vec(&volume.record)
        .map_err(|error| Error::system(format!("write the record of volume {}: {error}", volume.name)))?;
    let mut file = File::create(&path).during("create", &path)?;
    file.write_all(&text).during("write", &path)?;
    // Anonymous volumes are many, and their record says nothing that their name does not.
    if volume.is_anonymous() { Ok(()) } else { file.sync_all().during("sync", &path) }
}

fn read(folder: &Path, name: &str) -> Result<Record> {
    let path = folder.join(RECORD);
    match fs::read(&path) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(record) => return Ok(record),
            Err(error) => log::warn(&format!("read {}: {error}", path.display())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).during("read", &path),
    }
    let metadata = fs::metadata(folder).during("look at", folder)?;
    let generated = name.len() == 64 && name.bytes().all(|digit| digit.is_ascii_hexdigit());
    Ok(Record {
        created: Timestamp::from_second(metadata.ctime()).unwrap_or_default(),
        labels: generated.then(|| BTreeMap::from([(ANONYMOUS.to_owned(), String::new())])),
        options: None,
        made_for: None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::volume) fn record(labels: Labels) -> Record {
        Record {
            created: Timestamp::from_second(1_700_000_000).unwrap(),
            labels,
            options: None,
            made_for: None,
        }
    }

    fn nobody(_: &str) -> BTreeSet<String> {
        BTreeSet::new()
    }

    #[test]
    fn volumes_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(folder.path()).unwrap();
        let labels = Some(BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        let (volume, made) = volumes.get_or_create("v1", record(labels.clone()), None).unwrap();
        assert!(made && volume.data().is_dir());
        assert!(!volumes.get_or_create("v1", record(None), None).unwrap().1);
        fs::write(volume.data().join("file"), "x").unwrap();

        // What a crash may leave, and a volume whose record was lost.
        for name in [".new-1-1", ".gone-1-1"] {
            fs::create_dir_all(folder.path().join(name).join(DATA)).unwrap();
        }
        let name = "ab".repeat(32);
        fs::create_dir_all(folder.path().join(&name).join(DATA)).unwrap();
        fs::create_dir_all(folder.path().join("no-volume")).unwrap();
        fs::write(folder.path().join(&name).join(RECORD), "").unwrap();

        let volumes = Volumes::open(folder.path()).unwrap();
        assert_eq!(
            volumes.all().iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>(),
            [name.as_str(), "v1"]
        );
        assert!(volumes.get(&name).unwrap().is_anonymous());
        let volume = volumes.get("v1").unwrap();
        assert_eq!((&volume.record.labels, volume.data().join("file").is_file()), (&labels, true));
        assert!(!folder.path().join(".new-1-1").exists() && !folder.path().join(".gone-1-1").exists());
    }

    #[test]
    fn who_is_about_to_have_a_volume_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(folder.path()).unwrap();
        let (volume, _) = volumes.get_or_create("v1", record(None), Some("c1")).unwrap();
        let used = volumes.remove(&volume, &nobody, &|_| true).unwrap();
        assert_eq!(used, Err(BTreeSet::from(["c1".to_owned()])));
        // The container never came to be.
        assert_eq!(volumes.remove(&volume, &nobody, &|_| false).unwrap(), Ok(()));
        assert!(volumes.all().is_empty() && !volume.data().exists());
    }
}
