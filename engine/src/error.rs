//! What can go wrong in an act of the engine: a kind, which decides the status of the answer, and a sentence for the user.
//!
//! Clients match words of Docker's sentences, so the text of a failure is written where it is found, in full.

use std::fmt;
use std::io;
use std::path::Path;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Docker's classes of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    NotFound,
    InvalidParameter,
    Conflict,
    Unauthorized,
    Forbidden,
    Unavailable,
    NotImplemented,
    System,
}

/// A failed act.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    pub(crate) fn not_found(message: impl fmt::Display) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(Kind::InvalidParameter, message)
    }

    pub(crate) fn conflict(message: impl fmt::Display) -> Self {
        Self::new(Kind::Conflict, message)
    }

    pub(crate) fn forbidden(message: impl fmt::Display) -> Self {
        Self::new(Kind::Forbidden, message)
    }

    pub(crate) fn not_implemented(message: impl fmt::Display) -> Self {
        Self::new(Kind::NotImplemented, message)
    }

    pub(crate) fn system(message: impl fmt::Display) -> Self {
        Self::new(Kind::System, message)
    }

    /// The same failure, told as part of a greater act.
    pub(crate) fn within(self, act: impl fmt::Display) -> Self {
        Self { message: format!("{act}: {}", self.message), ..self }
    }
}

/// Names the act and its object for an error of the system.
pub(crate) trait During<T> {
    /// `create /a/b: permission denied`.
    fn during(self, act: &str, path: &Path) -> Result<T>;
    /// `act: permission denied`.
    fn while_doing(self, act: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during(self, act: &str, path: &Path) -> Result<T> {
        self.map_err(|error| Error::system(format!("{act} {}: {}", path.display(), error.into())))
    }

    fn while_doing(self, act: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::system(format!("{act}: {}", error.into())))
    }
}
