//! The error of this crate: one variant per act, with the object it was done to.

use std::path::PathBuf;

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an act on a network failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    /// A file could not be written: a sysctl that does not exist, or not in this kernel.
    #[error("write {path}")]
    Write { path: PathBuf, source: std::io::Error },
    /// A file or stream does not hold the JSON that was expected.
    #[error("{what}")]
    Json { what: String, source: serde_json::Error },
    /// A value that breaks a rule; the text names value and rule.
    #[error("{0}")]
    Value(String),
    /// A system call or netlink request failed.
    #[error("{call}")]
    Call { call: String, source: std::io::Error },
    /// Something stands in the way that is not ours.
    #[error("{0}")]
    Conflict(String),
    /// A program is not there.
    #[error("{0} is not installed, or not in PATH")]
    NotInstalled(&'static str),
    /// A program could not be started.
    #[error("start {program}")]
    Start { program: &'static str, source: std::io::Error },
    /// A program has failed, and said why.
    #[error("{program}: {said}")]
    Program { program: &'static str, said: String },
    /// What `source` was met on.
    #[error("{act}")]
    During { act: String, source: Box<Error> },
}

impl Error {
    /// The kernel's answer, where there is one.
    pub(crate) fn errno(&self) -> Option<rustix::io::Errno> {
        match self {
            Self::Call { source, .. } | Self::Write { source, .. } | Self::Read { source, .. } => {
                source.raw_os_error().map(rustix::io::Errno::from_raw_os_error)
            }
            Self::During { source, .. } => source.errno(),
            _ => None,
        }
    }
}

/// Names the call that failed.
pub(crate) trait Named<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Named<T> for std::result::Result<T, E> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Call { call: call(), source: source.into() })
    }
}

/// Names the act that a failure belongs to.
pub(crate) trait During<T> {
    fn during(self, act: impl FnOnce() -> String) -> Result<T>;
}

impl<T> During<T> for Result<T> {
    fn during(self, act: impl FnOnce() -> String) -> Self {
        self.map_err(|source| Error::During { act: act(), source: Box::new(source) })
    }
}

/// An error and what it comes from, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
