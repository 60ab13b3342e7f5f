//! `docker rmi`: a name is taken away; the image goes with its last one, unless something needs it.
//!
//! The rules and the texts are Docker's: what blocks the removal of an ID, what blocks that of a name, what force
//! overrides, and what is reported.

use std::collections::{BTreeMap, BTreeSet};

use super::Store;
use super::images::Named;
use super::metadata::{IMAGES, ImageRecord, REFERENCES, Target, Writer};
use super::snapshots::Snapshot;
use crate::mutex::lock;
use crate::{Digest, Error, Reference, Result, chain};

/// Characters of an ID that messages show.
const SHORT: usize = 12;

/// How an image is removed.
pub struct Removal<'a> {
    /// Even if it has several names or a stopped container uses it.
    pub force: bool,
    /// Also the images without a name that it was committed from.
    pub parents: bool,
    /// Whether the container with this snapshot runs: then even force does not help.
    pub runs: &'a dyn Fn(&str) -> bool,
}

/// One line of what was done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name, as users know it.
    Untagged(String),
    /// An image by ID, or a layer by chain ID.
    Deleted(Digest),
}

/// What may stand in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heed {
    /// Children, running containers.
    Hard,
    /// These, stopped containers, and names in several repositories.
    All,
    /// All but the names, when they are about to go.
    AllButNames,
}

struct Conflict {
    text: String,
    used: bool,
}

impl Store {
    /// Removes a name or, when it was the last or an ID was given, an image.
    pub fn remove_image(&self, name: &str, removal: &Removal<'_>) -> Result<Vec<Removed>> {
        let named = self.resolve(name)?;
        // No snapshot of the image can be made between the check and the commit.
        let snapshots = lock(&self.snapshots);
        let (removed, gone) = self.metadata.write(|records| {
            let mut act = Act::new(records, &snapshots, removal)?;
            act.remove(&named, name)?;
            Ok((act.removed, act.gone))
        })?;
        drop(snapshots);
        self.collect(&gone)?;
        Ok(removed)
    }
}

/// One removal: the records as they become, and what is to be said of it.
struct Act<'a> {
    records: &'a Writer,
    snapshots: &'a BTreeMap<String, Snapshot>,
    removal: &'a Removal<'a>,
    references: BTreeMap<Reference, Target>,
    images: BTreeMap<Digest, ImageRecord>,
    removed: Vec<Removed>,
    gone: Vec<(Digest, ImageRecord)>,
}

impl<'a> Act<'a> {
    fn new(
        records: &'a Writer,
        snapshots: &'a BTreeMap<String, Snapshot>,
        removal: &'a Removal<'a>,
    ) -> Result<Self> {
        let (references, images) = (records.all(&REFERENCES)?, records.all(&IMAGES)?);
        Ok(Self { records, snapshots, removal, references, images, removed: Vec::new(), gone: Vec::new() })
    }

    fn remove(&mut self, named: &Named, written: &str) -> Result<()> {
        let id = named.image;
        if let Some(reference) = &named.reference {
            self.untag_one(&id, reference, written)?;
            if !self.names_of(&id).is_empty() {
                return Ok(());
            }
            return self.delete(&id, self.heed(), Quiet::UnlessDangling);
        }
        if is_single(&self.names_of(&id)) {
            let heed = if self.removal.force { Heed::Hard } else { Heed::AllButNames };
            self.check(&id, heed).map_err(|conflict| Error::Conflict(conflict.text))?;
            self.untag_all(&id)?;
        }
        self.delete(&id, self.heed(), Quiet::No)
    }

    fn heed(&self) -> Heed {
        if self.removal.force { Heed::Hard } else { Heed::All }
    }

    /// Takes away one name, and with the last tag in a repository its digests there.
    fn untag_one(&mut self, id: &Digest, reference: &Reference, written: &str) -> Result<()> {
        if !self.removal.force
            && is_single(&self.names_of(id))
            && let Some(container) = self.users(id).next()
        {
            let (container, image) = (short(container), short(&id.hex()));
            let why = format!("container {container} is using its referenced image {image}");
            let text = format!("unable to remove repository reference \"{written}\" (must force) - {why}");
            return Err(Error::Conflict(text));
        }
        self.untag(reference)?;
        let rest: Vec<Reference> =
            self.names_of(id).into_iter().filter(|other| other.name() == reference.name()).collect();
        if reference.digest().is_none() && rest.iter().all(|other| other.digest().is_some()) {
            rest.iter().try_for_each(|other| self.untag(other))?;
        }
        Ok(())
    }

    fn untag_all(&mut self, id: &Digest) -> Result<()> {
        self.names_of(id).iter().try_for_each(|reference| self.untag(reference))
    }

    fn untag(&mut self, reference: &Reference) -> Result<()> {
        self.references.remove(reference);
        self.removed.push(Removed::Untagged(reference.familiar()));
        self.records.remove(&REFERENCES, reference)
    }

    fn delete(&mut self, id: &Digest, heed: Heed, quiet: Quiet) -> Result<()> {
        if let Err(conflict) = self.check(id, heed) {
            let silent = match quiet {
                Quiet::No => false,
                Quiet::UnlessDangling => !self.is_dangling(id) || conflict.used,
            };
            return if silent { Ok(()) } else { Err(Error::Conflict(conflict.text)) };
        }
        self.untag_all(id)?;
        let Some(record) = self.images.remove(id) else { return Ok(()) };
        self.records.remove(&IMAGES, id)?;
        self.removed.push(Removed::Deleted(*id));
        self.report_layers(&record);
        let parent = record.parent.filter(|parent| self.removal.parents && self.images.contains_key(parent));
        self.gone.push((*id, record));
        match parent {
            Some(parent) => self.delete(&parent, Heed::All, Quiet::UnlessDangling),
            None => Ok(()),
        }
    }

    /// Layers that no other image has, the topmost first.
    fn report_layers(&mut self, record: &ImageRecord) {
        let chains = |record: &ImageRecord| chain::ids(record.layers.iter().map(|layer| layer.diff_id));
        let kept: BTreeSet<Digest> = self.images.values().flat_map(chains).collect();
        let gone = chains(record).into_iter().rev().filter(|chain| !kept.contains(chain));
        self.removed.extend(gone.map(Removed::Deleted));
    }

    fn check(&self, id: &Digest, heed: Heed) -> std::result::Result<(), Conflict> {
        let conflict = |how: &str, why: &str, used| {
            let text = format!("unable to delete {} ({how}) - {why}", short(&id.hex()));
            Err(Conflict { text, used })
        };
        if self.images.values().any(|record| record.parent == Some(*id)) {
            return conflict("cannot be forced", "image has dependent child images", false);
        }
        if let Some(container) = self.users(id).find(|container| (self.removal.runs)(container)) {
            let why = format!("image is being used by running container {}", short(container));
            return conflict("cannot be forced", &why, true);
        }
        if heed == Heed::All && !self.names_of(id).is_empty() {
            return conflict("must be forced", "image is referenced in multiple repositories", false);
        }
        if heed != Heed::Hard
            && let Some(container) = self.users(id).next()
        {
            let why = format!("image is being used by stopped container {}", short(container));
            return conflict("must be forced", &why, true);
        }
        Ok(())
    }

    /// Snapshots made from an image.
    fn users(&self, id: &Digest) -> impl Iterator<Item = &'a str> {
        let snapshots = self.snapshots.values().filter(move |snapshot| snapshot.image == *id);
        snapshots.map(|snapshot| snapshot.id.as_str())
    }

    fn names_of(&self, id: &Digest) -> Vec<Reference> {
        let names = self.references.iter().filter(|(_, target)| target.image == *id);
        names.map(|(reference, _)| reference.clone()).collect()
    }

    fn is_dangling(&self, id: &Digest) -> bool {
        self.names_of(id).is_empty() && !self.images.values().any(|record| record.parent == Some(*id))
    }
}

/// Whether a conflict is an error.
#[derive(Clone, Copy)]
enum Quiet {
    No,
    /// A name was removed, or a child: that the image must stay is then no failure, unless nothing tells why it stays.
    UnlessDangling,
}

/// At most one tag, and all names in one repository.
fn is_single(names: &[Reference]) -> bool {
    let Some(first) = names.first() else { return true };
    names.iter().filter(|name| name.tag().is_some()).count() <= 1
        && names.iter().all(|name| name.name() == first.name())
}

fn short(id: &str) -> String {
    id.chars().take(SHORT).collect()
}
