//! What a path in a container is, as `docker cp` asks for it, and what a container has changed.

use knarr_images::diff::{Change, ChangeKind};
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

/// A file that is not as it was in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FileChange {
    pub(crate) path: String,
    /// 0: modified, 1: added, 2: deleted.
    pub(crate) kind: u8,
}

impl From<Change> for FileChange {
    fn from(change: Change) -> Self {
        let kind = match change.kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        };
        Self { path: change.path.to_string_lossy().into_owned(), kind }
    }
}
