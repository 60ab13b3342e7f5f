//! One question to one registry, with all that it takes: credentials, a second try with new ones, repetition.

use ureq::Body;
use ureq::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};

use super::agents::{Outgoing, Patience, Payload};
use super::answer::Answer;
use super::challenge::Challenge;
use super::endpoint::{Endpoint, Site};
use super::error::Failure;
use super::retry::Retries;
use super::token::{Scope, Server, basic, bearer};
use super::{Client, Credentials, Error};

/// A question below `/v2/`, and what it needs the right for.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) scope: Scope,
    pub(super) headers: HeaderMap,
    pub(super) patience: Patience,
    /// Of a method that has one.
    pub(super) body: &'a [u8],
}

impl Question<'_> {
    pub(super) fn get(path: String, scope: Scope) -> Self {
        let headers = HeaderMap::new();
        Self { method: Method::GET, path, scope, headers, patience: Patience::Whole, body: b"" }
    }
}

impl Client {
    /// Asks until there is an answer, or none is to be had.
    pub(super) fn ask(
        &self,
        endpoint: &Endpoint,
        question: &Question<'_>,
        credentials: &Credentials,
        mut retries: Retries,
    ) -> Result<Response<Body>, Error> {
        loop {
            match self.ask_once(endpoint, question, credentials) {
                Ok(response) => return Ok(response),
                Err(failure) => retries.wait_after(failure)?,
            }
        }
    }

    /// Asks a site once. How it is reached is found out anew after a failure: it may have moved from HTTP to TLS.
    pub(super) fn ask_site(
        &self,
        site: &Site,
        question: &Question<'_>,
        credentials: &Credentials,
    ) -> Result<Response<Body>, Error> {
        let outcome = self.ask_once(&*self.endpoint(site)?, question, credentials);
        if matches!(outcome, Err(Error::Exchange { .. })) {
            self.forget(site);
        }
        outcome
    }

    /// Asks once; of a registry that wants (other) credentials, once more.
    fn ask_once(
        &self,
        endpoint: &Endpoint,
        question: &Question<'_>,
        credentials: &Credentials,
    ) -> Result<Response<Body>, Error> {
        let credentials = if endpoint.is_mirror() { &Credentials::Anonymous } else { credentials };
        let uri = endpoint.uri(&question.path)?;
        let send = |authorization: Option<&HeaderValue>| {
            let mut outgoing = Outgoing::new(question.method.clone(), question.patience);
            outgoing.headers = question.headers.clone();
            let mut body = question.body;
            outgoing.payload = Some(Payload { length: body.len() as u64, source: &mut body });
            endpoint.send(uri.clone(), outgoing, authorization)
        };
        let shown = self.authorization(endpoint, &question.scope, credentials, None)?;
        let received = send(shown.as_ref())?;
        if received.response.status() != StatusCode::UNAUTHORIZED || !received.is_own {
            return Ok(Answer::check(received.response)?);
        }
        endpoint.learn(received.response.headers());
        let other = self.authorization(endpoint, &question.scope, credentials, shown.as_ref())?;
        if other.is_none() && endpoint.challenge() == Some(Challenge::Basic) {
            return Err(Error::Exchange {
                method: question.method.clone(),
                uri,
                source: Failure::NoCredentials.into(),
            });
        }
        let again = if other == shown { received } else { send(other.as_ref())? };
        Ok(Answer::check(again.response)?)
    }

    /// One request with a body, to an address that the registry gave. It is not repeated: the body is spent.
    pub(super) fn deliver(
        &self,
        endpoint: &Endpoint,
        uri: Uri,
        outgoing: Outgoing<'_>,
        shown: (&Scope, &Credentials),
    ) -> Result<Response<Body>, Error> {
        let (scope, credentials) = shown;
        let authorization = if endpoint.is_own(&uri) {
            self.authorization(endpoint, scope, credentials, None)?
        } else {
            None
        };
        Ok(Answer::check(endpoint.send(uri, outgoing, authorization.as_ref())?.response)?)
    }

    /// What to show, as far as the registry has said what it wants to see.
    pub(super) fn authorization(
        &self,
        endpoint: &Endpoint,
        scope: &Scope,
        credentials: &Credentials,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        if let Credentials::RegistryToken(token) = credentials {
            return bearer(token, &scope.repository).map(Some);
        }
        match (endpoint.challenge(), credentials) {
            (Some(Challenge::Basic), Credentials::Basic { user, secret }) => {
                basic(user, secret, &scope.repository).map(Some)
            }
            (Some(Challenge::Bearer { realm, service }), _) => {
                let server = Server { endpoint, realm: &realm, service: service.as_deref() };
                self.tokens().get(&server, scope, credentials, refused).map(Some)
            }
            (Some(Challenge::Basic) | None, _) => Ok(None),
        }
    }
}
