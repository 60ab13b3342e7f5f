//! What a path in a container is, as `docker cp` asks for it.

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PathStat {
    pub(crate) name: String,
    pub(crate) size: i64,
    /// Go's `os.FileMode`.
    pub(crate) mode: u32,
    pub(crate) mtime: jiff::Timestamp,
    pub(crate) link_target: String,
}
