//! The error of this program: one variant per act, with the object it was done to.

use std::path::PathBuf;

/// What every fallible function of this crate returns.
pub(crate) type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: not a task")]
    Task { path: PathBuf, source: serde_json::Error },
    #[error("{path}: {field} {rule}")]
    Field { path: PathBuf, field: &'static str, rule: &'static str },
    #[error("write {path}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("listen on {path}")]
    Listen { path: PathBuf, source: std::io::Error },
    #[error("start {program}")]
    Start { program: String, source: std::io::Error },
    /// The runtime has said why, in its log or by its status alone.
    #[error("{message}")]
    Runtime { message: String },
    #[error("{call}")]
    Call { call: &'static str, source: std::io::Error },
}

/// Names the call that failed.
pub(crate) trait Named<T> {
    fn named(self, call: &'static str) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Named<T> for std::result::Result<T, E> {
    fn named(self, call: &'static str) -> Result<T> {
        self.map_err(|source| Error::Call { call, source: source.into() })
    }
}

/// An error and what it comes from, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
