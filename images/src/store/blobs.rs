//! Content by digest: the bytes as they came, complete and verified.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::Store;
use super::holds::Hold;
use super::layout::sync_names;
use crate::error::OfFile as _;
use crate::{Digest, Error, Hasher, Result};

/// What is read into memory as a whole (manifests, configurations, indexes) is at most this long, in bytes.
pub(crate) const MOST_IN_MEMORY: u64 = 8 << 20;

impl Store {
    /// The length of a blob, if the store has it.
    pub(crate) fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.layout.blob(digest);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).of("look at", &path),
        }
    }

    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.layout.blob(digest);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::Missing { what: "blob", digest: *digest })
            }
            opened => opened.of("open", &path),
        }
    }

    /// A manifest or a configuration, whose digest is checked once more.
    pub(crate) fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.layout.blob(digest);
        let mut bytes = Vec::new();
        self.open_blob(digest)?.take(MOST_IN_MEMORY).read_to_end(&mut bytes).of("read", &path)?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(Error::WrongDigest { what: "blob", expected: *digest, found }),
        }
    }

    /// Keeps bytes that are in memory. They are on disk when this returns.
    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.blob_size(&digest)?.is_none() {
            let mut content = self.new_content()?;
            content.write_all(bytes).of("write", &content.file.path.clone())?;
            content.seal()?.keep(self)?;
        }
        Ok(digest)
    }

    /// Content whose digest is not known before its end.
    pub(crate) fn new_content(&self) -> Result<NewContent> {
        let path = self.layout.new_in(&self.layout.ingest());
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let open = opened.of("create", &path)?;
        Ok(NewContent { open, hasher: Hasher::new(), file: Unnamed { path, kept: false } })
    }

    /// For errors that name a blob's file.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.layout.blob(digest)
    }
}

/// A blob that is being written.
pub(crate) struct NewContent {
    open: File,
    hasher: Hasher,
    file: Unnamed,
}

/// A blob that is written, and has no name yet.
pub(crate) struct Sealed {
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    file: Unnamed,
}

/// A blob of the store that no record refers to yet.
pub(crate) struct Kept {
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    _hold: Hold,
}

/// A file that is removed when it is dropped before it is kept.
struct Unnamed {
    path: PathBuf,
    kept: bool,
}

impl NewContent {
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }

    /// The content is complete, and on disk.
    pub(crate) fn seal(self) -> Result<Sealed> {
        let Self { open, hasher, file } = self;
        open.sync_data().of("sync", &file.path)?;
        Ok(Sealed { size: hasher.length(), digest: hasher.finish(), file })
    }
}

impl Sealed {
    pub(crate) fn open(&self) -> Result<File> {
        File::open(&self.file.path).of("open", &self.file.path)
    }

    /// Gives the content its name.
    pub(crate) fn keep(mut self, store: &Store) -> Result<Kept> {
        let hold = store.hold(self.digest);
        fs::rename(&self.file.path, store.layout.blob(&self.digest)).of("rename", &self.file.path)?;
        self.file.kept = true;
        sync_names(&store.layout.blobs())?;
        Ok(Kept { digest: self.digest, size: self.size, _hold: hold })
    }
}

impl Write for NewContent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.open.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed by the next opening of the store.
            let _ = fs::remove_file(&self.path);
        }
    }
}
