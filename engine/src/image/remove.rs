//! Names are given and taken: `docker tag`, `docker rmi`.

use std::collections::BTreeMap;

use knarr_images::store::{Removal, Removed};
use knarr_images::{Digest, Reference};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::wire::ImageDeleted;

/// Of every image, by its ID.
pub(super) type Labels = BTreeMap<Digest, BTreeMap<String, String>>;

/// How an image is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Remove {
    pub(crate) force: bool,
    /// Images without a name that it was made from stay.
    pub(crate) keep_parents: bool,
}

impl Engine {
    /// Gives an image one more name.
    pub(crate) fn image_tag(&self, name: &str, new: &Reference) -> Result<()> {
        if new.digest().is_some() {
            return Err(Error::invalid("refusing to create a tag with a digest reference"));
        }
        if new.familiar_name() == "sha256" {
            let why = "refusing to create an ambiguous tag using digest algorithm as name";
            return Err(Error::invalid(why));
        }
        let image = self.images.resolve(name)?.image;
        let new = new.or_latest();
        self.images.tag(&image, &new)?;
        self.tell_image("tag", &image.to_string(), &new.familiar(), self.image_labels(&image));
        Ok(())
    }

    /// Takes a name away; with the last one, or by its ID, the image goes.
    pub(crate) fn image_remove(&self, name: &str, remove: Remove) -> Result<Vec<ImageDeleted>> {
        if name.trim().is_empty() {
            return Err(Error::invalid("image name cannot be blank"));
        }
        let labels = self.labels_of_all()?;
        let image = self.images.resolve(name)?.image;
        let runs = |id: &str| self.container_runs(id);
        let removal = Removal { force: remove.force, parents: !remove.keep_parents, runs: &runs };
        let removed = self.images.remove_image(name, &removal)?;
        Ok(self.report_removed(image, removed, &labels))
    }

    /// Labels of every image, for those that are gone when it is told.
    pub(super) fn labels_of_all(&self) -> Result<Labels> {
        let images = self.images.images()?.into_iter();
        Ok(images.map(|image| (image.id, self.image_labels(&image.id))).collect())
    }

    /// Tells what was removed, and gives it in the words of the API.
    pub(super) fn report_removed(
        &self,
        image: Digest,
        removed: Vec<Removed>,
        labels: &Labels,
    ) -> Vec<ImageDeleted> {
        let tell = |action, id: &Digest| {
            let own = labels.get(id).cloned().unwrap_or_default();
            self.tell_image(action, &id.to_string(), &id.to_string(), own);
        };
        removed
            .into_iter()
            .map(|one| match one {
                Removed::Untagged(name) => {
                    tell("untag", &image);
                    ImageDeleted::Untagged(name)
                }
                Removed::Deleted(id) => {
                    // What is no image is a layer.
                    if labels.contains_key(&id) {
                        tell("delete", &id);
                    }
                    ImageDeleted::Deleted(id.to_string())
                }
            })
            .collect()
    }
}
