//! One layer: downloaded, verified, unpacked while it comes, published.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::thread;

use super::board::{Board, Kind, STEP};
use super::growth::{Follower, Growth};
use crate::progress::Stage;
use crate::registry::{Client, Credentials};
use crate::store::{Finished, Ingest, LayerLink, UnpackedTree};
use crate::{Error, Reference, Result, Store, layer};

/// Read from a connection at a time.
const CHUNK: usize = 256 << 10;

/// A layer that is wanted, and where from.
pub(super) struct Wanted {
    pub(super) reference: Reference,
    pub(super) credentials: Credentials,
    pub(super) layer: LayerLink,
}

/// What a job works with.
pub(super) struct Fetch<'a> {
    pub(super) store: &'a Store,
    pub(super) client: &'a Client,
    pub(super) board: &'a Board,
    pub(super) wanted: &'a Wanted,
}

impl Fetch<'_> {
    /// From what the store has of the layer to a layer on record.
    pub(super) fn run(&self) -> Result<()> {
        let LayerLink { diff_id, blob } = &self.wanted.layer;
        let _holds = (self.store.hold(*diff_id), self.store.hold(blob.digest));
        let unpacked = self.store.layer(diff_id)?.is_some();
        let (download, tree) = match self.store.blob_size(&blob.digest)? {
            Some(found) if found != blob.size => {
                let (digest, expected) = (blob.digest, blob.size);
                return Err(Error::WrongSize { what: "layer", digest, expected, found });
            }
            Some(_) => (None, self.unpack_stored(unpacked)?),
            None => {
                let (path, tree) = self.download(unpacked)?;
                (Some(path), tree)
            }
        };
        self.store.publish(Finished { diff_id: *diff_id, blob: blob.digest, download, tree })?;
        self.announce(Stage::Complete)
    }

    fn announce(&self, stage: Stage) -> Result<()> {
        self.board.announce(&self.wanted.layer.blob.digest, stage)
    }

    fn unpack_stored(&self, unpacked: bool) -> Result<Option<UnpackedTree>> {
        let blob = &self.wanted.layer.blob;
        let growth = Growth::default();
        growth.grow_to(blob.size);
        growth.end(true);
        self.unpack(self.store.open_blob(&blob.digest)?, &growth, unpacked)
    }

    /// Two threads: one fills the file, the other reads it as it grows.
    fn download(&self, unpacked: bool) -> Result<(PathBuf, Option<UnpackedTree>)> {
        let blob = &self.wanted.layer.blob;
        self.announce(Stage::Waiting)?;
        let slot = self.board.slot(Kind::Download, &blob.digest)?;
        let mut ingest = self.store.ingest(blob)?;
        let file = ingest.reader()?;
        let growth = Growth::default();
        growth.grow_to(ingest.length());
        thread::scope(|threads| {
            let unpacking = threads.spawn(|| self.unpack(file, &growth, unpacked));
            let downloaded = self.fill(&mut ingest, &growth, &|| unpacking.is_finished());
            growth.end(downloaded.is_ok());
            drop(slot);
            let tree = unpacking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (downloaded, tree) {
                (Ok(()), Ok(tree)) => Ok((ingest.path().to_owned(), tree)),
                // It failed by itself, and stopped the download. What cannot be unpacked is not worth going on with.
                (Ok(()) | Err(Error::Abandoned), Err(error)) => {
                    if !matches!(error, Error::Cancelled) {
                        ingest.discard()?;
                    }
                    Err(error)
                }
                (Err(error), _) => Err(error),
            }
        })
    }

    fn fill(&self, ingest: &mut Ingest, growth: &Growth, abandoned: &dyn Fn() -> bool) -> Result<()> {
        let Wanted { reference, credentials, layer } = self.wanted;
        let total = layer.blob.size;
        let mut told = ingest.length();
        self.announce(Stage::Downloading { done: told, total })?;
        if told < total {
            let mut content = self.client.blob(reference, &layer.blob, credentials, told)?;
            let mut buffer = vec![0; CHUNK];
            loop {
                let length = content
                    .read(&mut buffer)
                    .map_err(|source| Error::Download { blob: layer.blob.digest, source })?;
                if length == 0 {
                    break;
                }
                ingest.append(&buffer[..length])?;
                growth.grow_to(ingest.length());
                if abandoned() {
                    return Err(Error::Abandoned);
                }
                if ingest.length() - told >= STEP {
                    told = ingest.length();
                    self.announce(Stage::Downloading { done: told, total })?;
                }
            }
        }
        self.announce(Stage::Verifying)?;
        ingest.verify()?;
        self.announce(Stage::Downloaded)
    }

    /// Unpacks the file from its beginning; only hashes the content if the layer is unpacked already.
    fn unpack(&self, file: File, growth: &Growth, unpacked: bool) -> Result<Option<UnpackedTree>> {
        let LayerLink { diff_id, blob } = &self.wanted.layer;
        let _slot = self.board.slot(Kind::Unpacking, &blob.digest)?;
        let mut told = 0;
        let on_progress = |position| {
            if growth.is_complete() && position - told >= STEP {
                told = position;
                // That nobody wants it any more is seen when it is published.
                let _ = self.announce(Stage::Extracting { done: position, total: blob.size });
            }
        };
        let archive = Follower { file, growth, position: 0, on_progress };
        if unpacked {
            layer::verify(archive, diff_id).map(|()| None)
        } else {
            layer::unpack(self.store, archive, Some(diff_id)).map(|(_, tree)| Some(tree))
        }
    }
}
