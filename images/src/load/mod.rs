//! `docker load`: images from an archive, whoever wrote it: Docker's (`manifest.json`, with layers in whatever folders),
//! an OCI layout (`index.json`), or both in one, as Docker writes today.
//!
//! Entries may come in any order and the archive may come from a pipe, so it is spooled first: into the store, where its
//! blobs are to be anyway.

mod docker;
mod layout;
mod spool;

use std::io::Read;

use crate::new_image::{Format, NewImage, Stored};
use crate::progress::{Event, Progress};
use crate::store::LayerLink;
use crate::{Descriptor, Digest, Error, ImageConfig, Reference, Result, Store, layer};
use layout::Found;
use spool::Spool;

/// An image of an archive.
struct Incoming {
    config: Vec<u8>,
    names: Vec<Reference>,
    form: Form,
}

/// How an archive has the layers of an image, the lowest first.
enum Form {
    /// In a manifest, by digest.
    Manifest(Box<Found>),
    /// As files.
    Files(Vec<String>),
}

impl Store {
    /// Reads an archive, compressed or not, and puts all its images on record. Returns their IDs.
    pub fn load(&self, archive: impl Read + Send, progress: Progress<'_>) -> Result<Vec<Digest>> {
        let mut spool = Spool::read(self, archive)?;
        let found = layout::manifests(&spool)?;
        let incoming = match docker::images(&spool, &found)? {
            Some(incoming) => incoming,
            None if found.is_empty() => return Err(Error::NoImages),
            None => layout::images(&spool, found)?,
        };
        incoming.into_iter().map(|image| self.load_one(&mut spool, image, progress)).collect()
    }

    fn load_one(&self, spool: &mut Spool<'_>, image: Incoming, progress: Progress<'_>) -> Result<Digest> {
        let Incoming { config, names, form } = image;
        let parsed = ImageConfig::parse(config)?;
        let diff_ids = &parsed.parts().rootfs.diff_ids;
        layer::check_depth(diff_ids.len())?;
        let blobs = spool.layers(&form)?;
        if blobs.len() != diff_ids.len() {
            return Err(Error::LayersMismatch);
        }
        let layers: Vec<LayerLink> =
            diff_ids.iter().zip(blobs).map(|(diff_id, blob)| LayerLink { diff_id: *diff_id, blob }).collect();
        let _holds: Vec<_> = layers.iter().map(|layer| self.hold(layer.diff_id)).collect();
        for LayerLink { diff_id, blob } in &layers {
            layer::unpack_blob(self, &blob.digest, Some(diff_id))?;
        }
        let (id, robbed) = match &form {
            Form::Manifest(found) => {
                let stored = Stored {
                    manifest: &found.bytes,
                    media_type: &found.descriptor.media_type,
                    config: parsed.bytes(),
                };
                stored.record(self, layers, None, |digest| with_digest(&names, digest))?
            }
            Form::Files(_) => {
                let new = NewImage { config: parsed.bytes(), layers, parent: None, format: Format::Oci };
                new.record(self, &names)?
            }
        };
        tell(id, &names, robbed, progress);
        Ok(id)
    }
}

fn with_digest(names: &[Reference], digest: Digest) -> Vec<(Reference, Digest)> {
    names.iter().map(|name| (name.clone(), digest)).collect()
}

fn tell(id: Digest, names: &[Reference], robbed: Vec<(Reference, Digest)>, progress: Progress<'_>) {
    for (reference, image) in robbed {
        progress(&Event::Renamed { reference: reference.familiar(), image });
    }
    for name in names {
        progress(&Event::Loaded { reference: name.familiar() });
    }
    if names.is_empty() {
        progress(&Event::LoadedId { image: id });
    }
}

impl Spool<'_> {
    /// Puts the layers of an image into the store.
    fn layers(&mut self, form: &Form) -> Result<Vec<Descriptor>> {
        match form {
            Form::Files(names) => names.iter().map(|name| self.keep_file(name)).collect(),
            Form::Manifest(found) => {
                for blob in &found.manifest.layers {
                    self.keep_blob(blob)?;
                }
                Ok(found.manifest.layers.clone())
            }
        }
    }
}
