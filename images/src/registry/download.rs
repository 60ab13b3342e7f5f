//! A file at any address, for `docker import`. Nobody there is a registry: the system's authorities alone are believed, no
//! credentials are shown but those in the address, and what `certs.d` says is not for it.

use std::io::{self, Read};

use ureq::http::header::{AUTHORIZATION, LOCATION};
use ureq::http::{HeaderValue, Method, Response, StatusCode, Uri};
use ureq::{Body, BodyReader};

use super::agents::{Agents, Outgoing, Patience};
use super::endpoint::MOST_REDIRECTS;
use super::location::{Origin, resolve, unescape};
use super::token::basic;
use super::{Client, Error};

/// Bytes of a refusal's body that are told.
const LONGEST_REFUSAL: u64 = 64 << 10;

/// The body of an answer. One that is shorter than announced ends with an error.
pub struct Download {
    address: String,
    length: Option<u64>,
    position: u64,
    body: BodyReader<'static>,
}

/// An address, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    /// As it is shown.
    text: String,
    /// What is asked for: without a user.
    uri: Uri,
    /// Name and password.
    user: Option<(String, String)>,
}

impl Client {
    /// Asks for what is at an address; without a scheme it is `http`. Redirects are followed, but none from TLS to plain HTTP.
    pub fn download(&self, address: &str) -> Result<Download, Error> {
        let Address { text, uri, user } = Address::parse(address)?;
        let settings = &self.shared.settings;
        let origin = Origin::of(&uri).ok_or_else(|| Error::Address(text.clone()))?;
        let credence = settings.trust.of_anybody()?;
        let agents = Agents::new(origin, credence, settings.stall_timeout, &settings.user_agent);
        let authorization = user.map(|(user, secret)| basic(&user, &secret, &text)).transpose()?;
        let response = follow(&agents, uri, authorization)?;
        if response.status().as_u16() >= 400 {
            return Err(refusal(text, response));
        }
        let length = response.body().content_length();
        Ok(Download { address: text, length, position: 0, body: response.into_body().into_reader() })
    }
}

impl Download {
    /// The address, with its scheme.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Bytes, where the server tells.
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let too_early = || io::Error::new(io::ErrorKind::UnexpectedEof, "unexpected EOF");
        let count = match self.body.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(too_early()),
            read => read?,
        };
        self.position += count as u64;
        if count == 0 && !buffer.is_empty() && self.length.is_some_and(|length| self.position < length) {
            return Err(too_early());
        }
        Ok(count)
    }
}

impl Address {
    fn parse(text: &str) -> Result<Self, Error> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let (scheme, rest) = whole.split_once("://").unwrap_or(("", &whole));
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err(Error::DownloadScheme { address: whole, scheme });
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, page) = rest.split_at(end);
        let page = printable(page);
        let text = format!("{scheme}://{authority}{page}");
        let (user, host) =
            authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let sent = page.split('#').next().unwrap_or_default();
        let invalid = || Error::DownloadAddress(text.clone());
        let uri: Uri = format!("{scheme}://{host}{sent}").parse().map_err(|_| invalid())?;
        let port = uri.authority().and_then(|authority| authority.as_str().strip_prefix(authority.host()));
        let is_port = port.is_some_and(|port| port.is_empty() || uri.port_u16().is_some());
        if Origin::of(&uri).is_none() || !is_port {
            return Err(invalid());
        }
        let user = user.map(|user| {
            let (name, secret) = user.split_once(':').unwrap_or((user, ""));
            (unescape(name), unescape(secret))
        });
        Ok(Self { text, uri, user })
    }
}

/// What an address may not have in it, escaped (RFC 3986 section 2).
fn printable(page: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    let escaped = page.bytes().map(|byte| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    escaped.collect()
}

fn follow(
    agents: &Agents,
    mut uri: Uri,
    authorization: Option<HeaderValue>,
) -> Result<Response<Body>, Error> {
    let first = Origin::of(&uri);
    let mut outgoing = Outgoing::new(Method::GET, Patience::Each);
    outgoing.headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
    for _ in 0..=MOST_REDIRECTS {
        // Once left behind it does not come back.
        if Origin::of(&uri) != first {
            outgoing.headers.remove(AUTHORIZATION);
        }
        let response = agents.send(&uri, &mut outgoing)?;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(location) = location.filter(|_| is_redirect(response.status())) else { return Ok(response) };
        let may_be_plain = Origin::of(&uri).is_some_and(|origin| !origin.is_https());
        let permits =
            |target: &Uri| Origin::of(target).is_some_and(|origin| origin.is_https() || may_be_plain);
        let refused = || Error::Redirect { uri: uri.clone(), location: location.to_owned() };
        uri = resolve(&uri, location).filter(permits).ok_or_else(refused)?;
    }
    Err(Error::Redirects(uri))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn refusal(address: String, response: Response<Body>) -> Error {
    let status = response.status();
    let mut body = Vec::new();
    let read = response.into_body().into_reader().take(LONGEST_REFUSAL).read_to_end(&mut body);
    let said = match read {
        Ok(_) => String::from_utf8_lossy(&body).trim().to_owned(),
        Err(_) => "error reading body".to_owned(),
    };
    Error::Download { address, status, said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_and_taken_apart() {
        for (given, text, uri) in [
            ("a.b/c.tar", "http://a.b/c.tar", "http://a.b/c.tar"),
            ("a.b:80", "http://a.b:80", "http://a.b:80/"),
            ("HTTPS://a.b/x?y=z#f", "https://a.b/x?y=z#f", "https://a.b/x?y=z"),
            ("http://a.b/ä c.tar", "http://a.b/%C3%A4%20c.tar", "http://a.b/%C3%A4%20c.tar"),
            ("http://a.b?q", "http://a.b?q", "http://a.b/?q"),
        ] {
            let address = Address::parse(given).unwrap();
            assert_eq!((address.text.as_str(), address.uri.to_string().as_str()), (text, uri), "{given}");
            assert_eq!(address.user, None);
        }
        let address = Address::parse("http://o%40x:ge:heim@a.b/c").unwrap();
        assert_eq!(address.uri.to_string(), "http://a.b/c");
        assert_eq!(address.user, Some(("o@x".to_owned(), "ge:heim".to_owned())));
    }

    #[test]
    fn what_is_no_address_of_http_is_refused() {
        let refused = |text: &str| Address::parse(text).unwrap_err().to_string();
        assert_eq!(refused("ftp://a.b/c"), r#"Get "ftp://a.b/c": unsupported protocol scheme "ftp""#);
        assert_eq!(
            refused("file:///etc/passwd"),
            r#"Get "file:///etc/passwd": unsupported protocol scheme "file""#
        );
        for text in ["http://a b/c", "http:///c", "http://a:b/c", "http://"] {
            assert_eq!(refused(text), format!("parse {text:?}: invalid address"));
        }
    }
}
