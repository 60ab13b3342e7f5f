//! What is told while a pull, a push or a load goes on: a stream of events, in Docker's words.

use std::fmt;

use crate::Digest;

/// Called for each event, by the thread that started the act.
pub type Progress<'a> = &'a mut dyn FnMut(&Event);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A pull begins. `tag` is the tag, or the digest.
    PullingFrom {
        repository: String,
        tag: String,
    },
    /// A push begins; the repository is canonical.
    PushingTo {
        repository: String,
    },
    /// A layer, known by the digest of its blob, has reached a stage.
    Layer {
        blob: Digest,
        stage: Stage,
    },
    /// The registry had a layer in this other repository.
    Mounted {
        blob: Digest,
        from: String,
    },
    /// What the registry has under the name.
    Digest(Digest),
    /// The name now leads to another image than before, or to one for the first time.
    Newer {
        reference: String,
    },
    UpToDate {
        reference: String,
    },
    /// A manifest was pushed.
    Pushed {
        tag: String,
        digest: Digest,
        size: u64,
    },
    /// `docker load` has an image under a name.
    Loaded {
        reference: String,
    },
    LoadedId {
        image: Digest,
    },
    /// A name was taken from the image that had it.
    Renamed {
        reference: String,
        image: Digest,
    },
}

/// How far a layer is. Numbers are bytes of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    PullingLayer,
    Waiting,
    Downloading { done: u64, total: u64 },
    Verifying,
    Downloaded,
    Extracting { done: u64, total: u64 },
    Complete,
    AlreadyExists,
    Preparing,
    Pushing { done: u64, total: u64 },
    Pushed,
    LayerExists,
}

impl Stage {
    /// Bytes done and in all.
    pub fn detail(&self) -> Option<(u64, u64)> {
        match *self {
            Self::Downloading { done, total }
            | Self::Extracting { done, total }
            | Self::Pushing { done, total } => Some((done, total)),
            _ => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PullingLayer => "Pulling fs layer",
            Self::Waiting => "Waiting",
            Self::Downloading { .. } => "Downloading",
            Self::Verifying => "Verifying Checksum",
            Self::Downloaded => "Download complete",
            Self::Extracting { .. } => "Extracting",
            Self::Complete => "Pull complete",
            Self::AlreadyExists => "Already exists",
            Self::Preparing => "Preparing",
            Self::Pushing { .. } => "Pushing",
            Self::Pushed => "Pushed",
            Self::LayerExists => "Layer already exists",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PullingFrom { repository, tag } => write!(f, "{tag}: Pulling from {repository}"),
            Self::PushingTo { repository } => write!(f, "The push refers to repository [{repository}]"),
            Self::Layer { blob, stage } => {
                write!(f, "{:.12}: {stage}", blob.hex())?;
                stage.detail().map_or(Ok(()), |(done, total)| write!(f, " {done}/{total}"))
            }
            Self::Mounted { blob, from } => write!(f, "{:.12}: Mounted from {from}", blob.hex()),
            Self::Digest(digest) => write!(f, "Digest: {digest}"),
            Self::Newer { reference } => write!(f, "Status: Downloaded newer image for {reference}"),
            Self::UpToDate { reference } => write!(f, "Status: Image is up to date for {reference}"),
            Self::Pushed { tag, digest, size } => write!(f, "{tag}: digest: {digest} size: {size}"),
            Self::Loaded { reference } => write!(f, "Loaded image: {reference}"),
            Self::LoadedId { image } => write!(f, "Loaded image ID: {image}"),
            Self::Renamed { reference, image } => write!(
                f,
                "The image {reference} already exists, renaming the old one with ID {image} to empty string"
            ),
        }
    }
}
