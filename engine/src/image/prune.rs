//! `docker image prune`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, TryLockError};

use jiff::Timestamp;
use knarr_images::store::{Image, Removal};
use knarr_images::{Digest, chain};

use super::list::created;
use super::remove::Labels;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::wire::{Filters, ImageDeleted, ImagesPruned, point_in_time};

/// Held by a prune; there is one engine in a process.
static PRUNING: Mutex<()> = Mutex::new(());

impl Engine {
    /// Removes images that no container has: those without a tag, or all (`dangling=false`).
    pub(crate) fn image_prune(&self, filters: &Filters) -> Result<ImagesPruned> {
        filters.check(&["dangling", "label", "label!", "until"])?;
        let dangling = filters.flag("dangling")?.unwrap_or(true);
        let until = until(filters)?;
        let _pruning = match PRUNING.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Error::conflict("a prune operation is already running"));
            }
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Ok(guard) => guard,
        };
        let images = self.images.images()?;
        let sizes = self.layer_sizes(&images)?;
        let parents: BTreeSet<Digest> = images.iter().filter_map(|image| image.record.parent).collect();
        let labels = self.labels_of_all()?;
        let mut deleted = Vec::new();
        for image in &images {
            let tagged = image.tags().next().is_some();
            let needed = parents.contains(&image.id) && (dangling || image.references.is_empty());
            if needed || (dangling && tagged) || !self.fits(image, filters, until) {
                continue;
            }
            deleted.extend(self.prune_one(image, &labels));
        }
        let freed = deleted.iter().filter_map(|one| match one {
            ImageDeleted::Deleted(chain) => sizes.get(chain),
            ImageDeleted::Untagged(_) => None,
        });
        let space_reclaimed = freed.sum();
        let reclaimed = BTreeMap::from([("reclaimed".to_owned(), u64::to_string(&space_reclaimed))]);
        self.events.publish("image", "prune", "", reclaimed);
        Ok(ImagesPruned { images_deleted: Some(deleted).filter(|list| !list.is_empty()), space_reclaimed })
    }

    fn fits(&self, image: &Image, filters: &Filters, until: Option<Timestamp>) -> bool {
        // One that went as the parent of another is no longer there.
        let Ok(config) = self.images.config(&image.id) else { return false };
        let old = until.is_none_or(|until| created(&config).is_some_and(|created| created <= until));
        old && filters.labels_fit(Some(&config.parts().config.labels))
    }

    /// What is in use stays, as it was when the first name that keeps it was met.
    fn prune_one(&self, image: &Image, labels: &Labels) -> Vec<ImageDeleted> {
        let names: Vec<String> = match image.references.as_slice() {
            [] => vec![image.id.to_string()],
            names => names.iter().map(ToString::to_string).collect(),
        };
        let runs = |id: &str| self.container_runs(id);
        let mut deleted = Vec::new();
        for name in names {
            let removal = Removal { force: false, parents: true, runs: &runs };
            match self.images.remove_image(&name, &removal) {
                Ok(removed) => deleted.extend(self.report_removed(image.id, removed, labels)),
                Err(error) => {
                    let error = Error::from(error);
                    if !matches!(error.kind, Kind::Conflict | Kind::NotFound) {
                        log::warn(&error.within(format!("failed to prune image {name}")));
                    }
                }
            }
        }
        deleted
    }

    /// Bytes of every layer, by chain ID as removals name it.
    fn layer_sizes(&self, images: &[Image]) -> Result<BTreeMap<String, u64>> {
        let mut sizes = BTreeMap::new();
        for image in images {
            let layers: Vec<Digest> = image.record.layers.iter().map(|layer| layer.diff_id).collect();
            for (chain, layer) in chain::ids(layers.iter().copied()).into_iter().zip(&layers) {
                sizes.insert(chain.to_string(), self.images.layer(layer)?.map_or(0, |layer| layer.size));
            }
        }
        Ok(sizes)
    }
}

fn until(filters: &Filters) -> Result<Option<Timestamp>> {
    let values: Vec<&str> = filters.values("until").collect();
    match values.as_slice() {
        [] => Ok(None),
        [value] => point_in_time(value, Timestamp::now()).map(Some),
        _ => Err(Error::invalid("more than one until filter specified")),
    }
}
