//! A push: the blobs of an image as they came, then its manifest, so that the digests over there are those here.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Seek as _, SeekFrom};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::mutex::lock;
use crate::progress::{Event, Progress, Stage};
use crate::registry::{Client, Credentials, Pushed, Upload};
use crate::store::Image;
use crate::{Descriptor, Digest, Error, Manifest, Reference, Result, Store};

/// Docker's `max-concurrent-uploads`.
const UPLOADS: usize = 5;
/// Bytes between two events of progress.
const STEP: u64 = 1 << 20;

/// Where to, and as whom.
#[derive(Debug, Clone)]
pub struct Push {
    /// A name of an image in the store; `latest` where it has no tag.
    pub reference: Reference,
    pub credentials: Credentials,
}

/// One push.
struct Delivery<'a> {
    store: &'a Store,
    client: &'a Client,
    push: &'a Push,
}

impl Store {
    /// Sends an image to the registry that its name begins with. Returns the digest of its manifest.
    pub fn push(&self, client: &Client, push: &Push, progress: Progress<'_>) -> Result<Digest> {
        let push = &Push { reference: push.reference.or_latest(), credentials: push.credentials.clone() };
        let Push { reference, credentials } = push;
        progress(&Event::PushingTo { repository: reference.name() });
        let target = self.target(reference)?.ok_or_else(|| Error::NoSuchImage(reference.familiar()))?;
        let image = self.image(&target.image)?;
        let Descriptor { media_type, digest, size, .. } = image.record.manifest.clone();
        let bytes = self.read_blob(&digest)?;
        let delivery = Delivery { store: self, client, push };
        delivery.layers(&image, progress)?;
        delivery.blob(&Manifest::parse(&bytes)?.config, None, &mut |_| ())?;
        let pushed = client.push_manifest(reference, credentials, &media_type, &bytes)?;
        let name = reference.without_suffix().with_digest(pushed);
        self.record_image(&image.id, &image.record, &[(name, pushed)])?;
        progress(&Event::Pushed { tag: reference.wanted(), digest: pushed, size });
        Ok(pushed)
    }
}

impl Delivery<'_> {
    /// Several at a time; the first failure stops those that have not begun.
    fn layers(&self, image: &Image, progress: Progress<'_>) -> Result<()> {
        let blobs: BTreeMap<Digest, &Descriptor> =
            image.record.layers.iter().map(|layer| (layer.blob.digest, &layer.blob)).collect();
        for blob in blobs.keys() {
            progress(&Event::Layer { blob: *blob, stage: Stage::Preparing });
        }
        let queue: Mutex<VecDeque<&Descriptor>> = Mutex::new(blobs.into_values().collect());
        let (events, told) = channel();
        thread::scope(|threads| {
            let workers: Vec<_> = (0..UPLOADS)
                .map(|_| {
                    let events = events.clone();
                    let queue = &queue;
                    threads.spawn(move || self.work(queue, &events))
                })
                .collect();
            drop(events);
            // Ends when the last worker has.
            for event in told {
                progress(&event);
            }
            let ends = workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            ends.collect::<Vec<_>>().into_iter().collect()
        })
    }

    fn work(&self, queue: &Mutex<VecDeque<&Descriptor>>, events: &Sender<Event>) -> Result<()> {
        loop {
            let Some(blob) = lock(queue).pop_front() else { return Ok(()) };
            let delivered = self.layer(blob, events);
            if delivered.is_err() {
                lock(queue).clear();
                return delivered;
            }
        }
    }

    fn layer(&self, blob: &Descriptor, events: &Sender<Event>) -> Result<()> {
        let (digest, total) = (blob.digest, blob.size);
        // The receiver lives until all senders are gone.
        let tell = |event| drop(events.send(event));
        let sources = self.store.sources(&digest, self.push.reference.registry())?;
        let mut told = 0;
        let mut sent = |done: u64| {
            if done < told || done - told >= STEP || done == total {
                told = done;
                tell(Event::Layer { blob: digest, stage: Stage::Pushing { done, total } });
            }
        };
        let from = sources.first().map(String::as_str);
        let stage = match self.blob(blob, from, &mut sent)? {
            Pushed::Mounted => {
                tell(Event::Mounted { blob: digest, from: from.unwrap_or_default().to_owned() });
                return Ok(());
            }
            Pushed::Existed => Stage::LayerExists,
            Pushed::Uploaded => Stage::Pushed,
        };
        tell(Event::Layer { blob: digest, stage });
        Ok(())
    }

    fn blob(
        &self,
        blob: &Descriptor,
        mount_from: Option<&str>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Pushed> {
        let mut file = self.store.open_blob(&blob.digest)?;
        let mut source = |offset| {
            file.seek(SeekFrom::Start(offset))?;
            Ok(Box::new(file.try_clone()?) as Box<dyn Read>)
        };
        let upload = Upload { descriptor: blob, source: &mut source, mount_from, progress };
        Ok(self.client.push_blob(&self.push.reference, &self.push.credentials, upload)?)
    }
}
