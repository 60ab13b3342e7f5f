//! The connections to one registry and to the hosts it refers to: pools, limits of time, proxies.
//!
//! A transfer may take as long as it moves: the limit is on each read and write, not on the whole. Small answers have a
//! limit on the whole besides. Proxies come from the environment (HTTPS_PROXY, ALL_PROXY, HTTP_PROXY, NO_PROXY), and
//! this machine's own addresses are never asked for through one. Names in NO_PROXY are ureq's business, networks ours: like
//! Go's client, they are compared with addresses as they are written, and no name is looked up for them.

use std::io::{self, Read};
use std::time::Duration;

use ureq::config::ConfigBuilder;
use ureq::http::header::CONTENT_LENGTH;
use ureq::http::{HeaderMap, Method, Request, Response, Uri};
use ureq::tls::TlsConfig;
use ureq::typestate::AgentScope;
use ureq::{Agent, AsSendBody, Body, Proxy, SendBody};

use super::Error;
use super::error::Failure;
use super::insecure::Network;
use super::location::Origin;
use super::trust::Credence;

/// The longer limits, in units of the limit for one read.
const LONG: u32 = 10;

/// What has a limit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// The answer as a whole, and each read of it: a manifest, a token.
    Whole,
    /// Each read and write: a blob.
    Each,
    /// The same, with more time for the answer, which a registry may have to compute: the end of an upload.
    Long,
}

/// One request, without the credentials.
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) payload: Option<Payload<'a>>,
    pub(super) patience: Patience,
}

impl Outgoing<'_> {
    pub(super) fn new(method: Method, patience: Patience) -> Self {
        Self { method, headers: HeaderMap::new(), payload: None, patience }
    }
}

/// Exactly `length` bytes to send.
pub(super) struct Payload<'a> {
    pub(super) length: u64,
    pub(super) source: &'a mut dyn Read,
}

#[derive(Debug)]
pub(super) struct Agents {
    origin: Origin,
    own: Agent,
    foreign: Agent,
    /// Networks that no proxy is asked for.
    direct: Vec<Network>,
    stall: Duration,
}

impl Agents {
    pub(super) fn new(origin: Origin, credence: Credence, stall: Duration, user_agent: &str) -> Self {
        let direct = direct_networks();
        let proxy = if is_direct(&origin, &direct) { None } else { Proxy::try_from_env() };
        let own = builder(credence.own, stall, user_agent).proxy(proxy).build().new_agent();
        let foreign = builder(credence.foreign, stall, user_agent).build().new_agent();
        Self { origin, own, foreign, direct, stall }
    }

    /// Sends one request to `uri` and follows nothing.
    pub(super) fn send(&self, uri: &Uri, outgoing: &mut Outgoing<'_>) -> Result<Response<Body>, Error> {
        let mut request = Request::builder().method(outgoing.method.clone()).uri(uri.clone());
        let wants_body = matches!(outgoing.method, Method::POST | Method::PUT | Method::PATCH);
        let length = outgoing.payload.as_ref().map_or(0, |payload| payload.length);
        if let Some(headers) = request.headers_mut() {
            headers.extend(outgoing.headers.clone());
            if wants_body {
                headers.insert(CONTENT_LENGTH, length.into());
            }
        }
        let mut nothing = io::empty();
        let source =
            outgoing.payload.as_mut().map_or(&mut nothing as &mut dyn Read, |payload| payload.source);
        let mut exact = Exactly { left: length, source };
        let sent = match request.body(()) {
            Ok(request) if wants_body => {
                self.run(uri, request.map(|()| SendBody::from_reader(&mut exact)), outgoing.patience)
            }
            Ok(request) => self.run(uri, request, outgoing.patience),
            Err(error) => Err(ureq::Error::Http(error)),
        };
        sent.map_err(|error| Error::Exchange {
            method: outgoing.method.clone(),
            uri: uri.clone(),
            source: Failure::of(error, uri, self.stall).into(),
        })
    }

    fn run(
        &self,
        uri: &Uri,
        request: Request<impl AsSendBody>,
        patience: Patience,
    ) -> Result<Response<Body>, ureq::Error> {
        let target = Origin::of(uri);
        let is_own = target.as_ref() == Some(&self.origin);
        let agent = if is_own { &self.own } else { &self.foreign };
        let mut config = agent.configure_request(request);
        if !is_own && target.is_some_and(|target| is_direct(&target, &self.direct)) {
            config = config.proxy(None);
        }
        config = match patience {
            Patience::Whole => config.timeout_global(Some(self.stall * LONG)),
            Patience::Each => config,
            Patience::Long => config.timeout_per_read(Some(self.stall * LONG)),
        };
        agent.run(config.build())
    }
}

fn direct_networks() -> Vec<Network> {
    let list = ["NO_PROXY", "no_proxy"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    list.split(',').filter_map(|entry| Network::parse(entry.trim())).collect()
}

/// Whether an address, as it is written, is this machine's or in one of the networks.
fn is_direct(origin: &Origin, networks: &[Network]) -> bool {
    let within = |address| networks.iter().any(|network| network.contains(address));
    origin.is_loopback() || origin.address().is_some_and(within)
}

fn builder(tls: TlsConfig, stall: Duration, user_agent: &str) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        // Redirects are followed by hand, where it is known what may go along.
        .max_redirects(0)
        .timeout_connect(Some(stall))
        .timeout_per_read(Some(stall))
        .timeout_per_write(Some(stall))
        .accept_encoding("identity")
        .user_agent(user_agent)
        .max_idle_connections_per_host(8)
}

/// A source that is shorter than promised is an error; what it has beyond is left alone.
struct Exactly<'a> {
    left: u64,
    source: &'a mut dyn Read,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let count = self.source.read(&mut buffer[..room])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}
