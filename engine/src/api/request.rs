//! A request: its version, its path in parts, its query, its body by Docker's rules.

use std::io::{self, Read};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, UPGRADE};
use hyper::{Method, Request as HttpRequest};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;

use super::peer::Peer;
use super::query::Query;
use super::{NEWEST, OLDEST, Version};
use crate::error::{Error, Result};
use crate::wire::request::read;

/// Bytes of a JSON body; more is nobody's honest request.
const LONGEST_JSON: usize = 16 << 20;

pub(super) struct Request {
    pub(super) method: Method,
    pub(super) version: Version,
    /// Parts of the path below the version, decoded.
    pub(super) path: Vec<String>,
    pub(super) query: Query,
    pub(super) http: HttpRequest<Incoming>,
    peer: Peer,
}

impl Request {
    pub(super) fn new(http: HttpRequest<Incoming>, peer: Peer) -> Result<Self> {
        let uri = http.uri();
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let mut path: Vec<String> =
            uri.path().split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let version = match path.first().and_then(|first| version(first)) {
            Some(version) => {
                path.remove(0);
                check(version)?
            }
            None => NEWEST,
        };
        let query = Query::parse(uri.query().unwrap_or_default());
        Ok(Self { method: http.method().clone(), version, path, query, http, peer })
    }

    /// The connection that it came by.
    pub(super) fn peer(&self) -> Peer {
        self.peer.clone()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.http.headers()
    }

    /// The client wants the connection for itself.
    pub(super) fn wants_upgrade(&self) -> bool {
        let has = |name, word: &str| {
            let value = self.headers().get(name).and_then(|value| value.to_str().ok());
            value.is_some_and(|value| value.to_ascii_lowercase().contains(word))
        };
        has(CONNECTION, "upgrade") && has(UPGRADE, "tcp")
    }

    /// The body as JSON; an empty one is none.
    pub(super) async fn json(&mut self) -> Result<Option<Value>> {
        let content_type =
            self.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = Limited::new(self.http.body_mut(), LONGEST_JSON).collect().await;
        let body = body.map_err(|error| Error::invalid(format!("invalid JSON: {error}")))?.to_bytes();
        if body.is_empty() {
            return Ok(None);
        }
        let content_type = content_type.unwrap_or_default();
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        if kind.is_empty() {
            let why = format!("malformed Content-Type header ({content_type}): mime: no media type");
            return Err(Error::invalid(why));
        }
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Error::invalid(format!(
                "unsupported Content-Type header ({content_type}): must be 'application/json'"
            )));
        }
        let mut values = serde_json::Deserializer::from_slice(&body).into_iter::<Value>();
        match (values.next(), values.next()) {
            (Some(Ok(value)), None) => Ok(Some(value)),
            (Some(Ok(_)), Some(_)) => Err(Error::invalid("unexpected content after JSON")),
            (None, _) => Ok(None),
            (Some(Err(error)), _) if error.is_eof() => {
                Err(Error::invalid("invalid JSON: got EOF while reading request body"))
            }
            (Some(Err(error)), _) => Err(Error::invalid(format!("invalid JSON: {error}"))),
        }
    }

    /// The body as a value; an empty one is the default.
    pub(super) async fn body<T: DeserializeOwned + Default>(&mut self) -> Result<T> {
        match self.json().await? {
            None => Ok(T::default()),
            Some(value) => read(value).map_err(|error| Error::invalid(format!("invalid JSON: {error}"))),
        }
    }

    /// The body as a stream for a thread to read.
    pub(super) fn into_reader(self) -> BodyReader {
        let (sender, receiver) = mpsc::channel(4);
        let mut body = self.http.into_body();
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let chunk = match frame {
                    Ok(frame) => frame.into_data().map_err(|_| ()).ok().map(Ok),
                    Err(error) => Some(Err(io::Error::other(error))),
                };
                // A reader that has gone wants no more.
                let Some(chunk) = chunk else { continue };
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        BodyReader { receiver, current: Bytes::new() }
    }
}

/// Reads a body in a thread that may wait.
pub(super) struct BodyReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => self.current = chunk?,
            }
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// `vMAJOR.MINOR`.
fn version(text: &str) -> Option<Version> {
    let (major, minor) = text.strip_prefix('v')?.split_once('.')?;
    Some(Version(major.parse().ok()?, minor.parse().ok()?))
}

fn check(version: Version) -> Result<Version> {
    if version < OLDEST {
        return Err(Error::invalid(format!(
            "client version {version} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
        )));
    }
    if version > NEWEST {
        let why = format!("client version {version} is too new. Maximum supported API version is {NEWEST}");
        return Err(Error::invalid(why));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_checked() {
        assert_eq!(version("v1.50"), Some(Version(1, 50)));
        assert_eq!(version("volumes"), None);
        assert_eq!(version("v1"), None);
        assert!(check(Version(1, 24)).is_ok() && check(Version(1, 50)).is_ok());
        let old = check(Version(1, 23)).unwrap_err().message;
        assert!(
            old.starts_with("client version 1.23 is too old. Minimum supported API version is 1.24"),
            "{old}"
        );
        let new = check(Version(1, 99)).unwrap_err().message;
        assert_eq!(new, "client version 1.99 is too new. Maximum supported API version is 1.50");
    }
}
