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

/// An error of the system in the words that Docker has for it: without a number, and in small letters.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let plain = error.raw_os_error().and_then(|number| text.strip_suffix(&format!(" (os error {number})")));
    let plain = plain.unwrap_or(&text);
    let mut letters = plain.chars();
    // What begins with several capitals is a name.
    match (letters.next(), plain.chars().nth(1)) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => plain.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_are_in_dockers_words() {
        let words = |number| words(&io::Error::from_raw_os_error(number));
        assert_eq!(words(libc::ENOENT), "no such file or directory");
        assert_eq!(words(libc::EADDRNOTAVAIL), "cannot assign requested address");
        assert_eq!(super::words(&io::Error::other("Of others (os error 2)")), "of others (os error 2)");
        assert_eq!(super::words(&io::Error::other("TLS: no")), "TLS: no");
    }
}
