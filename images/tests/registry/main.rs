//! The registry client against registries that misbehave, and against the real one of Debian.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test ends where an expectation fails

mod authentication;
mod blobs;
mod certificates;
mod downloads;
mod manifests;
mod mirrors;
mod proxies;
mod real;
mod redirects;
mod search;
mod server;
mod tls;
mod uploads;

use std::time::Duration;

use knarr_images::registry::{Client, Config, Credentials};
use knarr_images::{Descriptor, Digest, Reference, media_type};

use server::{Reply, Server, reply};

/// Fails soon, and needs nothing of this machine. A busy machine is not taken for a registry that stalls.
pub(crate) fn config() -> Config {
    Config {
        certs_dir: "/nonexistent".into(),
        stall_timeout: Duration::from_secs(20),
        back_off: Duration::from_millis(10),
        ..Config::default()
    }
}

pub(crate) fn client() -> Client {
    Client::new(&config()).unwrap()
}

/// Notices within a second that nothing comes.
pub(crate) fn impatient_client() -> Client {
    Client::new(&Config { stall_timeout: Duration::from_secs(1), ..config() }).unwrap()
}

pub(crate) fn reference(host: &str, rest: &str) -> Reference {
    Reference::parse(&format!("{host}/{rest}")).unwrap()
}

pub(crate) fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type::OCI_LAYER_GZIP.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        urls: Vec::new(),
        annotations: std::collections::BTreeMap::default(),
        platform: None,
    }
}

pub(crate) fn basic() -> Credentials {
    Credentials::Basic { user: "otto".to_owned(), secret: "geh:eim".to_owned() }
}

/// `otto:geh:eim`
pub(crate) const BASIC: &str = "Basic b3R0bzpnZWg6ZWlt";

pub(crate) fn manifest_bytes() -> Vec<u8> {
    format!(r#"{{"schemaVersion":2,"mediaType":"{}","config":{{}},"layers":[]}}"#, media_type::OCI_MANIFEST)
        .into_bytes()
}

pub(crate) fn manifest_reply() -> Reply {
    reply(200).header("Content-Type", media_type::OCI_MANIFEST).body(manifest_bytes())
}

/// An error with all its sources, as users see it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Readers go to the threads that unpack.
const _: fn() = || {
    fn goes_to_threads<T: Send>() {}
    goes_to_threads::<knarr_images::registry::BlobReader>();
    goes_to_threads::<Client>();
};

/// A registry that answers `/v2/` and leaves the rest to `handler`.
pub(crate) fn registry(mut handler: impl FnMut(&server::Request) -> Reply + Send + 'static) -> Server {
    Server::start(move |request| if request.target == "/v2/" { reply(200) } else { handler(request) })
}
