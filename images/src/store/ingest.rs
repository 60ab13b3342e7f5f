//! A download: appended to a file that outlives the process, so that the next pull goes on where this one stopped.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::Store;
use crate::error::OfFile as _;
use crate::{Descriptor, Error, Hasher, Result};

const BUFFER: usize = 256 << 10;

/// The file of one download.
pub(crate) struct Ingest {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    wanted: Descriptor,
}

impl Store {
    /// What an earlier download left is hashed and kept; what is longer than it should be is not.
    pub(crate) fn ingest(&self, wanted: &Descriptor) -> Result<Ingest> {
        let path = self.layout.partial(&wanted.digest);
        let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let file = opened.of("open", &path)?;
        let mut ingest = Ingest { file, path, hasher: Hasher::new(), wanted: wanted.clone() };
        let length = ingest.file.metadata().of("look at", &ingest.path)?.len();
        if length > wanted.size {
            ingest.file.set_len(0).of("truncate", &ingest.path)?;
        }
        ingest.hash_what_is_there()?;
        Ok(ingest)
    }
}

impl Ingest {
    fn hash_what_is_there(&mut self) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match self.file.read(&mut buffer).of("read", &self.path)? {
                0 => return Ok(()),
                length => self.hasher.update(&buffer[..length]),
            }
        }
    }

    /// Bytes that are there.
    pub(crate) fn length(&self) -> u64 {
        self.hasher.length()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A second descriptor, at the beginning.
    pub(crate) fn reader(&self) -> Result<File> {
        File::open(&self.path).of("open", &self.path)
    }

    /// A local failure frees the space: a full disk is no place to keep what may be asked for again.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        let written = self.file.write_all(bytes).of("write", &self.path);
        if written.is_err() {
            // The failure to write is what is reported.
            let _ = fs::remove_file(&self.path);
        }
        written
    }

    /// Compares length and digest with what was asked for. What is wrong is removed.
    pub(crate) fn verify(&mut self) -> Result<()> {
        let wanted = &self.wanted;
        let hasher = std::mem::take(&mut self.hasher);
        let (length, found) = (hasher.length(), hasher.finish());
        if (length, found) == (wanted.size, wanted.digest) {
            return Ok(());
        }
        self.discard()?;
        Err(Error::WrongDigest { what: "download", expected: wanted.digest, found })
    }

    /// The next download begins at the first byte.
    pub(crate) fn discard(&self) -> Result<()> {
        fs::remove_file(&self.path).of("remove", &self.path)
    }
}
