//! `root` and `mounts` of config.json (config.md, "Root" and "Mounts").

use serde::{Deserialize, Serialize};

use super::{IdMapping, is_zero};

/// `root`: the container's root filesystem.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Root {
    /// Absolute, or relative to the bundle.
    pub(crate) path: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) readonly: bool,
}

/// One element of `mounts`; they are made in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Mount {
    pub(crate) destination: String,
    /// The filesystem, `bind`, or `cgroup`.
    #[serde(rename = "type", skip_serializing_if = "is_zero")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) source: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) options: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) uid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) gid_mappings: Vec<IdMapping>,
}
