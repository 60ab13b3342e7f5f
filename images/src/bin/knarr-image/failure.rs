//! What can end a command, and its one line.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}; see knarr-image --help")]
    Usage(String),
    #[error(transparent)]
    Image(#[from] knarr_images::Error),
    #[error(transparent)]
    Reference(#[from] knarr_images::InvalidReference),
    #[error("{act} {path:?}")]
    File { act: &'static str, path: PathBuf, source: io::Error },
    #[error("write to stdout")]
    Output(#[source] io::Error),
    #[error("user {0:?} of the image is in neither its /etc/passwd nor its /etc/group, and is no number")]
    User(String),
}

/// The error with all that caused it.
pub(crate) fn chain(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
