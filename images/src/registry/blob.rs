//! A blob as a stream that survives its connections: what drops or stalls is continued with a Range request, and what a
//! registry announces is held to what the manifest says (distribution-spec "Pulling blobs", RFC 9110 section 14).

use std::io::{self, Read};

use ureq::http::header::{CONTENT_RANGE, RANGE};
use ureq::http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use ureq::{Body, BodyReader};

use super::agents::{Outgoing, Patience};
use super::answer::Answer;
use super::endpoint::Site;
use super::exchange::Question;
use super::retry::{PROGRESS, Retries};
use super::token::{Access, Scope};
use super::{Client, Credentials, Error};
use crate::{Descriptor, Digest, Reference};

/// What a reader wants, and where to get it.
#[derive(Debug, Clone)]
struct Wanted {
    client: Client,
    reference: Reference,
    descriptor: Descriptor,
    credentials: Credentials,
    /// Until one broke off: the registry itself may do better.
    asks_mirrors: bool,
}

/// Gives exactly the bytes of a blob from an offset on, or an error whose source is [`Error`]. It does not hash.
pub struct BlobReader {
    wanted: Wanted,
    position: u64,
    stream: Option<BodyReader<'static>>,
    retries: Retries,
    since_failure: u64,
}

impl Client {
    /// Opens a blob of an image at byte `offset`.
    pub fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        credentials: &Credentials,
        offset: u64,
    ) -> Result<BlobReader, Error> {
        if offset > descriptor.size {
            return Err(Error::BlobOffset { digest: descriptor.digest, offset });
        }
        let wanted = Wanted {
            client: self.clone(),
            reference: reference.clone(),
            descriptor: descriptor.clone(),
            credentials: credentials.clone(),
            asks_mirrors: true,
        };
        let mut reader =
            BlobReader { retries: self.retries(), wanted, position: offset, stream: None, since_failure: 0 };
        if offset < descriptor.size || offset == 0 {
            // A registry that cannot be reached at all is not worth a pause.
            if self.mirrors(reference).next().is_none() {
                self.registry(reference)?;
            }
            reader.open()?;
        }
        Ok(reader)
    }
}

impl BlobReader {
    /// Connects until there is a stream.
    fn open(&mut self) -> Result<(), Error> {
        loop {
            match self.wanted.open(self.position) {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(failure) => self.retries.wait_after(failure)?,
            }
        }
    }

    fn broke_off(&mut self, source: io::Error) -> Result<(), Error> {
        self.stream = None;
        self.wanted.asks_mirrors = false;
        let digest = self.wanted.descriptor.digest;
        self.retries.wait_after(Error::BlobBroken { digest, position: self.position, source })
    }

    fn received(&mut self, count: usize) {
        self.position += count as u64;
        self.since_failure += count as u64;
        if self.since_failure >= PROGRESS {
            self.since_failure = 0;
            self.retries.reset();
        }
    }

    /// All bytes are there; nothing may follow. An end that does not come is none of our concern.
    fn finish(&mut self) -> Result<(), Error> {
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        match stream.read(&mut [0]) {
            Ok(0) | Err(_) => Ok(()),
            Ok(_) => {
                let Descriptor { digest, size, .. } = self.wanted.descriptor;
                Err(Error::BlobTooLong { digest, size })
            }
        }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            let left = self.wanted.descriptor.size - self.position;
            if left == 0 {
                return self.finish().map(|()| 0);
            }
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let Some(stream) = &mut self.stream else {
                self.open()?;
                continue;
            };
            match stream.read(&mut buffer[..room]) {
                Ok(0) if room > 0 => self.broke_off(io::ErrorKind::UnexpectedEof.into())?,
                Ok(count) => {
                    self.received(count);
                    return Ok(count);
                }
                Err(error) => self.broke_off(error)?,
            }
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(io::Error::other)
    }
}

impl Wanted {
    /// Asks each source once: mirrors, the registry, and for a foreign layer the addresses it has besides.
    fn open(&self, position: u64) -> Result<BodyReader<'static>, Error> {
        let mut mirrors = self.client.mirrors(&self.reference).filter(|_| self.asks_mirrors);
        if let Some(stream) = mirrors.find_map(|mirror| self.open_at(mirror, position).ok()) {
            return Ok(stream);
        }
        let refusal = match self.open_at(&Site::of(&self.reference), position) {
            Ok(stream) => return Ok(stream),
            Err(refusal) => refusal,
        };
        let mut elsewhere = self.descriptor.urls.iter().filter(|_| refusal.is_not_found());
        elsewhere.find_map(|url| self.open_foreign(url, position).ok()).ok_or(refusal)
    }

    fn open_at(&self, site: &Site, position: u64) -> Result<BodyReader<'static>, Error> {
        let path = format!("{}/blobs/{}", self.reference.repository(), self.descriptor.digest);
        let mut question = Question::get(path, Scope::new(self.reference.repository(), Access::Pull));
        question.patience = Patience::Each;
        question.headers.extend(range_from(position));
        let response = match self.client.ask_site(site, &question, &self.credentials) {
            // No ranges here: the whole, and what is there already is read over.
            Err(Error::Answer(answer)) if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE => {
                question.headers.remove(RANGE);
                self.client.ask_site(site, &question, &self.credentials)?
            }
            asked => asked?,
        };
        from_position(response, &self.descriptor, position)
    }

    /// A foreign layer's own address, without any credentials.
    fn open_foreign(&self, url: &str, position: u64) -> Result<BodyReader<'static>, Error> {
        let endpoint = self.client.registry(&self.reference)?;
        let refused = || Error::Redirect { uri: Uri::default(), location: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| refused())?;
        if !endpoint.permits(&uri) || endpoint.is_own(&uri) {
            return Err(refused());
        }
        let mut outgoing = Outgoing::new(Method::GET, Patience::Each);
        outgoing.headers.extend(range_from(position));
        let response = endpoint.send(uri, outgoing, None)?.response;
        from_position(Answer::check(response)?, &self.descriptor, position)
    }
}

fn range_from(position: u64) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::try_from(format!("bytes={position}-")).ok()?;
    (position > 0).then_some((RANGE, value))
}

/// The body from `position` on, whether the registry sent that part or the whole.
fn from_position(
    response: Response<Body>,
    descriptor: &Descriptor,
    position: u64,
) -> Result<BodyReader<'static>, Error> {
    let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let Descriptor { digest, size, .. } = *descriptor;
    if is_part {
        let range = range.unwrap_or_default();
        if !fits(range, position, size) {
            return Err(Error::BlobRange { digest, offset: position, range: range.to_owned() });
        }
        return Ok(response.into_body().into_reader());
    }
    if let Some(length) = response.body().content_length().filter(|length| *length != size) {
        return Err(Error::BlobLength { digest, announced: length.to_string(), size });
    }
    skipped(response.into_body().into_reader(), position, digest)
}

/// `bytes FIRST-LAST/SIZE`: begins where it was asked to, and lies within the blob.
fn fits(range: &str, position: u64, size: u64) -> bool {
    let Some((first, rest)) = range.strip_prefix("bytes ").and_then(|range| range.split_once('-')) else {
        return false;
    };
    let Some((last, total)) = rest.split_once('/') else { return false };
    let last_fits = last.parse::<u64>().is_ok_and(|last| (position..size).contains(&last));
    first.parse() == Ok(position) && last_fits && (total == "*" || total.parse() == Ok(size))
}

fn skipped(
    mut stream: BodyReader<'static>,
    position: u64,
    digest: Digest,
) -> Result<BodyReader<'static>, Error> {
    let broken = |position, source| Error::BlobBroken { digest, position, source };
    let skipped =
        io::copy(&mut (&mut stream).take(position), &mut io::sink()).map_err(|error| broken(0, error))?;
    if skipped < position {
        return Err(broken(skipped, io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_range_is_the_one_asked_for() {
        for range in ["bytes 5-9/10", "bytes 5-9/*", "bytes 5-7/10"] {
            assert!(fits(range, 5, 10), "{range}");
        }
        for range in [
            "",
            "bytes",
            "bytes */10",
            "bytes 4-9/10",
            "bytes 6-9/10",
            "bytes 5-10/10",
            "bytes 5-9/11",
            "bytes 5-4/10",
            "bytes=5-9/10",
            "items 5-9/10",
            "bytes 5-9",
            "bytes 5-99999999999999999999/10",
            "bytes +5-9/10 ",
        ] {
            assert!(!fits(range, 5, 10), "{range}");
        }
    }
}
