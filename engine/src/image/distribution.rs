//! What a registry has under a name: `docker manifest inspect` and compose ask before they pull.

use std::io::Read as _;

use knarr_images::registry::{Credentials, Fetched};
use knarr_images::{ImageConfig, Index, Manifest, Platform, Reference, media_type};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::wire::{Distribution, DistributionDescriptor, DistributionPlatform};

/// Bytes of a configuration, as the image library takes them.
const LARGEST_CONFIG: u64 = 8 << 20;

impl Engine {
    /// Asks a registry for a manifest, and for which platforms it is.
    pub(crate) fn distribution(&self, name: &str, credentials: &Credentials) -> Result<Distribution> {
        let reference = Reference::parse(name).map_err(Error::invalid)?.or_latest();
        let fetched = self.puller.client().manifest(&reference, credentials)?;
        let platforms =
            if matches!(fetched.media_type.as_str(), media_type::OCI_INDEX | media_type::DOCKER_LIST) {
                let index = Index::parse(&fetched.bytes)?;
                index.manifests.into_iter().filter_map(|one| one.platform).collect()
            } else {
                vec![self.platform_of(&reference, &fetched, credentials)?]
            };
        Ok(Distribution {
            descriptor: DistributionDescriptor {
                media_type: fetched.media_type,
                digest: fetched.digest.to_string(),
                size: fetched.bytes.len() as u64,
            },
            platforms: platforms.into_iter().map(shown).collect(),
        })
    }

    fn platform_of(
        &self,
        name: &Reference,
        fetched: &Fetched,
        credentials: &Credentials,
    ) -> Result<Platform> {
        let config = Manifest::parse(&fetched.bytes)?.config;
        if config.size > LARGEST_CONFIG {
            return Err(Error::system(format!("{}: the configuration is too large", config.digest)));
        }
        let blob = self.puller.client().blob(name, &config, credentials, 0)?;
        let mut bytes = Vec::new();
        let read = blob.take(LARGEST_CONFIG).read_to_end(&mut bytes);
        read.map_err(|error| Error::system(format!("read {}: {error}", config.digest)))?;
        if knarr_images::Digest::of(&bytes) != config.digest {
            return Err(Error::system(format!("{}: the content has another digest", config.digest)));
        }
        Ok(ImageConfig::parse(bytes)?.parts().platform.clone())
    }
}

fn shown(platform: Platform) -> DistributionPlatform {
    let Platform { architecture, os, variant, .. } = platform;
    DistributionPlatform { architecture, os, variant }
}
