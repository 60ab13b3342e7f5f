//! The store's records, in one redb file: what a name means, which images there are, which layers are unpacked.
//!
//! Values are JSON: a field may be added without a new format. A snapshot's record is in its own folder instead
//! (snapshots.rs), because making one must not wait for the disk.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::marker::PhantomData;
use std::path::Path;
use std::str::FromStr;

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable, TableDefinition, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Descriptor, Digest, Error, Reference, Result};

/// redb would take a gigabyte. The records of a thousand images are two megabytes.
const CACHE: usize = 4 << 20;

/// What a name stands for, by canonical reference: `docker.io/library/busybox:latest` or `...@sha256:HEX`.
pub(crate) const REFERENCES: Table<Reference, Target> = Table::new("references");
/// By image ID.
pub(crate) const IMAGES: Table<Digest, ImageRecord> = Table::new("images");
/// By diffID.
pub(crate) const LAYERS: Table<Digest, LayerRecord> = Table::new("layers");
/// Repositories that have a blob, by its digest: where a push may mount it from.
pub(crate) const SOURCES: Table<Digest, Vec<String>> = Table::new("sources");

/// What a reference leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The image, by ID.
    pub image: Digest,
    /// What the registry had under that name: a manifest, or an index of which the image is one.
    pub digest: Digest,
}

/// An image on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The manifest that the image came with first; its config's digest is the image's ID.
    pub manifest: Descriptor,
    /// The lowest first.
    pub layers: Vec<LayerLink>,
    /// When it came here, seconds since 1970.
    pub stored: u64,
    /// The image that it was committed from.
    pub parent: Option<Digest>,
    /// When it was last given a name here, in RFC 3339; a name that came with it does not count.
    #[serde(default)]
    pub tagged: Option<String>,
}

/// One layer of an image: the content, and the form in which its manifest has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerLink {
    pub diff_id: Digest,
    pub blob: Descriptor,
}

/// An unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Blobs that were seen to give this diffID.
    pub blobs: Vec<Digest>,
    /// Bytes of its regular files.
    pub size: u64,
    /// Entries of its archive.
    pub entries: u64,
    /// Its archive has an entry for the root: without one, the root is as the layer below has it.
    #[serde(default)]
    pub has_root: bool,
}

/// A kind of record and the table that holds it, under keys that are written as text.
pub(crate) struct Table<K, R> {
    name: &'static str,
    kinds: PhantomData<fn(K) -> R>,
}

/// What redb calls one of our tables.
type Definition = TableDefinition<'static, &'static str, &'static [u8]>;

impl<K: Display + FromStr + Ord, R: Serialize + DeserializeOwned> Table<K, R> {
    const fn new(name: &'static str) -> Self {
        Self { name, kinds: PhantomData }
    }

    const fn definition(&self) -> Definition {
        TableDefinition::new(self.name)
    }

    fn decode(&self, key: &str, bytes: &[u8]) -> Result<R> {
        let named = |source| Error::Record { table: self.name, key: key.into(), source };
        serde_json::from_slice(bytes).map_err(named)
    }

    fn find(&self, table: &impl ReadableTable<&'static str, &'static [u8]>, key: &K) -> Result<Option<R>> {
        let key = key.to_string();
        let found = table.get(key.as_str()).map_err(reading)?;
        found.map(|bytes| self.decode(&key, bytes.value())).transpose()
    }

    fn list(&self, table: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<BTreeMap<K, R>> {
        let rows = table.iter().map_err(reading)?;
        rows.map(|row| {
            let (key, bytes) = row.map_err(reading)?;
            let text = key.value();
            let key = text.parse().map_err(|_| Error::Key { table: self.name, key: text.into() })?;
            Ok((key, self.decode(text, bytes.value())?))
        })
        .collect()
    }
}

fn reading(error: impl Into<redb::Error>) -> Error {
    Error::Metadata { act: "read", source: Box::new(error.into()) }
}

fn writing(error: impl Into<redb::Error>) -> Error {
    Error::Metadata { act: "write", source: Box::new(error.into()) }
}

/// The open database.
pub(crate) struct Metadata {
    database: Database,
}

impl Metadata {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let metadata =
            Self { database: Database::builder().set_cache_size(CACHE).create(path).map_err(reading)? };
        metadata.write(|writer| {
            for table in
                [REFERENCES.definition(), IMAGES.definition(), LAYERS.definition(), SOURCES.definition()]
            {
                writer.open(table)?;
            }
            Ok(())
        })?;
        Ok(metadata)
    }

    /// The records as they are now; what is written later is not seen.
    pub(crate) fn read(&self) -> Result<Reader> {
        Ok(Reader { transaction: self.database.begin_read().map_err(reading)? })
    }

    /// All that `act` writes becomes true at once, on disk; or nothing, when it fails.
    pub(crate) fn write<T>(&self, act: impl FnOnce(&Writer) -> Result<T>) -> Result<T> {
        let writer = Writer { transaction: self.database.begin_write().map_err(writing)? };
        let value = act(&writer)?;
        writer.transaction.commit().map_err(writing)?;
        Ok(value)
    }
}

pub(crate) struct Reader {
    transaction: ReadTransaction,
}

impl Reader {
    pub(crate) fn get<K, R>(&self, table: &Table<K, R>, key: &K) -> Result<Option<R>>
    where
        K: Display + FromStr + Ord,
        R: Serialize + DeserializeOwned,
    {
        table.find(&self.transaction.open_table(table.definition()).map_err(reading)?, key)
    }

    pub(crate) fn all<K, R>(&self, table: &Table<K, R>) -> Result<BTreeMap<K, R>>
    where
        K: Display + FromStr + Ord,
        R: Serialize + DeserializeOwned,
    {
        table.list(&self.transaction.open_table(table.definition()).map_err(reading)?)
    }
}

/// The one writer: others wait for its end.
pub(crate) struct Writer {
    transaction: WriteTransaction,
}

impl Writer {
    fn open(&self, table: Definition) -> Result<redb::Table<'_, &'static str, &'static [u8]>> {
        self.transaction.open_table(table).map_err(writing)
    }

    pub(crate) fn get<K, R>(&self, table: &Table<K, R>, key: &K) -> Result<Option<R>>
    where
        K: Display + FromStr + Ord,
        R: Serialize + DeserializeOwned,
    {
        table.find(&self.open(table.definition())?, key)
    }

    pub(crate) fn all<K, R>(&self, table: &Table<K, R>) -> Result<BTreeMap<K, R>>
    where
        K: Display + FromStr + Ord,
        R: Serialize + DeserializeOwned,
    {
        table.list(&self.open(table.definition())?)
    }

    pub(crate) fn put<K, R>(&self, table: &Table<K, R>, key: &K, record: &R) -> Result<()>
    where
        K: Display + FromStr + Ord,
        R: Serialize + DeserializeOwned,
    {
        let key = key.to_string();
        let named = |source| Error::Record { table: table.name, key: key.clone(), source };
        let bytes = serde_json::to_vec(record).map_err(named)?;
        self.open(table.definition())?.insert(key.as_str(), bytes.as_slice()).map_err(writing)?;
        Ok(())
    }

    pub(crate) fn remove<K, R>(&self, table: &Table<K, R>, key: &K) -> Result<()>
    where
        K: Display + FromStr + Ord,
        R: Serialize + DeserializeOwned,
    {
        self.open(table.definition())?.remove(key.to_string().as_str()).map_err(writing)?;
        Ok(())
    }
}
