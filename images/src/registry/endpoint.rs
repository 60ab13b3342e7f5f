//! One place that speaks the registry API: how it is reached, how far it is believed, and what it last asked to see.

use std::sync::{Mutex, PoisonError};

use ureq::Body;
use ureq::http::header::{AUTHORIZATION, LOCATION};
use ureq::http::{HeaderMap, HeaderValue, Method, Response, Uri};

use super::agents::{Agents, Outgoing, Patience};
use super::challenge::Challenge;
use super::location::{Origin, resolve};
use super::trust::Security;
use super::{Error, Settings};
use crate::Reference;

pub(super) const DOCKER_HUB: &str = "docker.io";
pub(super) const DOCKER_INDEX_HOST: &str = "index.docker.io";
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";
pub(super) const MOST_REDIRECTS: usize = 10;

/// Where an endpoint may be; what it is, `Endpoint::discover` finds out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Site {
    /// By the name that references have.
    Registry(String),
    /// A mirror of Docker Hub: an address without a slash at its end. It gets no credentials: they are Docker Hub's.
    Mirror(String),
}

#[derive(Debug)]
pub(super) struct Endpoint {
    /// `SCHEME://HOST[:PORT][/PREFIX]`
    base: String,
    origin: Origin,
    security: Security,
    is_mirror: bool,
    agents: Agents,
    challenge: Mutex<Option<Challenge>>,
}

/// A response, and whether it came from the endpoint's own host.
pub(super) struct Received {
    pub(super) response: Response<Body>,
    pub(super) is_own: bool,
}

/// Reads the address of a mirror.
pub(super) fn parse_mirror(text: &str) -> Result<Site, Error> {
    let invalid = || Error::Mirror(text.to_owned());
    let uri: Uri = text.parse().map_err(|_| invalid())?;
    let is_plain = uri.query().is_none() && !text.contains('#');
    let host_fits =
        uri.authority().is_some_and(|authority| crate::reference::is_registry(authority.as_str()));
    if Origin::of(&uri).is_none() || !is_plain || !host_fits {
        return Err(invalid());
    }
    Ok(Site::Mirror(text.trim_end_matches('/').to_owned()))
}

impl Endpoint {
    /// Finds out how a site is reached, by asking for `/v2/`: verified TLS; of an insecure registry also TLS with any
    /// certificate, then plain HTTP.
    pub(super) fn discover(site: &Site, settings: &Settings) -> Result<Self, Error> {
        let nowhere = || Error::Address(site.name().to_owned());
        Self::reach(site, settings, "/v2/").map_err(|mut failures| failures.pop().unwrap_or_else(nowhere))
    }

    /// The same by asking for `page`. Gives all failures in their order if none of the ways leads there.
    pub(super) fn reach(site: &Site, settings: &Settings, page: &str) -> Result<Self, Vec<Error>> {
        let mut failures = Vec::new();
        for (base, security) in candidates(site, settings) {
            // To believe any certificate helps only where a certificate was in the way.
            let believes_any = security == Security::Unverified && base.starts_with("https:");
            let other_trouble = matches!(
                failures.last(), Some(Error::Exchange { source, .. }) if !source.is_certificate()
            );
            if believes_any && other_trouble {
                continue;
            }
            match Self::at(base, security, site, settings).and_then(|endpoint| endpoint.ping(page)) {
                Ok(endpoint) => return Ok(endpoint),
                Err(error) => {
                    let is_final = !matches!(error, Error::Exchange { .. });
                    failures.push(error);
                    if is_final {
                        break;
                    }
                }
            }
        }
        Err(failures)
    }

    /// Docker Hub's index, which only searches are for. Nothing is asked of it yet.
    pub(super) fn docker_index(settings: &Settings) -> Result<Self, Error> {
        let site = Site::Registry(DOCKER_HUB.to_owned());
        Self::at(format!("https://{DOCKER_INDEX_HOST}"), Security::Verified, &site, settings)
    }

    fn at(base: String, security: Security, site: &Site, settings: &Settings) -> Result<Self, Error> {
        let invalid = || Error::Address(base.clone());
        let uri: Uri = base.parse().map_err(|_| invalid())?;
        let origin = Origin::of(&uri).ok_or_else(invalid)?;
        let host = uri.authority().ok_or_else(invalid)?.as_str().to_owned();
        let credence = settings.trust.of(&host, security)?;
        let agents = Agents::new(origin.clone(), credence, settings.stall_timeout, &settings.user_agent);
        let is_mirror = matches!(site, Site::Mirror(_));
        Ok(Self { base, origin, security, is_mirror, agents, challenge: Mutex::new(None) })
    }

    /// Any answer shows that this is the way.
    fn ping(self, page: &str) -> Result<Self, Error> {
        self.ask_for(page).map(|()| self)
    }

    /// A refusal says what to send along.
    fn ask_for(&self, page: &str) -> Result<(), Error> {
        let uri = self.page(page)?;
        let mut question = Outgoing::new(Method::GET, Patience::Whole);
        let response = self.agents.send(&uri, &mut question)?;
        self.learn(response.headers());
        Ok(())
    }

    /// Learns what the second API of this place wants to see.
    pub(super) fn ask_what_it_wants(&self) -> Result<(), Error> {
        self.ask_for("/v2/")
    }

    /// The address of something below `/v2/`.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, Error> {
        self.page(&format!("/v2/{path}"))
    }

    /// The address of a page of it, which begins with a slash.
    pub(super) fn page(&self, path: &str) -> Result<Uri, Error> {
        let text = format!("{}{path}", self.base);
        text.parse().map_err(|_| Error::Address(text))
    }

    pub(super) fn is_mirror(&self) -> bool {
        self.is_mirror
    }

    pub(super) fn challenge(&self) -> Option<Challenge> {
        self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers what the registry asks to see.
    pub(super) fn learn(&self, headers: &HeaderMap) {
        if let Some(found) = Challenge::of(headers) {
            *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
    }

    /// Whether credentials, or anything that was asked for over verified TLS, may go to this address.
    pub(super) fn permits(&self, uri: &Uri) -> bool {
        let is_insecure = self.security == Security::Unverified;
        Origin::of(uri).is_some_and(|origin| origin.is_https() || is_insecure)
    }

    /// One request to an address of this registry. Questions follow redirects; Authorization stays with the host that it
    /// is for, and once left behind it does not come back.
    pub(super) fn send(
        &self,
        mut uri: Uri,
        mut outgoing: Outgoing<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Received, Error> {
        let follows = matches!(outgoing.method, Method::GET | Method::HEAD);
        let first = Origin::of(&uri);
        if let Some(value) = authorization {
            outgoing.headers.insert(AUTHORIZATION, value.clone());
        }
        for _ in 0..=MOST_REDIRECTS {
            let origin = Origin::of(&uri);
            if origin != first {
                outgoing.headers.remove(AUTHORIZATION);
            }
            let response = self.agents.send(&uri, &mut outgoing)?;
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !follows || !is_redirect {
                return Ok(Received { response, is_own: origin == Some(self.origin.clone()) });
            }
            uri = self.redirected(&uri, response.headers())?;
        }
        Err(Error::Redirects(uri))
    }

    /// Whether this address is on the registry's own host.
    pub(super) fn is_own(&self, uri: &Uri) -> bool {
        Origin::of(uri).as_ref() == Some(&self.origin)
    }

    /// The address in Location.
    pub(super) fn redirected(&self, page: &Uri, headers: &HeaderMap) -> Result<Uri, Error> {
        let text = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let target = Some(text).filter(|text| !text.is_empty()).and_then(|text| resolve(page, text));
        let refused = || Error::Redirect { uri: page.clone(), location: text.to_owned() };
        target.filter(|target| self.permits(target)).ok_or_else(refused)
    }
}

impl Site {
    /// The registry of a reference.
    pub(super) fn of(reference: &Reference) -> Self {
        Self::Registry(reference.registry().to_owned())
    }

    fn name(&self) -> &str {
        match self {
            Self::Registry(name) | Self::Mirror(name) => name,
        }
    }
}

/// The ways to try, the safest first.
fn candidates(site: &Site, settings: &Settings) -> Vec<(String, Security)> {
    let (host, secure) = match site {
        Site::Registry(name) if name == DOCKER_HUB => {
            return vec![(format!("https://{DOCKER_HUB_HOST}"), Security::Verified)];
        }
        Site::Mirror(address) if address.starts_with("http:") => {
            return vec![(address.clone(), Security::Unverified)];
        }
        Site::Registry(name) => (name.as_str(), format!("https://{name}")),
        Site::Mirror(address) => {
            let bare = address.trim_start_matches("https://");
            (bare.split_once('/').map_or(bare, |(host, _)| host), address.clone())
        }
    };
    let mut ways = vec![(secure.clone(), Security::Verified)];
    if settings.insecure.contains(host) {
        let plain = secure.replacen("https:", "http:", 1);
        ways.extend([(secure, Security::Unverified), (plain, Security::Unverified)]);
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_addresses_of_hosts() {
        for (text, expected) in [
            ("https://a.b", "https://a.b"),
            ("https://a.b:5000/", "https://a.b:5000"),
            ("http://a.b/proxy/", "http://a.b/proxy"),
        ] {
            assert_eq!(parse_mirror(text).unwrap(), Site::Mirror(expected.to_owned()));
        }
        for text in [
            "",
            "a.b",
            "a.b:5000",
            "ftp://a.b",
            "https://a.b/?q",
            "https://a.b/#f",
            "https://u:p@a.b",
            "https://..",
        ] {
            let error = parse_mirror(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid mirror {text:?}")), "{error}");
        }
    }
}
