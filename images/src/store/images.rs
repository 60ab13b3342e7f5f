//! Images on record and their names.

use super::Store;
use super::gc::blobs_of;
use super::layout::sync_names;
use super::metadata::{IMAGES, ImageRecord, LAYERS, LayerLink, REFERENCES, SOURCES, Target, Writer};
use crate::config::ImageConfig;
use crate::timestamp::{rfc3339, since_epoch};
use crate::{Digest, Error, Reference, Result};

/// An image with its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of its configuration.
    pub id: Digest,
    pub record: ImageRecord,
    /// Each has a tag or a digest, never both.
    pub references: Vec<Reference>,
}

/// What a user's name for an image turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub image: Digest,
    /// None if the name is an ID or the beginning of one.
    pub reference: Option<Reference>,
}

impl Image {
    /// The names with a tag, as users know them.
    pub fn tags(&self) -> impl Iterator<Item = String> {
        self.references.iter().filter(|reference| reference.tag().is_some()).map(Reference::familiar)
    }

    /// The names with a digest, as users know them.
    pub fn digests(&self) -> impl Iterator<Item = String> {
        self.references.iter().filter(|reference| reference.digest().is_some()).map(Reference::familiar)
    }
}

impl Store {
    /// All images, the newest first.
    pub fn images(&self) -> Result<Vec<Image>> {
        let records = self.metadata.read()?;
        let mut references = records.all(&REFERENCES)?;
        let mut images: Vec<Image> = records
            .all(&IMAGES)?
            .into_iter()
            .map(|(id, record)| {
                let names = references.extract_if(.., |_, target| target.image == id);
                Image { id, record, references: names.map(|(reference, _)| reference).collect() }
            })
            .collect();
        images.sort_by_key(|image| std::cmp::Reverse(image.record.stored));
        Ok(images)
    }

    pub fn image(&self, id: &Digest) -> Result<Image> {
        let records = self.metadata.read()?;
        let record = records.get(&IMAGES, id)?.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
        let names = records.all(&REFERENCES)?.into_iter().filter(|(_, target)| target.image == *id);
        Ok(Image { id: *id, record, references: names.map(|(reference, _)| reference).collect() })
    }

    /// What a reference leads to, if it is known.
    pub fn target(&self, reference: &Reference) -> Result<Option<Target>> {
        self.metadata.read()?.get(&REFERENCES, &key(reference))
    }

    /// Finds an image by `sha256:HEX`, by reference (`latest` where no tag is given), or by the beginning of its ID.
    pub fn resolve(&self, name: &str) -> Result<Named> {
        let records = self.metadata.read()?;
        if let Ok(id) = name.parse::<Digest>()
            && records.get(&IMAGES, &id)?.is_some()
        {
            return Ok(Named { image: id, reference: None });
        }
        let reference = Reference::parse(name).ok().map(|reference| key(&reference));
        if let Some(reference) = &reference
            && let Some(target) = records.get(&REFERENCES, reference)?
        {
            return Ok(Named { image: target.image, reference: Some(reference.clone()) });
        }
        let begins = name.strip_prefix("sha256:").unwrap_or(name);
        let ids = records.all(&IMAGES)?.into_keys().filter(|id| id.hex().starts_with(begins));
        match ids.filter(|_| !begins.is_empty()).collect::<Vec<_>>().as_slice() {
            [id] => Ok(Named { image: *id, reference: None }),
            [] => {
                Err(Error::NoSuchImage(reference.map_or(name.to_owned(), |reference| reference.familiar())))
            }
            several => Err(Error::AmbiguousId { name: name.to_owned(), count: several.len() }),
        }
    }

    pub fn config(&self, id: &Digest) -> Result<ImageConfig> {
        ImageConfig::parse(self.read_blob(id)?)
    }

    /// Gives an image one more name, which is taken from the image that had it.
    pub fn tag(&self, id: &Digest, reference: &Reference) -> Result<()> {
        self.metadata.write(|records| {
            let mut record = records.get(&IMAGES, id)?.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
            record.tagged = Some(rfc3339(since_epoch()));
            records.put(&IMAGES, id, &record)?;
            let target = Target { image: *id, digest: record.manifest.digest };
            records.put(&REFERENCES, &key(reference), &target)
        })
    }

    /// Repositories of this registry that are known to have a blob, without the registry's name.
    pub(crate) fn sources(&self, blob: &Digest, registry: &str) -> Result<Vec<String>> {
        let sources = self.metadata.read()?.get(&SOURCES, blob)?.unwrap_or_default().into_iter();
        Ok(sources
            .filter_map(|name| name.strip_prefix(registry)?.strip_prefix('/').map(str::to_owned))
            .collect())
    }

    /// Puts an image on record, whose blobs and layers must all be in the store, under these names; an image that is on record
    /// keeps the manifest it came with. Returns the images that lost a name.
    pub(crate) fn record_image(
        &self,
        id: &Digest,
        record: &ImageRecord,
        names: &[(Reference, Digest)],
    ) -> Result<Vec<(Reference, Digest)>> {
        sync_names(&self.layout.blobs())?;
        self.metadata.write(|records| {
            if records.get(&IMAGES, id)?.is_none() {
                self.check_parts(records, id, record)?;
                records.put(&IMAGES, id, record)?;
            }
            note_sources(records, record, names)?;
            let mut robbed = Vec::new();
            for (reference, digest) in names {
                robbed.extend(
                    name_image(records, id, reference, digest)?.map(|image| (reference.clone(), image)),
                );
            }
            Ok(robbed)
        })
    }
}

impl Store {
    /// A configuration may tell of layers that none of its blobs is, and an image that was taken for known may have gone.
    fn check_parts(&self, records: &Writer, id: &Digest, record: &ImageRecord) -> Result<()> {
        for LayerLink { diff_id, .. } in &record.layers {
            if records.get(&LAYERS, diff_id)?.is_none() {
                return Err(Error::Missing { what: "layer", digest: *diff_id });
            }
        }
        for blob in blobs_of(id, record) {
            if self.blob_size(&blob)?.is_none() {
                return Err(Error::Missing { what: "blob", digest: blob });
            }
        }
        Ok(())
    }
}

/// A repository that has the image under a digest has its layers too: a push to another repository there may mount them.
fn note_sources(records: &Writer, record: &ImageRecord, names: &[(Reference, Digest)]) -> Result<()> {
    for (reference, _) in names.iter().filter(|(reference, _)| reference.digest().is_some()) {
        for layer in &record.layers {
            let mut sources = records.get(&SOURCES, &layer.blob.digest)?.unwrap_or_default();
            if !sources.contains(&reference.name()) {
                sources.push(reference.name());
                records.put(&SOURCES, &layer.blob.digest, &sources)?;
            }
        }
    }
    Ok(())
}

/// The image that had the name before, if it is another.
fn name_image(
    records: &Writer,
    id: &Digest,
    reference: &Reference,
    digest: &Digest,
) -> Result<Option<Digest>> {
    let key = key(reference);
    let before = records.get(&REFERENCES, &key)?.map(|target| target.image);
    records.put(&REFERENCES, &key, &Target { image: *id, digest: *digest })?;
    Ok(before.filter(|image| image != id))
}

/// The form under which a reference is on record: what a digest names, a tag beside it does not change.
pub(super) fn key(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.without_suffix().with_digest(*digest),
        None => reference.or_latest(),
    }
}
