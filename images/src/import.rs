//! `docker import`: an archive of a root file system becomes an image of one layer.

use std::io::{self, Read, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::compression::{Compression, Decoder};
use crate::error::OfFile as _;
use crate::media_type::OCI_LAYER;
use crate::new_image::{Format, NewImage, layer_type, to_bytes};
use crate::platform::Wanted;
use crate::store::LayerLink;
use crate::timestamp::{rfc3339, since_epoch};
use crate::{Descriptor, Digest, Error, Platform, Reference, Result, Store, layer};

/// Bytes that are copied at once.
const CHUNK: usize = 128 << 10;

/// What is said of the new image.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// For the history; Docker writes `Imported from -`.
    pub message: String,
    /// The image's `config`.
    pub process: Option<Value>,
    /// What it was built for; this machine, if nothing is said.
    pub platform: Option<Platform>,
    pub names: Vec<Reference>,
}

impl Store {
    /// Reads an archive to its end. It is kept as it came if its compression has a media type, and as plain tar if not.
    pub fn import(&self, archive: impl Read + Send, import: &Import) -> Result<Digest> {
        let mut start = Vec::new();
        let mut archive = archive;
        archive.by_ref().take(16).read_to_end(&mut start).map_err(Error::ReadInput)?;
        let compression = Compression::of(&start);
        let mut whole: Box<dyn Read + Send + '_> = Box::new(io::Cursor::new(start).chain(archive));
        let media_type = layer_type(compression);
        if media_type.is_none() {
            whole = Box::new(Decoder::new(whole).map_err(Error::Decompress)?);
        }
        let mut content = self.new_content()?;
        let path = content.path().to_owned();
        copy(&mut whole, &mut content, &path)?;
        let kept = content.seal()?.keep(self)?;
        let diff_id = layer::unpack_blob(self, &kept.digest, None)?;
        let _layer = self.hold(diff_id);
        let config = to_bytes(&config(import, diff_id))?;
        let blob = Descriptor::new(media_type.unwrap_or(OCI_LAYER), kept.digest, kept.size);
        let layers = vec![LayerLink { diff_id, blob }];
        let image = NewImage { config: &config, layers, parent: None, format: Format::Oci };
        Ok(image.record(self, &import.names)?.0)
    }
}

/// Says of a failure on which side it was.
fn copy(from: &mut dyn Read, to: &mut dyn Write, path: &Path) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::ReadInput(error)),
        };
        to.write_all(&buffer[..count]).of("write", path)?;
    }
}

fn config(import: &Import, diff_id: Digest) -> Value {
    let created = rfc3339(since_epoch());
    let host = Wanted::host();
    let platform = import.platform.as_ref().unwrap_or(host.platform());
    let mut config = json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "created": created,
        "comment": import.message,
        "config": import.process.clone().unwrap_or_else(|| json!({})),
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": created, "comment": import.message }],
    });
    if let Some(variant) = &platform.variant {
        config["variant"] = variant.clone().into();
    }
    config
}
