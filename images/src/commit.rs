//! `docker commit`: what was written to a snapshot becomes one more layer on those of its image.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::compression::gzip;
use crate::diff::{self, Changes, Selection};
use crate::error::OfFile as _;
use crate::new_image::{Format, NewImage, to_bytes};
use crate::store::{Hold, Kept, LayerLink, Snapshot};
use crate::timestamp::{rfc3339, since_epoch};
use crate::{Descriptor, Digest, Error, History, Reference, Result, Store, layer};

/// What is said of the new image.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    pub author: Option<String>,
    pub message: Option<String>,
    /// The command that made the change, for the history.
    pub created_by: Option<String>,
    /// The new image's `config`, in place of its parent's.
    pub process: Option<Value>,
    pub names: Vec<Reference>,
    /// Absolute paths that are no part of the image, and of which the directories that are there for them alone are none
    /// either: the places of mounts.
    pub hidden: Vec<PathBuf>,
}

/// Members of a parent's configuration that tell of the container that made the parent.
const OF_THE_PARENT: [&str; 5] = ["container", "container_config", "docker_version", "id", "parent"];

impl Store {
    /// Makes an image of a snapshot, whose content should not change meanwhile. Returns the image's ID.
    pub fn commit(&self, snapshot: &str, commit: &Commit) -> Result<Digest> {
        let snapshot = self.snapshot(snapshot)?;
        let parent = self.image(&snapshot.image)?;
        let format = Format::of(&parent.record.manifest);
        // Held until the image that refers to it is on record.
        let (change, _holds) = self.change(&snapshot, &commit.hidden, format)?.unzip();
        if let Some(LayerLink { diff_id, blob }) = &change {
            layer::unpack_blob(self, &blob.digest, Some(diff_id))?;
        }
        layer::check_depth(parent.record.layers.len() + change.iter().len())?;
        let config = self.read_blob(&parent.id)?;
        let config = child_config(&config, commit, change.as_ref().map(|link| link.diff_id))?;
        let layers = parent.record.layers.into_iter().chain(change).collect();
        let image = NewImage { config: &to_bytes(&config)?, layers, parent: Some(parent.id), format };
        Ok(image.record(self, &commit.names)?.0)
    }

    /// The layer of what was written to a snapshot; none if that is nothing.
    fn change(
        &self,
        snapshot: &Snapshot,
        hidden: &[PathBuf],
        format: Format,
    ) -> Result<Option<(LayerLink, (Hold, Kept))>> {
        let Changes { omitted, root, .. } = self.compare(snapshot, hidden)?;
        let path = self.upper(&snapshot.id);
        let upper = OwnedFd::from(File::open(&path).of("open", &path)?);
        let mut blob = gzip(self.new_content()?);
        let selection = Selection { omitted: &omitted, root };
        let layer = diff::selected(upper.as_fd(), &mut blob, &self.style(), selection)?;
        let diff::Layer { diff_id, entries, .. } = layer;
        if entries == 0 {
            return Ok(None);
        }
        let kept = blob.finish().of("compress the changes in", &path)?.seal()?.keep(self)?;
        let blob = Descriptor::new(format.gzip_layer(), kept.digest, kept.size);
        Ok(Some((LayerLink { diff_id, blob }, (self.hold(diff_id), kept))))
    }
}

/// The parent's configuration with all that this version does not know, and one step more.
fn child_config(parent: &[u8], commit: &Commit, diff_id: Option<Digest>) -> Result<Value> {
    let named = |source| Error::Json { what: "parent's configuration", source };
    let mut config: Map<String, Value> = serde_json::from_slice(parent).map_err(named)?;
    let created = rfc3339(since_epoch());
    config.retain(|member, _| !OF_THE_PARENT.contains(&member.as_str()));
    config.insert("created".into(), created.clone().into());
    if let Some(author) = &commit.author {
        config.insert("author".into(), author.clone().into());
    }
    if let Some(process) = &commit.process {
        config.insert("config".into(), process.clone());
    }
    let step = History {
        created: Some(created),
        created_by: commit.created_by.clone(),
        author: commit.author.clone(),
        comment: commit.message.clone(),
        empty_layer: diff_id.is_none(),
    };
    append(config.entry("history").or_insert(Value::Null), json!(step));
    if let Some(diff_id) = diff_id {
        let rootfs = config.entry("rootfs").or_insert_with(|| json!({ "type": "layers" }));
        append(&mut rootfs["diff_ids"], json!(diff_id));
    }
    Ok(config.into())
}

/// Adds to a list; what is none (Go writes `null`) becomes one.
fn append(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = Value::Array(vec![item]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_keeps_what_it_does_not_know_and_forgets_the_container() {
        let parent =
            br#"{"architecture":"amd64","os":"linux","container":"abc","x":[1],"config":{"Cmd":["a"]},
            "history":null,"rootfs":{"type":"layers","diff_ids":null}}"#;
        let commit = Commit { message: Some("why".into()), ..Commit::default() };
        let child = child_config(parent, &commit, Some(Digest::of(b""))).unwrap();
        assert_eq!(child["x"], json!([1]));
        assert_eq!(child["config"], json!({"Cmd": ["a"]}));
        assert_eq!(child.get("container"), None);
        assert_eq!(child["rootfs"]["diff_ids"], json!([Digest::of(b"")]));
        assert_eq!(child["history"][0]["comment"], "why");
        assert_eq!(child["history"][0].get("empty_layer"), None);
    }

    #[test]
    fn without_a_layer_the_history_says_so() {
        let parent = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let child = child_config(parent, &Commit::default(), None).unwrap();
        assert_eq!(child["history"][0]["empty_layer"], true);
        assert_eq!(child["rootfs"]["diff_ids"], json!([]));
    }
}
