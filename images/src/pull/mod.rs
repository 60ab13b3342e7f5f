//! A pull: from a name to an image on record. The plan (manifest, platform, configuration) is made one step after the other;
//! the layers are fetched at the same time (`fetch`), and shared with other pulls (`board`).

mod board;
mod fetch;
mod growth;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;
use std::thread;

use crate::new_image::Stored;
use crate::platform::Wanted as Machine;
use crate::progress::{Event, Progress, Stage};
use crate::registry::{Client, Credentials};
use crate::store::{Hold, LayerLink, MOST_IN_MEMORY};
use crate::{
    Descriptor, Digest, Error, ImageConfig, Index, Manifest, Reference, Result, Store, layer, media_type,
};
use board::{Board, Interest, Joined};
use fetch::{Fetch, Wanted};

pub use board::Cancel;

/// Docker's `max-concurrent-downloads`.
const DOWNLOADS: usize = 3;

/// What pulls share: one for a process.
pub struct Puller {
    store: Arc<Store>,
    client: Client,
    board: Arc<Board>,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Pull {
    pub reference: Reference,
    pub credentials: Credentials,
    pub machine: Machine,
}

/// An image as the registry describes it.
struct Plan {
    /// Digest of what the name means there: the manifest, or an index with it.
    named: Digest,
    media_type: String,
    manifest: Vec<u8>,
    id: Digest,
    config: Vec<u8>,
    layers: Vec<LayerLink>,
}

impl Puller {
    pub fn new(store: Arc<Store>, client: Client) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { store, client, board: Arc::new(Board::new(DOWNLOADS, processors + 1)) }
    }

    /// What talks to registries.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What can stop a pull of this puller.
    pub fn cancel(&self) -> Cancel {
        Cancel::new(&self.board)
    }

    /// The tags of a repository, for those who want to pull all.
    pub fn tags(&self, repository: &Reference, credentials: &Credentials) -> Result<Vec<Reference>> {
        Ok(self.client.tags(repository, credentials)?)
    }

    /// Fetches an image and gives it its name. Returns its ID.
    ///
    /// A pull that fails or is cancelled leaves what it has downloaded to the next one.
    pub fn pull(&self, pull: &Pull, cancel: &Cancel, progress: Progress<'_>) -> Result<Digest> {
        let pull = &Pull { reference: pull.reference.or_latest(), ..pull.clone() };
        let reference = &pull.reference;
        let plan = self.plan(pull)?;
        // Not before: what the registry does not have is told without a word of progress.
        let (repository, tag) = (reference.repository().to_owned(), reference.wanted());
        progress(&Event::PullingFrom { repository, tag });
        let before = self.store.target(reference)?;
        let _holds = self.hold(&plan);
        self.fetch(pull, &plan, cancel, progress)?;
        let stored = Stored { manifest: &plan.manifest, media_type: &plan.media_type, config: &plan.config };
        stored.record(&self.store, plan.layers, None, |_| names(reference, plan.named))?;
        progress(&Event::Digest(plan.named));
        let after = self.store.target(reference)?;
        let reference = reference.familiar();
        progress(&if before == after { Event::UpToDate { reference } } else { Event::Newer { reference } });
        Ok(plan.id)
    }

    /// Follows an index to the manifest for the machine, and reads the configuration.
    fn plan(&self, pull: &Pull) -> Result<Plan> {
        let Pull { reference, credentials, machine } = pull;
        let mut fetched = self.client.manifest(reference, credentials)?;
        let named = fetched.digest;
        if matches!(fetched.media_type.as_str(), media_type::OCI_INDEX | media_type::DOCKER_LIST) {
            let index = Index::parse(&fetched.bytes)?;
            let chosen = machine.choose(&index)?.digest;
            fetched = self.client.manifest(&reference.with_digest(chosen), credentials)?;
        }
        let manifest = Manifest::parse(&fetched.bytes)?;
        let config = ImageConfig::parse(self.config(pull, &manifest.config)?)?;
        let diff_ids = &config.parts().rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(Error::LayersMismatch);
        }
        layer::check_depth(diff_ids.len())?;
        let links = diff_ids.iter().zip(manifest.layers);
        Ok(Plan {
            named,
            media_type: fetched.media_type,
            manifest: fetched.bytes,
            id: manifest.config.digest,
            layers: links.map(|(diff_id, blob)| LayerLink { diff_id: *diff_id, blob }).collect(),
            config: config.bytes().to_vec(),
        })
    }

    fn config(&self, pull: &Pull, config: &Descriptor) -> Result<Vec<u8>> {
        if !matches!(config.media_type.as_str(), media_type::DOCKER_CONFIG | media_type::OCI_CONFIG) {
            return Err(Error::MediaType(config.media_type.clone()));
        }
        if self.store.blob_size(&config.digest)?.is_some() {
            return self.store.read_blob(&config.digest);
        }
        let Descriptor { digest, size, .. } = *config;
        if size > MOST_IN_MEMORY {
            return Err(Error::TooLong { what: "image configuration", digest, size, most: MOST_IN_MEMORY });
        }
        let mut bytes = Vec::new();
        let mut content = self.client.blob(&pull.reference, config, &pull.credentials, 0)?;
        content.read_to_end(&mut bytes).map_err(|source| Error::Download { blob: digest, source })?;
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(Error::WrongDigest { what: "image configuration", expected: digest, found }),
        }
    }

    /// All that the image will refer to.
    fn hold(&self, plan: &Plan) -> Vec<Hold> {
        let layers = plan.layers.iter().flat_map(|layer| [layer.diff_id, layer.blob.digest]);
        layers.map(|digest| self.store.hold(digest)).collect()
    }

    fn fetch(&self, pull: &Pull, plan: &Plan, cancel: &Cancel, progress: Progress<'_>) -> Result<()> {
        let known = self.store.image(&plan.id).is_ok();
        let mut seen = BTreeSet::new();
        let mut jobs = Vec::new();
        for link in plan.layers.iter().filter(|link| seen.insert(link.blob.digest)) {
            let blob = link.blob.digest;
            if known || self.is_here(link)? {
                progress(&Event::Layer { blob, stage: Stage::AlreadyExists });
                continue;
            }
            jobs.push(self.job(pull, link)?);
        }
        let mut changed = |blob, stage| progress(&Event::Layer { blob, stage });
        self.board.watch(&jobs, cancel, &mut changed)
    }

    fn is_here(&self, link: &LayerLink) -> Result<bool> {
        let Some(layer) = self.store.layer(&link.diff_id)? else { return Ok(false) };
        Ok(layer.blobs.contains(&link.blob.digest)
            && self.store.blob_size(&link.blob.digest)? == Some(link.blob.size))
    }

    /// Starts to fetch a layer, or takes part in what another pull has started.
    fn job(&self, pull: &Pull, link: &LayerLink) -> Result<Interest<'_>> {
        let interest = match self.board.join(link.blob.digest) {
            Joined::Running(interest) => return Ok(interest),
            Joined::New(interest) => interest,
        };
        let wanted = Wanted {
            reference: pull.reference.clone(),
            credentials: pull.credentials.clone(),
            layer: link.clone(),
        };
        let ending = Ending { board: Arc::clone(&self.board), blob: link.blob.digest, outcome: None };
        let (store, client) = (Arc::clone(&self.store), self.client.clone());
        let run = move || {
            let mut ending = ending;
            let fetch = Fetch { store: &store, client: &client, board: &ending.board, wanted: &wanted };
            let outcome = fetch.run();
            ending.outcome = Some(outcome);
        };
        // A thread that cannot be started drops what it was to run, and so ends the job.
        thread::Builder::new().name("layer".into()).spawn(run).map_err(Error::Thread)?;
        Ok(interest)
    }
}

/// Ends a job on the board, however its thread ends.
struct Ending {
    board: Arc<Board>,
    blob: Digest,
    outcome: Option<Result<()>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.board.finish(&self.blob, self.outcome.take().unwrap_or(Err(Error::Abandoned)));
    }
}

/// A tag comes with the digest that it had in its repository.
fn names(reference: &Reference, named: Digest) -> Vec<(Reference, Digest)> {
    let digest = reference.without_suffix().with_digest(named);
    match reference.digest() {
        Some(_) => vec![(digest, named)],
        None => vec![(reference.clone(), named), (digest, named)],
    }
}
