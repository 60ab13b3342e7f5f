//! A client of OCI and Docker registries (distribution-spec, and the token authentication that all of them add).
//!
//! It moves bytes and names them: nothing is stored, unpacked or hashed here but manifests, which are verified before
//! anybody sees them. Blobs are verified by whoever stores them. All that a registry sends (lengths, ranges, addresses,
//! digests, words) is hostile until it is checked against what was asked for.

mod agents;
mod answer;
mod blob;
mod challenge;
mod credential_helper;
mod credentials;
mod download;
mod endpoint;
mod error;
mod exchange;
mod http_date;
mod insecure;
mod location;
mod manifest;
mod retry;
mod search;
mod tags;
mod token;
mod trust;
mod upload;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::HeaderValue;

pub use self::answer::Answer;
pub use self::blob::BlobReader;
pub use self::credentials::{CredentialStore, Credentials};
pub use self::download::Download;
pub use self::error::{Error, Failure};
pub use self::manifest::{Fetched, Head};
pub use self::search::Repository;
pub use self::upload::{Pushed, Source, Upload};

use self::endpoint::{Endpoint, Site, parse_mirror};
use self::exchange::Question;
use self::insecure::Insecure;
use self::retry::Retries;
use self::token::{Scope, Tokens};
use self::trust::Trust;
use crate::Reference;

/// What an administrator decides about registries.
#[derive(Debug, Clone)]
pub struct Config {
    /// Mirrors of Docker Hub, in the order in which they are asked: `https://HOST[:PORT][/PATH]`.
    pub mirrors: Vec<String>,
    /// Registries that may have any certificate or none: `HOST[:PORT]` or CIDR. Loopback addresses always may.
    pub insecure: Vec<String>,
    /// The folder with a folder of certificates for each registry.
    pub certs_dir: PathBuf,
    /// How long a connection may say nothing.
    pub stall_timeout: Duration,
    /// How often the same thing is tried before it has failed; at least once.
    pub attempts: u32,
    /// The pause after the first failed attempt; it doubles with each one more, up to a minute.
    pub back_off: Duration,
    pub user_agent: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            certs_dir: PathBuf::from("/etc/docker/certs.d"),
            stall_timeout: Duration::from_secs(30),
            attempts: 5,
            back_off: Duration::from_secs(1),
            user_agent: concat!("knarr/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// The configuration, checked.
#[derive(Debug)]
struct Settings {
    mirrors: Vec<Site>,
    insecure: Insecure,
    trust: Trust,
    stall_timeout: Duration,
    attempts: u32,
    back_off: Duration,
    user_agent: String,
}

/// Connections, tokens and what is known of registries; a clone shares them all.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    endpoints: Mutex<HashMap<Site, Arc<Endpoint>>>,
    tokens: Tokens,
}

impl Client {
    /// Checks the configuration; nothing is connected to, and certificates are read when they are first needed.
    pub fn new(config: &Config) -> Result<Self, Error> {
        if HeaderValue::try_from(&config.user_agent).is_err() {
            return Err(Error::UserAgent(config.user_agent.clone()));
        }
        let settings = Settings {
            mirrors: config.mirrors.iter().map(|text| parse_mirror(text)).collect::<Result<_, _>>()?,
            insecure: Insecure::parse(&config.insecure)?,
            trust: Trust::new(config.certs_dir.clone()),
            stall_timeout: config.stall_timeout,
            attempts: config.attempts,
            back_off: config.back_off,
            user_agent: config.user_agent.clone(),
        };
        let shared = Shared { settings, endpoints: Mutex::default(), tokens: Tokens::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Asks a registry, by the name that references have, whether it takes the credentials.
    pub fn login(&self, registry: &str, credentials: &Credentials) -> Result<(), Error> {
        let question = Question::get(String::new(), Scope::nothing());
        self.ask_site(&Site::Registry(registry.to_owned()), &question, credentials).map(drop)
    }

    fn tokens(&self) -> &Tokens {
        &self.shared.tokens
    }

    fn retries(&self) -> Retries {
        Retries::new(self.shared.settings.attempts, self.shared.settings.back_off)
    }

    /// The registry of a reference.
    fn registry(&self, reference: &Reference) -> Result<Arc<Endpoint>, Error> {
        self.endpoint(&Site::of(reference))
    }

    /// What is asked before the registry of a reference: the mirrors, if it is Docker Hub's.
    fn mirrors(&self, reference: &Reference) -> impl Iterator<Item = &Site> {
        self.shared.settings.mirrors.iter().filter(|_| reference.registry() == "docker.io")
    }

    /// An endpoint is found out once. Two threads may do so at the same time; the last one is kept.
    fn endpoint(&self, site: &Site) -> Result<Arc<Endpoint>, Error> {
        let endpoints = || self.shared.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = endpoints().get(site) {
            return Ok(known.clone());
        }
        let found = Arc::new(Endpoint::discover(site, &self.shared.settings)?);
        endpoints().insert(site.clone(), found.clone());
        Ok(found)
    }

    /// Forgets how a registry is reached.
    fn forget(&self, site: &Site) {
        self.shared.endpoints.lock().unwrap_or_else(PoisonError::into_inner).remove(site);
    }
}
