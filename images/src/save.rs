//! `docker save`: images as one archive that is an OCI layout and, for older readers, a Docker archive.
//!
//! Blobs are written as they came, so that the digests of manifests are the same on the other side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write};

use serde_json::{Value, json};

use crate::archive::{Entry, Kind, Writer};
use crate::error::OfFile as _;
use crate::store::Image;
use crate::{Descriptor, Digest, Error, Index, Reference, Result, Store, media_type};

/// The annotation by which containerd and dockerd know a name.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
/// The tag (image-spec annotations.md).
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image and the tags that go with it.
struct Chosen {
    image: Image,
    tags: BTreeSet<Reference>,
}

impl Store {
    /// Writes images to an archive. A name with a tag saves that name, a repository all its tags, an ID no name.
    pub fn save(&self, names: &[&str], out: impl Write) -> Result<()> {
        let chosen = self.choose(names)?;
        let mut archive = Writer::new(out);
        for folder in ["blobs/", "blobs/sha256/"] {
            archive.entry(&Entry::new(folder, Kind::Directory, 0o755))?;
        }
        let mut written = BTreeSet::new();
        for Chosen { image, .. } in &chosen {
            let config = image.id;
            let layers = image.record.layers.iter().map(|layer| layer.blob.digest);
            for blob in layers.chain([config, image.record.manifest.digest]) {
                if written.insert(blob) {
                    self.write_blob(&mut archive, &blob)?;
                }
            }
        }
        put(&mut archive, "index.json", &json!(index(&chosen)))?;
        put(&mut archive, "manifest.json", &chosen.iter().map(docker_manifest).collect())?;
        put(&mut archive, "oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
        put(&mut archive, "repositories", &repositories(&chosen))?;
        archive.finish()?.flush().map_err(Error::WriteOutput)
    }

    /// Each image once, in the order of the names.
    fn choose(&self, names: &[&str]) -> Result<Vec<Chosen>> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for name in names {
            for (id, tag) in self.meant_by(name)? {
                match chosen.iter_mut().find(|one| one.image.id == id) {
                    Some(one) => one.tags.extend(tag),
                    None => chosen.push(Chosen { image: self.image(&id)?, tags: tag.into_iter().collect() }),
                }
            }
        }
        Ok(chosen)
    }

    fn meant_by(&self, name: &str) -> Result<Vec<(Digest, Option<Reference>)>> {
        if let Ok(repository) = Reference::parse(name)
            && repository == repository.without_suffix()
        {
            let images = self.images()?;
            let tags = images.iter().flat_map(|image| image.references.iter().map(|tag| (image.id, tag)));
            let tags = tags.filter(|(_, tag)| tag.tag().is_some() && tag.name() == repository.name());
            let tags: Vec<_> = tags.map(|(id, tag)| (id, Some(tag.clone()))).collect();
            if !tags.is_empty() {
                return Ok(tags);
            }
        }
        let named = self.resolve(name)?;
        Ok(vec![(named.image, named.reference.filter(|reference| reference.tag().is_some()))])
    }

    fn write_blob<W: Write>(&self, archive: &mut Writer<W>, digest: &Digest) -> Result<()> {
        let size = self.blob_size(digest)?.ok_or(Error::Missing { what: "blob", digest: *digest })?;
        let path = self.blob_path(digest);
        archive.entry(&Entry { size, ..Entry::new(blob_name(digest), Kind::File, 0o644) })?;
        let copied = io::copy(&mut self.open_blob(digest)?.take(size), archive).of("copy", &path)?;
        if copied == size {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof)).of("copy", &path)
        }
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn put<W: Write>(archive: &mut Writer<W>, name: &str, content: &Value) -> Result<()> {
    let text = content.to_string();
    archive.entry(&Entry { size: text.len() as u64, ..Entry::new(name, Kind::File, 0o644) })?;
    archive.write_all(text.as_bytes()).map_err(Error::WriteOutput)
}

fn index(chosen: &[Chosen]) -> Index {
    let describe = |image: &Image, tag: Option<&Reference>| {
        let mut manifest = image.record.manifest.clone();
        if let Some(tag) = tag {
            manifest.annotations.insert(IMAGE_NAME.into(), tag.to_string());
            manifest.annotations.insert(REF_NAME.into(), tag.wanted());
        }
        manifest
    };
    let mut manifests: Vec<Descriptor> = Vec::new();
    for Chosen { image, tags } in chosen {
        if tags.is_empty() {
            manifests.push(describe(image, None));
        }
        manifests.extend(tags.iter().map(|tag| describe(image, Some(tag))));
    }
    let media_type = Some(media_type::OCI_INDEX.to_owned());
    Index { schema_version: 2, media_type, manifests, annotations: BTreeMap::new() }
}

fn docker_manifest(chosen: &Chosen) -> Value {
    let Chosen { image, tags } = chosen;
    let layers = &image.record.layers;
    let sources: BTreeMap<String, &Descriptor> =
        layers.iter().map(|layer| (layer.diff_id.to_string(), &layer.blob)).collect();
    let tags: Option<Vec<String>> =
        (!tags.is_empty()).then(|| tags.iter().map(Reference::familiar).collect());
    json!({
        "Config": blob_name(&image.id),
        "RepoTags": tags,
        "Layers": layers.iter().map(|layer| blob_name(&layer.blob.digest)).collect::<Vec<_>>(),
        "LayerSources": sources,
    })
}

/// What the readers of Docker's first archives want: the topmost layer of each name.
fn repositories(chosen: &[Chosen]) -> Value {
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for Chosen { image, tags } in chosen {
        let top = image.record.layers.last().map_or_else(String::new, |layer| layer.blob.digest.hex());
        for tag in tags {
            repositories.entry(tag.familiar_name()).or_default().insert(tag.wanted(), top.clone());
        }
    }
    json!(repositories)
}
