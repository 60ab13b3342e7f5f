//! Volumes, and the mounts of containers: what a user asks for becomes a plan when the container is created (`plan`), and
//! sources for the runtime when it starts (`sources`). `store` has the volumes on disk; `verbs` is what the API calls.

mod fill;
mod plan;
mod propagation;
mod sources;
mod store;
mod subpath;
mod text;
mod tmpfs;
mod verbs;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::container::Record;
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::events::Events;
use crate::wire::MountPoint;

pub(crate) use plan::plan;
pub(crate) use sources::{Access, Planned, Source, sources};
pub(crate) use store::Volumes;
pub(crate) use verbs::{Absent, Which};

/// The one driver there is.
pub(crate) const LOCAL: &str = "local";
/// The label by which anonymous volumes are known.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What the engine has to know of a mount beside what `inspect` shows. By destination, in a container's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Details {
    /// The user has named the volume: it stays when the container goes.
    pub(crate) named: bool,
    /// Folder in the volume, relative; empty: all of it.
    pub(crate) subpath: String,
    /// A source that is not there is made, as a folder.
    pub(crate) make_source: bool,
    /// The mounts below the source are left out.
    pub(crate) alone: bool,
    /// Only the mount itself is read-only, not those below it.
    pub(crate) read_only_alone: bool,
    /// Those below it have to be, or there is no start.
    pub(crate) read_only_below: bool,
    /// The user has asked for this propagation, so that no other one will do.
    pub(crate) propagation: String,
    /// Options of a tmpfs.
    pub(crate) tmpfs: String,
}

/// Tells that a container's volumes were mounted (`mount`), or are no longer (`unmount`).
pub(crate) fn tell(events: &Events, action: &'static str, record: &Record) {
    for mount in record.mounts.iter().filter(|mount| mount.kind == "volume") {
        let mut attributes = BTreeMap::from([
            ("driver".to_owned(), mount.driver.clone()),
            ("container".to_owned(), record.id.clone()),
        ]);
        if action == "mount" {
            attributes.insert("destination".to_owned(), mount.destination.clone());
            attributes.insert("read/write".to_owned(), mount.writable.to_string());
            attributes.insert("propagation".to_owned(), mount.propagation.clone());
        }
        events.publish("volume", action, &mount.name, attributes);
    }
}

/// Removes the volumes that a container had without naming them. One that another container has too stays.
pub(crate) fn remove_anonymous(engine: &Arc<Engine>, record: &Record) -> Result<()> {
    let named =
        |mount: &&MountPoint| record.mount_details.get(&mount.destination).is_some_and(|one| one.named);
    let volumes = record.mounts.iter().filter(|mount| mount.kind == "volume" && !named(mount));
    let mut outcome = Ok(());
    for mount in volumes {
        match engine.volume_remove(&mount.name, Absent::Fine) {
            Ok(()) => {}
            Err(error) if error.kind == Kind::Conflict => {}
            // The others go all the same.
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    outcome
}
