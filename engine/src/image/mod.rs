//! Images: the verbs of the API over the image library, and the client of registries that they share.

mod authority;
mod changes;
mod commit;
mod distribution;
mod download;
mod failure;
mod inspect;
mod list;
mod pattern;
mod progress;
mod prune;
mod remove;
mod search;
mod transfer;

use std::collections::BTreeMap;
use std::io;

use knarr_images::registry::{Client, Config};
use knarr_images::{Digest, Platform, Reference};
use serde_json::Value;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::settings::Settings;

pub(crate) use authority::{from_body, from_header};
pub(crate) use commit::Commit;
pub(crate) use failure::sentence;
pub(crate) use list::ImageQuery;
pub(crate) use remove::Remove;
pub(crate) use search::{Search, limit as search_limit};
pub(crate) use transfer::{Import, Pull};

/// Where progress goes, one object after the other; an error means that nobody reads it any more.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(&Value) -> io::Result<()>;

/// The client of registries, as the settings want it.
pub(crate) fn client(settings: &Settings) -> Result<Client> {
    let config = Config {
        mirrors: settings.registry_mirrors.clone(),
        insecure: settings.insecure_registries.clone(),
        ..Config::default()
    };
    Ok(Client::new(&config)?)
}

/// A name of an image with the tag or the digest that clients send beside it.
pub(crate) fn reference(name: &str, tag: &str) -> Result<Reference> {
    let reference = Reference::parse(name).map_err(Error::invalid)?;
    if tag.is_empty() {
        return Ok(reference);
    }
    if let Ok(digest) = tag.parse::<Digest>() {
        return Ok(reference.without_suffix().with_digest(digest));
    }
    reference.without_suffix().with_tag(tag).map_err(Error::invalid)
}

/// A platform as clients name it.
pub(crate) fn platform(text: &str) -> Result<Platform> {
    text.parse().map_err(|error: knarr_images::platform::InvalidPlatform| Error::invalid(error))
}

impl Engine {
    /// The image of a name, if it is for the platform that was asked for.
    pub(crate) fn image_for(&self, name: &str, wanted: Option<&str>) -> Result<Digest> {
        let image = self.images.resolve(name)?.image;
        let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return Ok(image) };
        let wanted = platform(wanted)?;
        let found = self.images.config(&image)?.parts().platform.clone();
        if knarr_images::platform::Wanted::only(&wanted).accepts(&found) {
            return Ok(image);
        }
        // Not found: clients pull the other one.
        Err(Error::not_found(format!(
            "image with reference {name} was found but its platform ({found}) does not match the specified platform ({wanted})"
        )))
    }

    /// Tells of an image, with its labels.
    fn tell_image(&self, action: &'static str, id: &str, name: &str, labels: BTreeMap<String, String>) {
        let mut attributes = labels;
        if !name.is_empty() {
            attributes.insert("name".to_owned(), name.to_owned());
        }
        self.events.publish("image", action, id, attributes);
    }

    /// Labels of an image; one that is gone has none.
    fn image_labels(&self, image: &Digest) -> BTreeMap<String, String> {
        self.images.config(image).map(|config| config.parts().config.labels.clone()).unwrap_or_default()
    }

    /// Whether the container with this ID has a process.
    fn container_runs(&self, id: &str) -> bool {
        self.containers.find(id).is_ok_and(|container| container.record().state.status.is_running())
    }
}
