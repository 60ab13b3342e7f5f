//! OCI layouts (image-spec image-layout.md): `index.json` leads to manifests, by digest.

use std::collections::BTreeMap;

use super::spool::Spool;
use super::{Form, Incoming};
use crate::platform::Wanted;
use crate::save::{IMAGE_NAME, REF_NAME};
use crate::{Descriptor, Index, Manifest, Reference, Result, media_type};

/// An index of an index of an index is the most that is followed.
const DEEPEST: usize = 3;

/// A manifest of a layout.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) descriptor: Descriptor,
    /// As they are in the layout.
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Manifest,
    /// What `index.json` calls it.
    names: Vec<Reference>,
}

/// All images that `index.json` has for this machine; nothing if there is no such file.
pub(super) fn manifests(spool: &Spool<'_>) -> Result<Vec<Found>> {
    let Some(index) = spool.json::<Index>("index.json")? else { return Ok(Vec::new()) };
    let mut found: Vec<Found> = Vec::new();
    for descriptor in index.manifests {
        let names: Vec<Reference> = name(&descriptor.annotations).into_iter().collect();
        let Some(one) = resolve(spool, descriptor, DEEPEST)? else { continue };
        // Another name of the same manifest.
        match found.iter_mut().find(|other| other.descriptor.digest == one.descriptor.digest) {
            Some(other) => other.names.extend(names),
            None => found.push(Found { names, ..one }),
        }
    }
    Ok(found)
}

/// Follows indexes to the manifest for this machine. What is neither index nor image is none.
fn resolve(spool: &Spool<'_>, descriptor: Descriptor, depth: usize) -> Result<Option<Found>> {
    match descriptor.media_type.as_str() {
        media_type::OCI_INDEX | media_type::DOCKER_LIST if depth > 0 => {
            let index = Index::parse(&spool.blob_bytes(&descriptor.digest)?)?;
            resolve(spool, Wanted::host().choose(&index)?.clone(), depth - 1)
        }
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {
            let bytes = spool.blob_bytes(&descriptor.digest)?;
            let manifest = Manifest::parse(&bytes)?;
            let descriptor = Descriptor { annotations: BTreeMap::new(), ..descriptor };
            Ok(Some(Found { descriptor, bytes, manifest, names: Vec::new() }))
        }
        _ => Ok(None),
    }
}

/// The name that dockerd and containerd write, or else a reference of its own that is more than a tag.
fn name(annotations: &BTreeMap<String, String>) -> Option<Reference> {
    let text = annotations
        .get(IMAGE_NAME)
        .or_else(|| annotations.get(REF_NAME).filter(|text| text.contains(':')))?;
    Reference::parse(text).ok().filter(|reference| reference.tag().is_some() && reference.digest().is_none())
}

pub(super) fn images(spool: &Spool<'_>, found: Vec<Found>) -> Result<Vec<Incoming>> {
    found
        .into_iter()
        .map(|found| {
            let config = spool.blob_bytes(&found.manifest.config.digest)?;
            Ok(Incoming { config, names: found.names.clone(), form: Form::Manifest(Box::new(found)) })
        })
        .collect()
}
