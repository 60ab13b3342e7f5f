//! The crate's error: one variant per act, with the object it was done to. Texts that Docker's clients match are Docker's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Digest;

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an act on images failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{act} {path:?}")]
    File { act: &'static str, path: PathBuf, source: io::Error },
    #[error("{act} the store's metadata")]
    Metadata { act: &'static str, source: Box<redb::Error> },
    #[error("read record {key:?} of the store's {table}")]
    Record { table: &'static str, key: String, source: serde_json::Error },
    #[error("a record of the store's {table} has the key {key:?}")]
    Key { table: &'static str, key: String },
    #[error("read the {what}")]
    Json { what: &'static str, source: serde_json::Error },
    #[error("rootfs.type of the image configuration is {0:?}, not \"layers\"")]
    RootfsKind(String),
    #[error("too many non-empty layers in History section")]
    TooManySteps,
    #[error("the store in {0:?} is in use by another process")]
    StoreInUse(PathBuf),
    #[error("No such image: {0}")]
    NoSuchImage(String),
    #[error("{name:?} is ambiguous: {count} images have an ID that begins so")]
    AmbiguousId { name: String, count: usize },
    #[error("conflict: {0}")]
    Conflict(String),
    #[error("No such snapshot: {0}")]
    NoSuchSnapshot(String),
    #[error("snapshot {0:?} exists")]
    SnapshotExists(String),
    #[error(
        "invalid snapshot name {0:?}: want a letter or digit, then at most 127 of letters, digits, '_', '.' and '-'"
    )]
    SnapshotName(String),
    #[error(transparent)]
    Registry(Box<crate::registry::Error>),
    #[error(transparent)]
    Archive(#[from] crate::archive::Error),
    #[error(transparent)]
    Reference(#[from] crate::InvalidReference),
    #[error(transparent)]
    Platform(Box<crate::platform::NoMatchingManifest>),
    #[error("invalid tag {0:?}")]
    InvalidTag(String),
    #[error("unsupported media type {0}")]
    MediaType(String),
    #[error("layers from manifest don't match image configuration")]
    LayersMismatch,
    #[error(
        "layers from manifest don't match image configuration: content of a layer has digest {found}, not {expected}"
    )]
    DiffId { expected: Digest, found: Digest },
    #[error("layer {blob}")]
    Layer { blob: Digest, source: Arc<Error> },
    #[error("download {blob}")]
    Download { blob: Digest, source: io::Error },
    #[error("{what} {digest} has {size} bytes, more than {most}")]
    TooLong { what: &'static str, digest: Digest, size: u64, most: u64 },
    #[error("{what} {digest} has {found} bytes, not {expected}")]
    WrongSize { what: &'static str, digest: Digest, expected: u64, found: u64 },
    #[error(
        "unpack a layer: this takes root, of the machine or of a user namespace in which its owners are mapped"
    )]
    NotRoot,
    /// overlayfs takes no more.
    #[error("max depth exceeded: the image has {count} layers, more than {most}")]
    TooDeep { count: usize, most: usize },
    #[error("start a thread")]
    Thread(#[source] io::Error),
    /// Somebody called [`crate::pull::Cancel::cancel`].
    #[error("the operation was cancelled")]
    Cancelled,
    /// The other half of the work has failed, and says why.
    #[error("the other half of the work has ended")]
    Abandoned,
    #[error("decompress the archive")]
    Decompress(#[source] io::Error),
    #[error("read the input")]
    ReadInput(#[source] io::Error),
    #[error("write the output")]
    WriteOutput(#[source] io::Error),
    #[error(
        "invalid archive: it has neither a manifest.json nor an index.json with an image for this machine"
    )]
    NoImages,
    #[error("invalid archive: {name:?} {why}")]
    LoadEntry { name: String, why: &'static str },
    #[error("invalid archive: more than {0} files")]
    TooManyFiles(usize),
    #[error("{what} {digest} is not in the store")]
    Missing { what: &'static str, digest: Digest },
    #[error("{what}: the content has digest {found}, not {expected}")]
    WrongDigest { what: &'static str, expected: Digest, found: Digest },
}

impl From<crate::registry::Error> for Error {
    fn from(error: crate::registry::Error) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<crate::platform::NoMatchingManifest> for Error {
    fn from(error: crate::platform::NoMatchingManifest) -> Self {
        Self::Platform(Box::new(error))
    }
}

/// Names the act and the file that an I/O error belongs to.
pub(crate) trait OfFile<T> {
    fn of(self, act: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> OfFile<T> for std::result::Result<T, E> {
    fn of(self, act: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::File { act, path: path.to_owned(), source: source.into() })
    }
}
