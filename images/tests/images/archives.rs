//! Archives made here: layers, and images as `docker save` writes them.

use std::io::Write as _;

use knarr_images::Digest;
use knarr_images::archive::{Entry, Kind, Writer};
use serde_json::{Value, json};

/// A file of an archive, or a folder when it has no content.
pub(crate) type Member<'a> = (&'a str, &'a [u8]);

/// An archive of files; a name that ends in `/` is a folder, `a -> b` a symbolic link.
pub(crate) fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, content) in members {
        let entry = match (name.split_once(" -> "), name.strip_suffix('/')) {
            (Some((name, target)), _) => {
                Entry { link: target.into(), ..Entry::new(name, Kind::Symlink, 0o777) }
            }
            (None, Some(folder)) => Entry::new(folder, Kind::Directory, 0o755),
            (None, None) => Entry { size: content.len() as u64, ..Entry::new(*name, Kind::File, 0o644) },
        };
        writer.entry(&entry).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap()
}

/// Bytes that no compressor makes small, different for each seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

/// An image: its layers as plain archives, the lowest first.
pub(crate) struct Made {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Made {
    pub(crate) fn of(layers: &[&[Member<'_>]]) -> Self {
        Self::with(layers.iter().map(|layer| tar(layer)).collect(), &json!({ "Cmd": ["/bin/sh"] }))
    }

    pub(crate) fn with(layers: Vec<Vec<u8>>, process: &Value) -> Self {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let history: Vec<Value> =
            (0..layers.len()).map(|number| json!({ "created_by": format!("step {number}") })).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": process,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": history,
        });
        Self { config: config.to_string().into_bytes(), layers }
    }

    pub(crate) fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// Named files of the old form: `ID.json`, `N/layer.tar`, `manifest.json` last.
    pub(crate) fn files(&self, tags: &[&str]) -> Vec<(String, Vec<u8>)> {
        let config = format!("{}.json", self.id().hex());
        let names: Vec<String> = (0..self.layers.len()).map(|number| format!("{number}/layer.tar")).collect();
        let manifest = json!([{ "Config": config, "RepoTags": tags, "Layers": names }]);
        let mut files = vec![(config, self.config.clone())];
        files.extend(names.into_iter().zip(self.layers.iter().cloned()));
        files.push(("manifest.json".into(), manifest.to_string().into_bytes()));
        files
    }

    /// As `docker save` of old wrote it.
    pub(crate) fn archive(&self, tags: &[&str]) -> Vec<u8> {
        tar_of(&self.files(tags))
    }
}

pub(crate) fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let members: Vec<Member<'_>> =
        files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    tar(&members)
}
