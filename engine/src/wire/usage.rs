//! What takes the space, as `GET /system/df` tells it.

use serde::Serialize;

use super::{ContainerSummary, ImageSummary, Volume};

/// The answer to `GET /system/df`; what was not asked for is none.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DiskUsage {
    /// Files of all layers, each once, in bytes.
    pub(crate) layers_size: u64,
    pub(crate) images: Option<Vec<ImageSummary>>,
    pub(crate) containers: Option<Vec<ContainerSummary>>,
    pub(crate) volumes: Option<Vec<Volume>>,
    /// There is no builder.
    pub(crate) build_cache: Option<[(); 0]>,
}
