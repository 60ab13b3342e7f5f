//! `system df`: the space that images, containers and volumes take.

use crate::container::ListQuery;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::wire::DiskUsage;

const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

impl Engine {
    /// `kinds` of objects that are wanted; none: all.
    pub(crate) fn disk_usage(&self, kinds: &[String], api_version: (u32, u32)) -> Result<DiskUsage> {
        if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(Error::invalid(format!("unknown object type: {unknown}")));
        }
        let wanted = |kind: &str| kinds.is_empty() || kinds.iter().any(|asked| asked == kind);
        let mut usage = DiskUsage::default();
        if wanted("image") {
            usage.layers_size = self.images.images_usage()?.layers;
            usage.images = Some(self.images_for_usage()?);
        }
        if wanted("container") {
            usage.containers =
                Some(self.list(&ListQuery { all: true, size: true, api_version, ..ListQuery::default() })?);
        }
        if wanted("volume") {
            usage.volumes = Some(self.volume_usage());
        }
        usage.build_cache = wanted("build-cache").then_some([]);
        Ok(usage)
    }
}
