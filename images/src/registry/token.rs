//! Tokens of authorization servers (distribution, "Token Authentication Specification" and its OAuth2 form): fetched with
//! the user's credentials, kept until they expire.
//!
//! Credentials go to a realm only where it is https, or where the registry is an insecure one.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::Body;
use ureq::http::header::CONTENT_TYPE;
use ureq::http::{HeaderValue, Method, Response, Uri};

use super::agents::{Outgoing, Patience, Payload};
use super::answer::Answer;
use super::endpoint::Endpoint;
use super::error::Failure;
use super::location::{escape, with_parameter};
use super::{Credentials, Error};
use crate::mutex::lock;

/// What a token lives when the server does not say, and the least it is taken to live.
const SHORTEST_LIFE: u64 = 60;
/// A token is given up this long before it expires, so that it survives the request it goes with.
const MARGIN: Duration = Duration::from_secs(10);
const LONGEST_LIFE: u64 = 24 * 60 * 60;
const LONGEST_ANSWER: u64 = 1 << 20;
const CLIENT_ID: &str = "knarr";

/// What a token is to allow in one repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) repository: String,
    pub(super) access: Access,
    /// A repository to mount a blob from.
    pub(super) also_pull: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Pull,
    Push,
    /// Of the registry as a whole.
    Search,
}

impl Scope {
    pub(super) fn new(repository: &str, access: Access) -> Self {
        Self { repository: repository.to_owned(), access, also_pull: None }
    }

    /// What a search takes.
    pub(super) fn search() -> Self {
        Self::new("catalog", Access::Search)
    }

    /// Of who only wants to be known.
    pub(super) fn nothing() -> Self {
        Self::new("", Access::Pull)
    }

    fn texts(&self) -> Vec<String> {
        if self.repository.is_empty() {
            return Vec::new();
        }
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Search => return vec![format!("registry:{}:search", self.repository)],
        };
        let also = self.also_pull.iter().map(|other| format!("repository:{other}:pull"));
        [format!("repository:{}:{actions}", self.repository)].into_iter().chain(also).collect()
    }
}

/// Who is asked for what by whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    realm: String,
    service: Option<String>,
    scope: Scope,
    credentials: Credentials,
}

/// A token and the moment it is given up.
type Kept = Option<(HeaderValue, Instant)>;

/// The tokens that have not expired. Whoever fetches one has the lock of its place: others who need the same wait for it.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<Key, Arc<Mutex<Kept>>>>);

/// The server that a registry names, and the service it is there.
pub(super) struct Server<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) realm: &'a str,
    pub(super) service: Option<&'a str>,
}

impl Tokens {
    /// The header that shows a token for `scope`, and another than the one that was refused.
    pub(super) fn get(
        &self,
        server: &Server<'_>,
        scope: &Scope,
        credentials: &Credentials,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Error> {
        let key = Key {
            realm: server.realm.to_owned(),
            service: server.service.map(str::to_owned),
            scope: scope.clone(),
            credentials: credentials.clone(),
        };
        let place = self.place(key);
        let mut kept = lock(&place);
        if let Some((header, expiry)) = &*kept
            && Instant::now() < *expiry
            && refused != Some(header)
        {
            return Ok(header.clone());
        }
        let begun = Instant::now();
        let (header, life) = fetch(server, scope, credentials)?;
        *kept = Some((header.clone(), begun + life.saturating_sub(MARGIN)));
        Ok(header)
    }

    /// The place of a token. Those that nobody is at and that hold nothing of use are given up.
    fn place(&self, key: Key) -> Arc<Mutex<Kept>> {
        let mut places = lock(&self.0);
        let now = Instant::now();
        let is_good = |kept: &Kept| kept.as_ref().is_some_and(|(_, expiry)| now < *expiry);
        places.retain(|other, place| *other == key || Arc::strong_count(place) > 1 || is_good(&lock(place)));
        places.entry(key).or_default().clone()
    }
}

/// `Authorization: Basic`.
pub(super) fn basic(user: &str, secret: &str, registry: &str) -> Result<HeaderValue, Error> {
    secret_header(&format!("Basic {}", STANDARD.encode(format!("{user}:{secret}"))), registry)
}

/// `Authorization: Bearer`.
pub(super) fn bearer(token: &str, registry: &str) -> Result<HeaderValue, Error> {
    secret_header(&format!("Bearer {token}"), registry)
}

fn secret_header(text: &str, registry: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(text).map_err(|_| Error::Credentials(registry.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[derive(Deserialize)]
struct Issued {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

fn fetch(
    server: &Server<'_>,
    scope: &Scope,
    credentials: &Credentials,
) -> Result<(HeaderValue, Duration), Error> {
    let realm: Uri = server.realm.parse().map_err(|_| Error::Realm(server.realm.to_owned()))?;
    if !server.endpoint.permits(&realm) {
        return Err(Error::Realm(server.realm.to_owned()));
    }
    let response = match credentials {
        Credentials::IdentityToken(token) => exchange(server, &realm, scope, token)?,
        _ => ask(server, &realm, scope, credentials)?,
    };
    let issued = read(&realm, Answer::check(response)?)?;
    let token = if issued.token.is_empty() { issued.access_token } else { issued.token };
    if token.is_empty() {
        return Err(Error::NoToken(realm));
    }
    let life = Duration::from_secs(issued.expires_in.clamp(SHORTEST_LIFE, LONGEST_LIFE));
    Ok((bearer(&token, server.realm).map_err(|_| Error::NoToken(realm))?, life))
}

/// GET, with the user's name and password where there are any.
fn ask(
    server: &Server<'_>,
    realm: &Uri,
    scope: &Scope,
    credentials: &Credentials,
) -> Result<Response<Body>, Error> {
    let mut parameters = Vec::new();
    parameters.extend(server.service.map(|service| ("service", service.to_owned())));
    parameters.extend(scope.texts().into_iter().map(|scope| ("scope", scope)));
    let mut authorization = None;
    if let Credentials::Basic { user, secret } = credentials {
        parameters.push(("account", user.clone()));
        authorization = Some(basic(user, secret, server.realm)?);
    }
    let invalid = || Error::Realm(server.realm.to_owned());
    let uri = parameters
        .iter()
        .try_fold(realm.clone(), |uri, (name, value)| with_parameter(&uri, name, value))
        .ok_or_else(invalid)?;
    let question = Outgoing::new(Method::GET, Patience::Whole);
    Ok(server.endpoint.send(uri, question, authorization.as_ref())?.response)
}

/// POST, an identity token against an access token.
fn exchange(server: &Server<'_>, realm: &Uri, scope: &Scope, token: &str) -> Result<Response<Body>, Error> {
    let scopes = scope.texts().join(" ");
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT_ID),
        ("service", server.service.unwrap_or_default()),
        ("scope", &scopes),
        ("refresh_token", token),
    ];
    let form = fields.map(|(name, value)| format!("{name}={}", escape(value))).join("&");
    let mut question = Outgoing::new(Method::POST, Patience::Whole);
    question.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let mut source = form.as_bytes();
    question.payload = Some(Payload { length: form.len() as u64, source: &mut source });
    Ok(server.endpoint.send(realm.clone(), question, None)?.response)
}

fn read(realm: &Uri, response: Response<Body>) -> Result<Issued, Error> {
    let mut bytes = Vec::new();
    let body = response.into_body().into_reader();
    body.take(LONGEST_ANSWER).read_to_end(&mut bytes).map_err(|error| Error::Exchange {
        method: Method::GET,
        uri: realm.clone(),
        source: Failure::Other(ureq::Error::Io(error)).into(),
    })?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Token { realm: realm.clone(), source })
}
