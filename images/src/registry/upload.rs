//! Blobs on their way out: seen to be there, mounted from a neighbour, or uploaded in one piece that is continued where a
//! broken connection left it (distribution-spec "Pushing Blobs").

use std::io::{self, Read};

use ureq::Body;
use ureq::http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use ureq::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};

use super::agents::{Outgoing, Patience, Payload};
use super::endpoint::Endpoint;
use super::exchange::Question;
use super::location::{escape, with_parameter};
use super::manifest::confirmed;
use super::retry::{PROGRESS, Retries};
use super::token::{Access, Scope};
use super::{Client, Credentials, Error};
use crate::{Descriptor, Digest, Reference};

/// Opens the blob at an offset.
pub type Source<'a> = dyn FnMut(u64) -> io::Result<Box<dyn Read>> + 'a;

/// One blob to push.
pub struct Upload<'a> {
    pub descriptor: &'a Descriptor,
    /// Asked again, for a later offset, after a broken connection.
    pub source: &'a mut Source<'a>,
    /// A repository of the same registry that has the blob.
    pub mount_from: Option<&'a str>,
    /// Told the bytes sent so far; they go back when a registry forgot some.
    pub progress: &'a mut dyn FnMut(u64),
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The repository had it.
    Existed,
    /// The registry took it from the other repository.
    Mounted,
    Uploaded,
}

/// A blob, its registry and the right to push to it.
struct Target<'a> {
    client: &'a Client,
    endpoint: &'a Endpoint,
    repository: &'a str,
    digest: Digest,
    size: u64,
    scope: Scope,
    credentials: &'a Credentials,
}

/// An upload that the registry has begun.
struct Session {
    uri: Uri,
    offset: u64,
}

enum Begun {
    Mounted,
    Session(Session),
}

impl Client {
    /// Makes sure that the repository of a reference has a blob.
    pub fn push_blob(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        upload: Upload<'_>,
    ) -> Result<Pushed, Error> {
        let Upload { descriptor, source, mount_from, progress } = upload;
        let endpoint = self.registry(reference)?;
        let target = Target {
            client: self,
            endpoint: &endpoint,
            repository: reference.repository(),
            digest: descriptor.digest,
            size: descriptor.size,
            scope: Scope::new(reference.repository(), Access::Push),
            credentials,
        };
        let mount_from = mount_from.filter(|from| *from != target.repository);
        if target.exists(self.retries())? {
            return Ok(Pushed::Existed);
        }
        match target.begin(mount_from, self.retries())? {
            Begun::Mounted => Ok(Pushed::Mounted),
            Begun::Session(session) => target.send(session, source, progress).map(|()| Pushed::Uploaded),
        }
    }
}

impl Target<'_> {
    fn question(&self, method: Method, path: String) -> Question<'static> {
        Question { method, ..Question::get(path, self.scope.clone()) }
    }

    fn exists(&self, retries: Retries) -> Result<bool, Error> {
        let question = self.question(Method::HEAD, format!("{}/blobs/{}", self.repository, self.digest));
        match self.client.ask(self.endpoint, &question, self.credentials, retries) {
            Ok(_) => Ok(true),
            Err(Error::Answer(answer)) if answer.status() == StatusCode::NOT_FOUND => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks for a mount where there is a neighbour; what comes of that, or without one, is an upload.
    fn begin(&self, mount_from: Option<&str>, retries: Retries) -> Result<Begun, Error> {
        let path = format!("{}/blobs/uploads/", self.repository);
        if let Some(from) = mount_from {
            let query = format!("{path}?mount={}&from={}", escape(&self.digest.to_string()), escape(from));
            let mut question = self.question(Method::POST, query);
            question.scope.also_pull = Some(from.to_owned());
            // A registry that will not mount is no reason not to upload.
            if let Ok(response) = self.client.ask(self.endpoint, &question, self.credentials, retries.clone())
            {
                if response.status() == StatusCode::CREATED {
                    return confirmed(response.headers(), self.digest).map(|()| Begun::Mounted);
                }
                return self.session(&response, &self.endpoint.uri(&path)?).map(Begun::Session);
            }
        }
        let question = self.question(Method::POST, path.clone());
        let response = self.client.ask(self.endpoint, &question, self.credentials, retries)?;
        self.session(&response, &self.endpoint.uri(&path)?).map(Begun::Session)
    }

    /// Where a response says that the upload goes on.
    fn session(&self, response: &Response<Body>, page: &Uri) -> Result<Session, Error> {
        if !response.headers().contains_key(LOCATION) {
            return Err(Error::UploadLocation(self.digest));
        }
        let uri = self.endpoint.redirected(page, response.headers())?;
        Ok(Session { uri, offset: 0 })
    }

    /// Sends until the registry has it all.
    fn send(
        &self,
        begun: Session,
        source: &mut Source<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let mut retries = self.client.retries();
        let mut session = Some(begun);
        let mut reached = 0;
        loop {
            let failure = match self.try_send(&mut session, source, progress) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let outcome = retries.wait_after(failure);
            if outcome.is_err() {
                self.cancel(session.as_ref());
                return outcome;
            }
            session = session.and_then(|session| self.resumed(&session));
            let offset = session.as_ref().map_or(0, |session| session.offset);
            if offset >= reached + PROGRESS {
                reached = offset;
                retries.reset();
            }
        }
    }

    /// Sends the rest of an upload, or of a new one; the answer to the last request may be all that was lost.
    fn try_send(
        &self,
        session: &mut Option<Session>,
        source: &mut Source<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let current = match session {
            Some(current) => current,
            None if self.exists(Retries::none())? => return Ok(()),
            None => match self.begin(None, Retries::none())? {
                Begun::Mounted => return Ok(()),
                Begun::Session(new) => session.insert(new),
            },
        };
        if current.offset < self.size {
            let response = self.patch(current, source, progress)?;
            *current = Session { offset: self.size, ..self.session(&response, &current.uri)? };
        }
        let uri = with_parameter(&current.uri, "digest", &self.digest.to_string());
        let uri = uri.ok_or(Error::UploadLocation(self.digest))?;
        let response = self.deliver(uri, Outgoing::new(Method::PUT, Patience::Long))?;
        confirmed(response.headers(), self.digest)
    }

    fn patch(
        &self,
        session: &Session,
        source: &mut Source<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Response<Body>, Error> {
        let offset = session.offset;
        let unreadable = |source| Error::Source { digest: self.digest, offset, source };
        let mut counted =
            Counted { inner: source(offset).map_err(unreadable)?, sent: offset, failed: None, progress };
        let mut outgoing = Outgoing::new(Method::PATCH, Patience::Long);
        outgoing.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if offset > 0 {
            let range = HeaderValue::try_from(format!("{offset}-{}", self.size - 1));
            outgoing.headers.extend(range.ok().map(|range| (CONTENT_RANGE, range)));
        }
        outgoing.payload = Some(Payload { length: self.size - offset, source: &mut counted });
        let sent = self.deliver(session.uri.clone(), outgoing);
        match counted.failed {
            Some(error) => Err(unreadable(error)),
            None => sent,
        }
    }

    fn deliver(&self, uri: Uri, outgoing: Outgoing<'_>) -> Result<Response<Body>, Error> {
        self.client.deliver(self.endpoint, uri, outgoing, (&self.scope, self.credentials))
    }

    /// How much of an upload the registry has; none where it has nothing, or does not say.
    fn resumed(&self, session: &Session) -> Option<Session> {
        let response = self.deliver(session.uri.clone(), Outgoing::new(Method::GET, Patience::Whole)).ok()?;
        let offset = received(response.headers()).filter(|offset| *offset <= self.size)?;
        let uri =
            self.session(&response, &session.uri).map_or_else(|_| session.uri.clone(), |found| found.uri);
        Some(Session { uri, offset })
    }

    /// Lets the registry forget an upload. It would do so by itself in time, so a refusal changes nothing.
    fn cancel(&self, session: Option<&Session>) {
        let delete = || Outgoing::new(Method::DELETE, Patience::Whole);
        let _ = session.map(|session| self.deliver(session.uri.clone(), delete()));
    }
}

/// The bytes that a registry has: `Range: 0-LAST`. `0-0` means one byte or none, which is as good as none.
fn received(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?.trim_start_matches("bytes=");
    let last: u64 = range.strip_prefix("0-")?.parse().ok()?;
    (last > 0).then(|| last.saturating_add(1))
}

/// Tells how far a source was read, and keeps its failure: the connection only knows that something failed.
struct Counted<'a> {
    inner: Box<dyn Read>,
    sent: u64,
    failed: Option<io::Error>,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(0) if !buffer.is_empty() => {
                self.failed = Some(io::ErrorKind::UnexpectedEof.into());
                Ok(0)
            }
            Ok(count) => {
                self.sent += count as u64;
                (self.progress)(self.sent);
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_has_of_an_upload() {
        let told = |value: &str| received(&[(RANGE, value.parse().unwrap())].into_iter().collect());
        assert_eq!(told("0-99"), Some(100));
        assert_eq!(told("bytes=0-1"), Some(2));
        for other in ["0-0", "", "0", "5-9", "0--1", "0-x"] {
            assert_eq!(told(other), None, "{other}");
        }
        assert_eq!(received(&HeaderMap::new()), None);
    }
}
