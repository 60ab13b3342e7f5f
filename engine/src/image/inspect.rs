//! `docker image inspect` and `docker history`.

use jiff::Timestamp;
use knarr_images::ImageConfig;
use serde_json::{Map, Value};

use super::list::signed;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::wire::request::read;
use crate::wire::{Config, GraphDriver, HistoryLine, ImageInspect, ImageMetadata, RawImage, RootFs};

/// Fields of an image's configuration, as the specification has them and Docker adds to them.
const FIELDS: [&str; 13] = [
    "ArgsEscaped",
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "OnBuild",
    "Shell",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
];

/// The first version of the API that shows what is an image's alone.
const OWN_CONFIG: (u32, u32) = (1, 50);
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Engine {
    /// An image as a client of this version of the API wants to see it.
    pub(crate) fn image_inspect(&self, name: &str, version: (u32, u32)) -> Result<ImageInspect> {
        let id = self.images.resolve(name)?.image;
        let image = self.images.image(&id)?;
        let config = self.images.config(&id)?;
        let raw: RawImage = raw(&config)?;
        let parts = config.parts();
        let size = signed(self.images.images_usage()?.images.get(&id).map_or(0, |usage| usage.size));
        let last = || parts.history.last().and_then(|step| step.comment.clone());
        Ok(ImageInspect {
            id: id.to_string(),
            repo_tags: image.tags().collect(),
            repo_digests: image.digests().collect(),
            parent: image.record.parent.map(|parent| parent.to_string()).unwrap_or_default(),
            comment: if raw.comment.is_empty() { last().unwrap_or_default() } else { raw.comment },
            created: parts
                .created
                .clone()
                .unwrap_or_else(|| if version < (1, 44) { NEVER.to_owned() } else { String::new() }),
            docker_version: raw.docker_version,
            author: parts.author.clone().unwrap_or_default(),
            config: shown(raw.config.unwrap_or(Value::Null), version)?,
            architecture: parts.platform.architecture.clone(),
            variant: parts.platform.variant.clone().unwrap_or_default(),
            os: parts.platform.os.clone(),
            size,
            virtual_size: (version < (1, 44)).then_some(size),
            graph_driver: GraphDriver { data: None, name: "overlay2" },
            rootfs: RootFs {
                kind: "layers",
                layers: parts.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
            },
            metadata: ImageMetadata {
                last_tag_time: image.record.tagged.unwrap_or_else(|| NEVER.to_owned()),
            },
        })
    }

    /// The steps of an image, the newest first.
    pub(crate) fn image_history(&self, name: &str) -> Result<Vec<HistoryLine>> {
        let id = self.images.resolve(name)?.image;
        let steps = self.images.history(&id)?.into_iter();
        Ok(steps
            .map(|step| HistoryLine {
                comment: step.step.comment.unwrap_or_default(),
                created: seconds(step.step.created.as_deref()),
                created_by: step.step.created_by.unwrap_or_default(),
                id: step.image.map_or_else(|| "<missing>".to_owned(), |image| image.to_string()),
                size: step.size,
                tags: Some(step.tags).filter(|tags| !tags.is_empty()),
            })
            .collect())
    }
}

fn seconds(time: Option<&str>) -> i64 {
    time.and_then(|time| time.parse::<Timestamp>().ok()).map_or(0, Timestamp::as_second)
}

fn raw(config: &ImageConfig) -> Result<RawImage> {
    let value: Value = serde_json::from_slice(config.bytes())
        .map_err(|error| Error::system(format!("read the configuration of the image: {error}")))?;
    read(value).map_err(|error| Error::system(format!("read the configuration of the image: {error}")))
}

/// Old clients get a container's configuration, with all its fields.
fn shown(config: Value, version: (u32, u32)) -> Result<Value> {
    let unreadable = |error| Error::system(format!("read the configuration of the image: {error}"));
    if version < OWN_CONFIG {
        let config = if config.is_null() { Value::Object(Map::new()) } else { config };
        return serde_json::to_value(read::<Config>(config).map_err(unreadable)?).map_err(unreadable);
    }
    let Value::Object(config) = config else { return Ok(Value::Object(Map::new())) };
    let own = config.into_iter().filter(|(name, value)| FIELDS.contains(&name.as_str()) && !is_empty(value));
    Ok(Value::Object(own.collect()))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn new_clients_see_what_is_an_images_own() {
        let config = json!({"Cmd": ["sh"], "Env": null, "Hostname": "x", "Labels": {}, "ArgsEscaped": false, "User": ""});
        assert_eq!(shown(config.clone(), (1, 50)).unwrap(), json!({"Cmd": ["sh"]}));
        let old = shown(config, (1, 49)).unwrap();
        assert_eq!(
            (&old["Hostname"], &old["Cmd"], &old["AttachStdin"]),
            (&json!("x"), &json!(["sh"]), &json!(false))
        );
        assert_eq!(shown(Value::Null, (1, 50)).unwrap(), json!({}));
    }
}
