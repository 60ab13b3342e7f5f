//! An image that is made here: its configuration and its manifest are written, and it is put on record.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compression::Compression;
use crate::store::{Hold, ImageRecord, LayerLink};
use crate::timestamp::since_epoch;
use crate::{Descriptor, Digest, Error, Manifest, Reference, Result, Store, media_type};

/// Whose media types a manifest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Docker,
    Oci,
}

impl Format {
    /// That of an image that was made before.
    pub(crate) fn of(manifest: &Descriptor) -> Self {
        if manifest.media_type == media_type::DOCKER_MANIFEST { Self::Docker } else { Self::Oci }
    }

    /// The media type of a layer that is compressed with gzip.
    pub(crate) fn gzip_layer(self) -> &'static str {
        match self {
            Self::Docker => media_type::DOCKER_LAYER_GZIP,
            Self::Oci => media_type::OCI_LAYER_GZIP,
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Docker => media_type::DOCKER_CONFIG,
            Self::Oci => media_type::OCI_CONFIG,
        }
    }

    fn manifest(self) -> &'static str {
        match self {
            Self::Docker => media_type::DOCKER_MANIFEST,
            Self::Oci => media_type::OCI_MANIFEST,
        }
    }
}

/// The media type of a layer as it came; none if nothing is specified for its compression.
pub(crate) fn layer_type(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => Some(media_type::OCI_LAYER),
        Compression::Gzip => Some(media_type::OCI_LAYER_GZIP),
        Compression::Zstd => Some(media_type::OCI_LAYER_ZSTD),
        Compression::Bzip2 | Compression::Xz => None,
    }
}

/// An image whose layers are on record, held by the caller until [`NewImage::record`] has returned.
pub(crate) struct NewImage<'a> {
    pub(crate) config: &'a [u8],
    pub(crate) layers: Vec<LayerLink>,
    pub(crate) parent: Option<Digest>,
    pub(crate) format: Format,
}

impl NewImage<'_> {
    /// Writes the manifest and puts the image on record under these names. Returns its ID, and which image lost a name.
    pub(crate) fn record(
        self,
        store: &Store,
        names: &[Reference],
    ) -> Result<(Digest, Vec<(Reference, Digest)>)> {
        let config = Descriptor::new(self.format.config(), Digest::of(self.config), self.config.len() as u64);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(self.format.manifest().to_owned()),
            config,
            layers: self.layers.iter().map(|layer| layer.blob.clone()).collect(),
            annotations: BTreeMap::new(),
        };
        let named = |source| Error::Json { what: "new manifest", source };
        let bytes = serde_json::to_vec(&manifest).map_err(named)?;
        let stored = Stored { manifest: &bytes, media_type: self.format.manifest(), config: self.config };
        stored.record(store, self.layers, self.parent, |digest| {
            names.iter().map(|name| (name.clone(), digest)).collect()
        })
    }
}

/// An image whose manifest came with it.
pub(crate) struct Stored<'a> {
    pub(crate) manifest: &'a [u8],
    pub(crate) media_type: &'a str,
    pub(crate) config: &'a [u8],
}

impl Stored<'_> {
    /// `names` gives the names for the digest of the manifest.
    pub(crate) fn record(
        &self,
        store: &Store,
        layers: Vec<LayerLink>,
        parent: Option<Digest>,
        names: impl FnOnce(Digest) -> Vec<(Reference, Digest)>,
    ) -> Result<(Digest, Vec<(Reference, Digest)>)> {
        let (_manifest, _config) = (hold(store, self.manifest), hold(store, self.config));
        let (digest, id) = (store.put_blob(self.manifest)?, store.put_blob(self.config)?);
        let manifest = Descriptor::new(self.media_type, digest, self.manifest.len() as u64);
        let record = ImageRecord { manifest, layers, stored: since_epoch().as_secs(), parent, tagged: None };
        let robbed = store.record_image(&id, &record, &names(digest))?;
        Ok((id, robbed))
    }
}

fn hold(store: &Store, bytes: &[u8]) -> Hold {
    store.hold(Digest::of(bytes))
}

/// A configuration that was changed, as bytes.
pub(crate) fn to_bytes(config: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(config).map_err(|source| Error::Json { what: "new image configuration", source })
}
