//! Docker archives: `manifest.json` lists the images with their names, configurations and layers.

use serde::Deserialize;

use super::layout::Found;
use super::spool::Spool;
use super::{Form, Incoming};
use crate::{Digest, Error, Reference, Result};

/// One image of `manifest.json`. Its other members (`Parent`, `LayerSources`) say nothing that the rest does not.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The images of an archive; none if it is no Docker archive. An image whose manifest is there too is taken from that.
pub(super) fn images(spool: &Spool<'_>, manifests: &[Found]) -> Result<Option<Vec<Incoming>>> {
    let Some(items) = spool.json::<Vec<Item>>("manifest.json")? else { return Ok(None) };
    items.into_iter().map(|item| image(spool, manifests, item)).collect::<Result<_>>().map(Some)
}

fn image(spool: &Spool<'_>, manifests: &[Found], item: Item) -> Result<Incoming> {
    let missing = || Error::LoadEntry { name: item.config.clone(), why: "is missing from the archive" };
    let config = spool.bytes(&item.config)?.ok_or_else(missing)?;
    let id = Digest::of(&config);
    let form = match manifests.iter().find(|found| found.manifest.config.digest == id) {
        Some(found) => Form::Manifest(Box::new(found.clone())),
        None => Form::Files(item.layers.unwrap_or_default()),
    };
    let tags = item.repo_tags.unwrap_or_default();
    let names = tags.iter().map(|tag| tagged(tag)).collect::<Result<_>>()?;
    Ok(Incoming { config, names, form })
}

fn tagged(text: &str) -> Result<Reference> {
    match Reference::parse(text) {
        Ok(reference) if reference.tag().is_some() && reference.digest().is_none() => Ok(reference),
        Ok(_) => Err(Error::InvalidTag(text.to_owned())),
        Err(error) => Err(error.into()),
    }
}
