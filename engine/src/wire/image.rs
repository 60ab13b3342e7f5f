//! Images as Docker's API shows them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{GraphDriver, Labels};

/// One line of `docker images`. Sizes are bytes; -1: not asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageSummary {
    pub(crate) containers: i64,
    /// Seconds since 1970.
    pub(crate) created: i64,
    pub(crate) id: String,
    pub(crate) labels: Labels,
    pub(crate) parent_id: String,
    pub(crate) repo_digests: Vec<String>,
    pub(crate) repo_tags: Vec<String>,
    pub(crate) shared_size: i64,
    pub(crate) size: i64,
    /// The same, for clients older than 1.44.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) virtual_size: Option<i64>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageInspect {
    pub(crate) id: String,
    pub(crate) repo_tags: Vec<String>,
    pub(crate) repo_digests: Vec<String>,
    pub(crate) parent: String,
    pub(crate) comment: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) created: String,
    pub(crate) docker_version: String,
    pub(crate) author: String,
    /// Of the image; for clients older than 1.50 in the form of a container's.
    pub(crate) config: Value,
    pub(crate) architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) variant: String,
    pub(crate) os: String,
    pub(crate) size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) virtual_size: Option<i64>,
    pub(crate) graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    pub(crate) rootfs: RootFs,
    pub(crate) metadata: ImageMetadata,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RootFs {
    #[serde(rename = "Type")]
    pub(crate) kind: &'static str,
    /// diffIDs, the lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageMetadata {
    /// RFC 3339; year 1 if it never was given a name here.
    pub(crate) last_tag_time: String,
}

/// One line of `docker history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HistoryLine {
    pub(crate) comment: String,
    pub(crate) created: i64,
    pub(crate) created_by: String,
    pub(crate) id: String,
    pub(crate) size: u64,
    pub(crate) tags: Option<Vec<String>>,
}

/// One line of `docker search`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SearchResult {
    pub(crate) star_count: i64,
    pub(crate) is_official: bool,
    pub(crate) name: String,
    pub(crate) is_automated: bool,
    pub(crate) description: String,
}

/// One step of a removal; one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) enum ImageDeleted {
    Untagged(String),
    Deleted(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImagesPruned {
    pub(crate) images_deleted: Option<Vec<ImageDeleted>>,
    /// Bytes.
    pub(crate) space_reclaimed: u64,
}

/// Answer to `GET /distribution/NAME/json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Distribution {
    pub(crate) descriptor: DistributionDescriptor,
    pub(crate) platforms: Vec<DistributionPlatform>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DistributionDescriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DistributionPlatform {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

/// Who asks a registry, as `X-Registry-Auth` has it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RegistryAuth {
    pub(crate) username: String,
    pub(crate) password: String,
    /// `USER:PASSWORD` in base64.
    pub(crate) auth: String,
    #[serde(rename = "identitytoken")]
    pub(crate) identity_token: String,
    #[serde(rename = "registrytoken")]
    pub(crate) registry_token: String,
}

/// What an image's configuration says beside what the image library reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawImage {
    pub(crate) comment: String,
    pub(crate) docker_version: String,
    pub(crate) config: Option<Value>,
}

/// The body of a commit's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Committed {
    pub(crate) id: String,
}
