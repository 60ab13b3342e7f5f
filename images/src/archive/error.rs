//! What can go wrong with an archive. Whatever is refused is named, as the archive calls it.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read the archive")]
    Read(#[source] io::Error),
    #[error("write the archive")]
    Write(#[source] io::Error),
    #[error("archive header at byte {offset}: {defect}")]
    Header { offset: u64, defect: &'static str },
    /// An entry that breaks a rule.
    #[error("archive entry {name:?}: {reason}")]
    Refused { name: String, reason: &'static str },
    /// The system refused what an entry asks for.
    #[error("{act} {name:?}")]
    Entry {
        act: &'static str,
        name: String,
        #[source]
        source: io::Error,
    },
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Characters of a name that an error shows.
const SHOWN: usize = 256;

/// A name for an error: hostile names are long or no UTF-8.
pub(crate) fn shown(name: &[u8]) -> String {
    let short = name.get(..SHOWN).unwrap_or(name);
    let mut text = String::from_utf8_lossy(short).into_owned();
    if short.len() < name.len() {
        text.push('…');
    }
    text
}

impl Error {
    pub(crate) fn refused(name: &[u8], reason: &'static str) -> Self {
        Self::Refused { name: shown(name), reason }
    }

    pub(crate) fn entry(act: &'static str, name: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Entry { act, name: shown(name), source: source.into() }
    }
}
