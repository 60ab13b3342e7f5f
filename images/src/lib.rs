//! OCI images: pull, verify, store, unpack, snapshot, diff, push, save and load them.
//!
//! The crate knows no containers and no engine. Everything it is given from outside (a registry's answer, an archive, a
//! manifest) is hostile until its digest is verified, and a verified archive is still unpacked as if it were hostile.
//! See the OCI image and distribution specifications.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod archive;
pub mod chain;
pub mod commit;
pub mod compression;
mod config;
mod descent;
pub mod diff;
mod digest;
mod error;
pub mod import;
mod layer;
mod load;
mod manifest;
mod mutex;
mod new_image;
pub mod platform;
pub mod progress;
pub mod pull;
pub mod push;
pub mod reference;
pub mod registry;
mod save;
pub mod store;
mod sys;
mod timestamp;
pub mod unpack;

pub use config::{Healthcheck, History, ImageConfig, Parts, Process};
pub use digest::{Digest, Hasher, InvalidDigest};
pub use error::{Error, Result};
pub use manifest::{Descriptor, Index, Manifest, Platform, Rootfs, media_type};
pub use reference::{InvalidReference, Reference};
pub use store::Store;
