//! Searches: `GET /v1/search`, all that is left of the first registry API (docker-registry 0.9, "Search"). Docker Hub has it,
//! and a few registries that people run themselves.

use std::io::Read;

use serde::Deserialize;
use ureq::Body;
use ureq::http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use super::agents::{Outgoing, Patience};
use super::endpoint::{DOCKER_HUB, DOCKER_INDEX_HOST, Endpoint, Site};
use super::location::escape;
use super::token::{Scope, basic};
use super::{Client, Credentials, Error};

/// What is found where nobody says how much.
const USUAL_LIMIT: u64 = 25;
const LARGEST_LIMIT: u64 = 100;
/// Bytes of an answer.
const LONGEST_ANSWER: u64 = 4 << 20;

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    pub name: String,
    /// The words of whoever owns it: anything at all.
    pub description: String,
    pub stars: i64,
    pub is_official: bool,
}

/// A search for `words` at the registry `index`.
#[derive(Debug, PartialEq, Eq)]
struct Term<'a> {
    index: &'a str,
    words: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Results {
    results: Option<Vec<Found>>,
}

/// A field may be missing, and null.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Found {
    name: Option<String>,
    description: Option<String>,
    star_count: Option<i64>,
    is_official: Option<bool>,
}

impl Client {
    /// Asks the registry that `term` begins with, or Docker Hub, for repositories. At most `limit` are given, which is at most
    /// 100; 0 are 25.
    pub fn search(
        &self,
        term: &str,
        limit: u64,
        credentials: &Credentials,
    ) -> Result<Vec<Repository>, Error> {
        let term = Term::parse(term)?;
        let limit = if limit == 0 { USUAL_LIMIT } else { limit };
        if limit > LARGEST_LIMIT {
            return Err(Error::SearchLimit(limit));
        }
        let endpoint = self.index(term.index)?;
        let uri = endpoint.page(&format!("/v1/search?q={}&n={limit}", escape(term.words)))?;
        let authorization = self.index_authorization(&endpoint, term.index, credentials)?;
        let mut outgoing = Outgoing::new(Method::GET, Patience::Whole);
        // For credentials beside an index without tokens of the second API.
        let wants_token = HeaderName::from_static("x-docker-token");
        outgoing.headers.insert(wants_token, HeaderValue::from_static("true"));
        read(endpoint.send(uri, outgoing, authorization.as_ref())?.response)
    }

    /// Finds out how an index is reached. It is not kept: a search is rare, and the index may be another server than the registry.
    fn index(&self, name: &str) -> Result<Endpoint, Error> {
        let settings = &self.shared.settings;
        if name == DOCKER_HUB {
            return Endpoint::docker_index(settings);
        }
        let site = Site::Registry(name.to_owned());
        Endpoint::reach(&site, settings, "/v1/_ping").map_err(|failures| unreachable(name, failures))
    }

    fn index_authorization(
        &self,
        endpoint: &Endpoint,
        index: &str,
        credentials: &Credentials,
    ) -> Result<Option<HeaderValue>, Error> {
        match credentials {
            Credentials::Basic { user, secret } => basic(user, secret, index).map(Some),
            Credentials::IdentityToken(_) => {
                endpoint.ask_what_it_wants()?;
                self.authorization(endpoint, &Scope::search(), credentials, None)
            }
            // A token of the second API says nothing to the first one.
            Credentials::Anonymous | Credentials::RegistryToken(_) => Ok(None),
        }
    }
}

impl<'a> Term<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        if text.contains("://") {
            return Err(Error::SearchScheme(text.to_owned()));
        }
        let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
        let (index, words) =
            text.split_once('/').filter(|(first, _)| is_host(first)).unwrap_or((DOCKER_HUB, text));
        if index == DOCKER_HUB || index == DOCKER_INDEX_HOST {
            return Ok(Self { index: DOCKER_HUB, words: words.strip_prefix("library/").unwrap_or(words) });
        }
        Ok(Self { index, words })
    }
}

/// Docker's words for an index that does not answer.
fn unreachable(name: &str, mut failures: Vec<Error>) -> Error {
    let https = failures.iter().rev().find(|failure| scheme(failure) == Some("https")).map(told);
    let http = failures.iter().find(|failure| scheme(failure) == Some("http")).map(told);
    match (https, http) {
        (Some(https), Some(http)) => {
            Error::InsecureIndex { endpoint: format!("http://{name}/v1/"), https, http }
        }
        (Some(cause), None) => {
            Error::SecureIndex { endpoint: format!("https://{name}/v1/"), host: name.to_owned(), cause }
        }
        (None, _) => failures.pop().unwrap_or_else(|| Error::Address(name.to_owned())),
    }
}

fn scheme(failure: &Error) -> Option<&str> {
    match failure {
        Error::Exchange { uri, .. } => uri.scheme_str(),
        _ => None,
    }
}

/// A failure and its causes in one sentence.
fn told(failure: &Error) -> String {
    let mut sentence = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        sentence.push_str(": ");
        sentence.push_str(&error.to_string());
        cause = error.source();
    }
    sentence
}

fn read(response: Response<Body>) -> Result<Vec<Repository>, Error> {
    if response.status() != StatusCode::OK {
        return Err(Error::SearchStatus(response.status().as_u16()));
    }
    let mut bytes = Vec::new();
    let body = response.into_body().into_reader();
    body.take(LONGEST_ANSWER).read_to_end(&mut bytes).map_err(Error::ReadResults)?;
    let sent: Results = serde_json::from_slice(&bytes).map_err(Error::Results)?;
    Ok(sent.results.unwrap_or_default().into_iter().map(Repository::from).collect())
}

impl From<Found> for Repository {
    fn from(found: Found) -> Self {
        Self {
            name: found.name.unwrap_or_default(),
            description: found.description.unwrap_or_default(),
            stars: found.star_count.unwrap_or_default(),
            is_official: found.is_official.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_begins_with_a_host_or_is_for_docker_hub() {
        for (text, index, words) in [
            ("busybox", "docker.io", "busybox"),
            ("", "docker.io", ""),
            ("library/busybox", "docker.io", "busybox"),
            ("some/library/busybox", "docker.io", "some/library/busybox"),
            ("docker.io/library/busybox", "docker.io", "busybox"),
            ("index.docker.io/busybox", "docker.io", "busybox"),
            ("localhost/library/a", "localhost", "library/a"),
            ("localhost:5000/a/b", "localhost:5000", "a/b"),
            ("r.example/", "r.example", ""),
            ("127.0.0.1:5000/a", "127.0.0.1:5000", "a"),
        ] {
            assert_eq!(Term::parse(text).unwrap(), Term { index, words }, "{text}");
        }
        let error = Term::parse("https://r.example/a").unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid repository name: repository name (https://r.example/a) should not have a scheme"
        );
    }
}
