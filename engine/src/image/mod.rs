//! Images: the verbs of the API over the image library, and the client of registries that they share.

mod failure;

use knarr_images::registry::{Client, Config};

use crate::error::Result;
use crate::settings::Settings;

pub(crate) use failure::sentence;

/// The client of registries, as the settings want it.
pub(crate) fn client(settings: &Settings) -> Result<Client> {
    let config = Config {
        mirrors: settings.registry_mirrors.clone(),
        insecure: settings.insecure_registries.clone(),
        ..Config::default()
    };
    Ok(Client::new(&config)?)
}

impl crate::engine::Engine {
    pub(crate) fn image_for(&self, name: &str, platform: Option<&str>) -> Result<knarr_images::Digest> {
        let _ = platform;
        Ok(self.images.resolve(name)?.image)
    }
}
