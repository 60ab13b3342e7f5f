//! Manifests and indexes: fetched, verified against their digest, told apart; and pushed (distribution-spec "Pulling
//! manifests", "Pushing Manifests").

use std::io::Read;

use serde::Deserialize;
use ureq::Body;
use ureq::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use ureq::http::{HeaderMap, HeaderValue, Method, Response};

use super::agents::Patience;
use super::endpoint::Site;
use super::exchange::Question;
use super::token::{Access, Scope};
use super::{Client, Credentials, Error};
use crate::{Digest, Reference, media_type};

/// Bytes of a manifest (distribution-spec: registries should take 4 MiB).
const LARGEST: u64 = 4 << 20;
const DIGEST_HEADER: &str = "docker-content-digest";

const ACCEPTED: [&str; 4] =
    [media_type::DOCKER_MANIFEST, media_type::DOCKER_LIST, media_type::OCI_MANIFEST, media_type::OCI_INDEX];
const SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// A manifest or an index as it came, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub bytes: Vec<u8>,
    /// One of the four types of [`media_type`].
    pub media_type: String,
    /// Of `bytes`.
    pub digest: Digest,
}

/// What a registry says of a manifest: an allegation until it is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub media_type: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

impl Client {
    /// Fetches what the digest, or else the tag, of a reference names.
    pub fn manifest(&self, reference: &Reference, credentials: &Credentials) -> Result<Fetched, Error> {
        self.ask_sources(reference, credentials, Method::GET, |response| read(reference, response))
    }

    /// Asks what the digest, or else the tag, of a reference names, without fetching it.
    pub fn head_manifest(&self, reference: &Reference, credentials: &Credentials) -> Result<Head, Error> {
        let told =
            self.ask_sources(reference, credentials, Method::HEAD, |response| Ok(head(response.headers())))?;
        // A registry that does not tell is asked for the thing itself.
        told.map_or_else(|| self.manifest(reference, credentials).map(Head::from), Ok)
    }

    /// Mirrors are asked once each, and whatever they answer, the next source may know better.
    fn ask_sources<T>(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        method: Method,
        read: impl Fn(Response<Body>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let question = question(method, reference);
        self.ask_all(reference, |site| self.ask_site(site, &question, credentials).and_then(&read))
    }

    /// Asks the mirrors, then the registry.
    pub(super) fn ask_all<T>(
        &self,
        reference: &Reference,
        ask: impl Fn(&Site) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(found) = self.mirrors(reference).find_map(|mirror| ask(mirror).ok()) {
            return Ok(found);
        }
        // A registry that cannot be reached at all is not worth a pause.
        self.registry(reference)?;
        let mut retries = self.retries();
        loop {
            match ask(&Site::of(reference)) {
                Ok(found) => return Ok(found),
                Err(failure) => retries.wait_after(failure).map_err(|error| error.of_pull(reference))?,
            }
        }
    }

    /// Puts a manifest whose blobs are there under the tag, or else the digest, of a reference.
    pub fn push_manifest(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        let name = match reference.tag() {
            Some(tag) => tag.to_owned(),
            None if reference.digest().is_some() => digest.to_string(),
            None => reference.wanted(),
        };
        let unsupported =
            || Error::ManifestFormat { reference: reference.familiar(), media_type: media_type.to_owned() };
        let content_type = HeaderValue::try_from(media_type).map_err(|_| unsupported())?;
        let path = format!("{}/manifests/{name}", reference.repository());
        let mut question = Question::get(path, Scope::new(reference.repository(), Access::Push));
        question.method = Method::PUT;
        question.headers.insert(CONTENT_TYPE, content_type);
        question.patience = Patience::Long;
        question.body = bytes;
        let endpoint = self.registry(reference)?;
        let response = self.ask(&endpoint, &question, credentials, self.retries())?;
        confirmed(response.headers(), digest).map(|()| digest)
    }
}

impl From<Fetched> for Head {
    fn from(fetched: Fetched) -> Self {
        Self { media_type: fetched.media_type, digest: fetched.digest, size: fetched.bytes.len() as u64 }
    }
}

fn question(method: Method, reference: &Reference) -> Question<'static> {
    let path = format!("{}/manifests/{}", reference.repository(), reference.wanted());
    let mut question = Question::get(path, Scope::new(reference.repository(), Access::Pull));
    question.method = method;
    question.headers = ACCEPTED.iter().map(|one| (ACCEPT, HeaderValue::from_static(one))).collect();
    question
}

/// What was pushed is what the registry has, where it says so.
pub(super) fn confirmed(headers: &HeaderMap, pushed: Digest) -> Result<(), Error> {
    match text(headers, DIGEST_HEADER) {
        Some(found) if found != pushed.to_string() => {
            Err(Error::PushedDigest { pushed, found: found.to_owned() })
        }
        _ => Ok(()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A Content-Type without its parameters.
fn content_type(headers: &HeaderMap) -> String {
    let value = text(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn head(headers: &HeaderMap) -> Option<Head> {
    let media_type = content_type(headers);
    let size = text(headers, CONTENT_LENGTH.as_str())?.parse().ok()?;
    let digest = text(headers, DIGEST_HEADER)?.parse().ok()?;
    ACCEPTED.contains(&media_type.as_str()).then_some(Head { media_type, digest, size })
}

fn read(reference: &Reference, response: Response<Body>) -> Result<Fetched, Error> {
    let (parts, body) = response.into_parts();
    let name = || reference.or_latest().familiar();
    let too_large = || Error::ManifestTooLarge { reference: name(), limit: LARGEST };
    if body.content_length().is_some_and(|length| length > LARGEST) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let read = body.into_reader().take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::ReadManifest { reference: name(), source })?;
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    let digest = verified(reference, &parts.headers, &bytes)?;
    let media_type = media_type_of(reference, &content_type(&parts.headers), &bytes)?;
    Ok(Fetched { bytes, media_type, digest })
}

/// The digest of the bytes, which is the one asked for, and else the one that the registry says it is.
fn verified(reference: &Reference, headers: &HeaderMap, bytes: &[u8]) -> Result<Digest, Error> {
    let digest = Digest::of(bytes);
    let expected = match reference.digest() {
        Some(asked) => Some(asked.to_string()),
        None => text(headers, DIGEST_HEADER).map(str::to_owned),
    };
    match expected {
        Some(expected) if expected != digest.to_string() => Err(Error::ManifestDigest(expected)),
        _ => Ok(digest),
    }
}

/// The fields that tell manifests apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// The header and the manifest must agree, and the manifest must have the shape of one type alone: else one program would
/// take it for something else than the next (image-spec, "mediaType"; CVE-2021-41190).
fn media_type_of(reference: &Reference, outside: &str, bytes: &[u8]) -> Result<String, Error> {
    let name = || reference.or_latest().familiar();
    let unsupported = || Error::ManifestFormat { reference: name(), media_type: outside.to_owned() };
    let shape: Shape = serde_json::from_slice(bytes).map_err(|_| unsupported())?;
    if SCHEMA_1.contains(&outside) || shape.schema_version == 1 || shape.fs_layers.is_some() {
        return Err(Error::Schema1(reference.or_latest()));
    }
    let is_index = shape.manifests.is_some();
    let is_image = shape.config.is_some() || shape.layers.is_some();
    let inside = shape.media_type.filter(|inside| !inside.is_empty());
    let is_known = ACCEPTED.contains(&outside);
    if let Some(inside) = inside.as_ref().filter(|inside| is_known && *inside != outside) {
        return Err(Error::ManifestType {
            reference: name(),
            inside: inside.clone(),
            outside: outside.to_owned(),
        });
    }
    let oci = if is_index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST };
    let named = inside.unwrap_or_else(|| if is_known { outside } else { oci }.to_owned());
    let names_index = [media_type::DOCKER_LIST, media_type::OCI_INDEX].contains(&named.as_str());
    let fits = ACCEPTED.contains(&named.as_str()) && is_index != is_image && is_index == names_index;
    if fits { Ok(named) } else { Err(Error::ManifestFormat { reference: name(), media_type: named }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = r#""schemaVersion":2,"config":{},"layers":[]"#;
    const INDEX: &str = r#""schemaVersion":2,"manifests":[]"#;

    fn told(outside: &str, body: &str) -> Result<String, String> {
        let reference = Reference::parse("a/b").unwrap();
        media_type_of(&reference, outside, format!("{{{body}}}").as_bytes())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn manifests_are_told_apart() {
        for media_type in [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST] {
            assert_eq!(told(media_type, IMAGE).as_deref(), Ok(media_type));
            let named = format!(r#"{IMAGE},"mediaType":"{media_type}""#);
            assert_eq!(told(media_type, &named).as_deref(), Ok(media_type));
            assert_eq!(told("application/json", &named).as_deref(), Ok(media_type));
            assert!(told(media_type::OCI_INDEX, &named).is_err());
            assert!(told(media_type, INDEX).is_err(), "an index as {media_type}");
        }
        for media_type in [media_type::OCI_INDEX, media_type::DOCKER_LIST] {
            assert_eq!(told(media_type, INDEX).as_deref(), Ok(media_type));
            assert!(told(media_type, IMAGE).is_err(), "an image as {media_type}");
        }
        assert_eq!(told("", IMAGE).as_deref(), Ok(media_type::OCI_MANIFEST));
        assert_eq!(told("text/plain", INDEX).as_deref(), Ok(media_type::OCI_INDEX));
        assert!(told(media_type::OCI_MANIFEST, &format!(r#"{IMAGE},"manifests":[]"#)).is_err(), "both");
        assert!(told(media_type::OCI_MANIFEST, r#""schemaVersion":2"#).is_err(), "neither");
        assert!(told("text/html", "<html>").is_err());
    }

    #[test]
    fn schema_1_is_refused_in_dockers_words() {
        let expected = "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. \
             Suggest the author of docker.io/a/b:latest to upgrade the image to the OCI Format or Docker Image manifest \
             v2, schema 2. More information at https://docs.docker.com/go/deprecated-image-specs/";
        assert_eq!(told(SCHEMA_1[1], r#""schemaVersion":1,"fsLayers":[]"#).unwrap_err(), expected);
        assert_eq!(told("", r#""schemaVersion":1"#).unwrap_err(), expected);
        assert_eq!(told(media_type::OCI_MANIFEST, r#""fsLayers":[],"config":{}"#).unwrap_err(), expected);
    }
}
