//! The files of an archive, written into the store as they pass, and found again by name.
//!
//! The names are keys and never paths of this machine. They are checked all the same: an archive with a name that leads out
//! of it was not written by an honest program.

use std::collections::HashMap;
use std::io::{self, Read};

use serde::de::DeserializeOwned;

use crate::archive::{Entry, Kind, Reader};
use crate::compression::{Compression, Decoder};
use crate::error::OfFile as _;
use crate::new_image::layer_type;
use crate::store::{Kept, MOST_IN_MEMORY, Sealed};
use crate::{Descriptor, Digest, Error, Result, Store, media_type};

/// An image of 500 layers has 2,000 files in Docker's first form.
const MOST_FILES: usize = 100_000;
/// A link to a link to a link is no layer.
const MOST_LINKS: usize = 8;

/// What an archive had.
pub(super) struct Spool<'a> {
    store: &'a Store,
    files: HashMap<String, Place>,
    links: HashMap<String, String>,
}

enum Place {
    Spooled(Sealed),
    /// It is in the store now, and held until the spool is dropped.
    Stored(Kept, Compression),
}

impl<'a> Spool<'a> {
    pub(super) fn read(store: &'a Store, archive: impl Read + Send) -> Result<Self> {
        let mut spool = Self { store, files: HashMap::new(), links: HashMap::new() };
        let mut reader = Reader::new(Decoder::new(archive).map_err(Error::Decompress)?);
        while let Some(entry) = reader.next_entry()? {
            if spool.files.len() + spool.links.len() >= MOST_FILES {
                return Err(Error::TooManyFiles(MOST_FILES));
            }
            spool.take(&entry, &mut reader)?;
        }
        reader.drain()?;
        Ok(spool)
    }

    fn take(&mut self, entry: &Entry, reader: &mut Reader<impl Read>) -> Result<()> {
        let name = inside("", &entry.path)?;
        match entry.kind {
            Kind::Directory => {}
            Kind::File => {
                let mut content = self.store.new_content()?;
                let path = content.path().to_owned();
                io::copy(&mut reader.content(entry.size), &mut content).of("write", &path)?;
                self.links.remove(&name);
                self.files.insert(name, Place::Spooled(content.seal()?));
            }
            Kind::Symlink => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                self.links.insert(name.clone(), inside(folder, &entry.link)?);
            }
            Kind::HardLink => drop(self.links.insert(name, inside("", &entry.link)?)),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                return Err(Error::LoadEntry { name, why: "is neither a file nor a folder nor a link" });
            }
        }
        Ok(())
    }

    /// The name at the end of links.
    fn follow<'b>(&'b self, name: &'b str) -> Result<&'b str> {
        let mut name = name;
        for _ in 0..MOST_LINKS {
            match self.links.get(name) {
                Some(target) => name = target,
                None => return Ok(name),
            }
        }
        Err(Error::LoadEntry { name: name.to_owned(), why: "is a link that leads nowhere" })
    }

    /// A file that is read as a whole; none if the archive has no such file.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let clean = inside("", name.as_bytes())?;
        let (size, file) = match self.files.get(self.follow(&clean)?) {
            None => return Ok(None),
            Some(Place::Spooled(sealed)) => (sealed.size, sealed.open()?),
            Some(Place::Stored(kept, _)) => (kept.size, self.store.open_blob(&kept.digest)?),
        };
        if size > MOST_IN_MEMORY {
            return Err(Error::LoadEntry { name: clean, why: "is too long to be a description" });
        }
        let mut bytes = Vec::new();
        file.take(MOST_IN_MEMORY).read_to_end(&mut bytes).map_err(Error::ReadInput)?;
        Ok(Some(bytes))
    }

    pub(super) fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>> {
        let named = |source| Error::Json { what: name, source };
        self.bytes(name)?.map(|bytes| serde_json::from_slice(&bytes).map_err(named)).transpose()
    }

    /// A blob of the archive's OCI layout.
    pub(super) fn blob_bytes(&self, digest: &Digest) -> Result<Vec<u8>> {
        let bytes =
            self.bytes(&blob_name(digest))?.ok_or(Error::Missing { what: "blob", digest: *digest })?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(Error::WrongDigest { what: "blob of the archive", expected: *digest, found }),
        }
    }

    /// Puts a blob of the OCI layout into the store, unless it is there.
    pub(super) fn keep_blob(&mut self, blob: &Descriptor) -> Result<()> {
        let name = blob_name(&blob.digest);
        if !self.files.contains_key(self.follow(&name)?) && self.store.blob_size(&blob.digest)?.is_some() {
            return Ok(());
        }
        let kept = self.keep_file(&name)?;
        let what = "blob of the archive";
        if kept.digest != blob.digest {
            return Err(Error::WrongDigest { what, expected: blob.digest, found: kept.digest });
        }
        if kept.size != blob.size {
            let (digest, expected, found) = (blob.digest, blob.size, kept.size);
            return Err(Error::WrongSize { what, digest, expected, found });
        }
        Ok(())
    }

    /// Puts a layer into the store.
    pub(super) fn keep_file(&mut self, name: &str) -> Result<Descriptor> {
        let clean = inside("", name.as_bytes())?;
        let name = self.follow(&clean)?.to_owned();
        let missing = || Error::LoadEntry { name: name.clone(), why: "is missing from the archive" };
        let place = match self.files.remove(&name).ok_or_else(missing)? {
            Place::Spooled(sealed) => {
                let mut start = Vec::new();
                sealed.open()?.take(16).read_to_end(&mut start).map_err(Error::ReadInput)?;
                Place::Stored(sealed.keep(self.store)?, Compression::of(&start))
            }
            stored @ Place::Stored(..) => stored,
        };
        let Place::Stored(kept, compression) = self.files.entry(name).or_insert(place) else {
            return Err(Error::NoImages);
        };
        // bzip2 and xz have no media type: readers go by the content, as we do.
        let media_type = layer_type(*compression).unwrap_or(media_type::OCI_LAYER);
        Ok(Descriptor::new(media_type, kept.digest, kept.size))
    }
}

pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A name relative to a folder of the archive, without `.` and `..`.
fn inside(folder: &str, name: &[u8]) -> Result<String> {
    let refuse = |why| Error::LoadEntry { name: String::from_utf8_lossy(name).into_owned(), why };
    let text = std::str::from_utf8(name).map_err(|_| refuse("is not UTF-8"))?;
    if text.starts_with('/') {
        return Err(refuse("is an absolute path"));
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(|| refuse("leads out of the archive"))?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_archive() {
        for (folder, name, clean) in [
            ("", "./a/b", "a/b"),
            ("", "a//b/", "a/b"),
            ("one", "../two/layer.tar", "two/layer.tar"),
            ("", "", ""),
        ] {
            assert_eq!(inside(folder, name.as_bytes()).unwrap(), clean);
        }
        for (folder, name) in [("", "../a"), ("", "/a"), ("a", "../../b"), ("", "a/../../b")] {
            assert!(inside(folder, name.as_bytes()).is_err(), "{name}");
        }
        assert!(inside("", b"\xff").is_err());
    }
}
