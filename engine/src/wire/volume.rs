//! Volumes as Docker's API shows them, and what creates one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) type Labels = Option<BTreeMap<String, String>>;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Volume {
    /// RFC 3339, seconds.
    pub(crate) created_at: String,
    pub(crate) driver: String,
    pub(crate) labels: Labels,
    /// Where its files are on the host.
    pub(crate) mountpoint: String,
    pub(crate) name: String,
    pub(crate) options: Option<BTreeMap<String, String>>,
    pub(crate) scope: &'static str,
    /// For `system df` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage_data: Option<VolumeUsage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VolumeUsage {
    /// Bytes of files; -1 where they could not be counted.
    pub(crate) size: i64,
    /// Containers that refer to it, running or not.
    pub(crate) ref_count: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VolumeList {
    pub(crate) volumes: Vec<Volume>,
    pub(crate) warnings: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VolumesPruned {
    pub(crate) volumes_deleted: Vec<String>,
    /// Bytes.
    pub(crate) space_reclaimed: u64,
}

/// The body of `POST /volumes/create`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct VolumeCreate {
    /// Empty: an anonymous volume.
    pub(crate) name: String,
    /// Empty: `local`.
    pub(crate) driver: String,
    pub(crate) driver_opts: BTreeMap<String, String>,
    pub(crate) labels: Labels,
    /// Volumes of a swarm, which are refused.
    pub(crate) cluster_volume_spec: Option<serde_json::Value>,
}
