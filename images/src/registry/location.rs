//! Addresses that a registry sends (Location, realm): resolved against the page they came with (RFC 3986 section 5.2) and
//! held to http and https. What a registry sends is hostile.

use std::net::IpAddr;

use ureq::http::Uri;

/// Whom a request goes to: credentials never leave one origin for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// None for anything but http and https, and for an address with a user in it.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Some(Self { is_https, host: authority.host().to_ascii_lowercase(), port })
    }

    pub(super) fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host, if it is written as an address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        bare(&self.host).parse().ok()
    }

    /// Whether the address itself, without any lookup, is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// `localhost`, 127.0.0.0/8 and ::1 as they are written, with or without brackets.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = bare(host);
    bare == "localhost" || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The absolute address of `location` on the page `base`; none where it is no http or https address.
pub(super) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next()?;
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let absolute = match location {
        _ if has_scheme(location) => location.to_owned(),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        _ if location.starts_with('?') || location.is_empty() => {
            format!("{scheme}://{authority}{}{location}", base.path())
        }
        _ => format!("{scheme}://{authority}{folder}/{location}"),
    };
    let uri: Uri = absolute.parse().ok()?;
    Origin::of(&uri).map(|_| uri)
}

/// A colon before any slash or question mark ends a scheme.
fn has_scheme(location: &str) -> bool {
    location.find([':', '/', '?']).is_some_and(|at| location[at..].starts_with(':'))
}

/// A value of a query or of a form (RFC 3986 section 2.3: all but the unreserved is escaped).
pub(super) fn escape(value: &str) -> String {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escaped = value.bytes().map(|byte| match byte {
        byte if is_unreserved(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    escaped.collect()
}

/// The reverse. What is no escape stays as it is.
pub(super) fn unescape(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|pair| first == b'%' && pair.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|pair| std::str::from_utf8(pair).ok());
        if let Some(byte) = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The address with one more parameter in its query.
pub(super) fn with_parameter(uri: &Uri, name: &str, value: &str) -> Option<Uri> {
    let separator = if uri.query().is_some() { '&' } else { '?' };
    format!("{uri}{separator}{name}={}", escape(value)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_resolved_against_its_page() {
        let base: Uri = "https://a.b:5000/v2/c/blobs/uploads/?x=1".parse().unwrap();
        let cases = [
            ("/v2/d", Some("https://a.b:5000/v2/d")),
            ("uuid?y=2", Some("https://a.b:5000/v2/c/blobs/uploads/uuid?y=2")),
            ("?y=2", Some("https://a.b:5000/v2/c/blobs/uploads/?y=2")),
            ("", Some("https://a.b:5000/v2/c/blobs/uploads/")),
            ("//e.f/g", Some("https://e.f/g")),
            ("http://e.f/g#h", Some("http://e.f/g")),
            ("HTTPS://e.f/g", Some("https://e.f/g")),
            ("/v2/d?at=a:b", Some("https://a.b:5000/v2/d?at=a:b")),
            ("file:///etc/passwd", None),
            ("ftp://e.f/g", None),
            ("javascript:alert(1)", None),
            ("data:text/plain,x", None),
            ("https://user:secret@e.f/g", None),
            ("https:///g", None),
            ("https://e.f/a b", None),
        ];
        for (location, expected) in cases {
            assert_eq!(
                resolve(&base, location).map(|uri| uri.to_string()).as_deref(),
                expected,
                "{location}"
            );
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |text: &str| Origin::of(&text.parse().unwrap()).unwrap();
        assert_eq!(origin("https://A.b/x"), origin("https://a.B:443/y"));
        for other in ["http://a.b/", "https://a.b:444/", "https://c.a.b/", "https://a.b.c/"] {
            assert_ne!(origin("https://a.b/"), origin(other));
        }
        assert!(origin("http://127.3.0.1:5/").is_loopback() && origin("http://[::1]:5/").is_loopback());
        assert!(!origin("http://127.0.0.1.example.com/").is_loopback());
    }

    #[test]
    fn parameters_are_escaped() {
        let uri: Uri = "https://a.b/v2/?_state=x".parse().unwrap();
        assert_eq!(
            with_parameter(&uri, "digest", "sha256:0").unwrap().to_string(),
            "https://a.b/v2/?_state=x&digest=sha256%3A0"
        );
        assert_eq!(escape("a b&c=é"), "a%20b%26c%3D%C3%A9");
        assert_eq!(unescape("a%20b%26c%3d%C3%A9"), "a b&c=é");
        assert_eq!(unescape("100%, %4"), "100%, %4");
    }

    proptest::proptest! {
        /// Whatever a registry writes leads to http or https, and to no user.
        #[test]
        fn a_location_is_an_http_address_or_none(text in "[ -~]{0,60}|(https?|ftp|:|/|\\?|#|@|a\\.b|\\.\\.){0,12}") {
            let base: Uri = "https://a.b/c".parse().unwrap();
            if let Some(uri) = resolve(&base, &text) {
                proptest::prop_assert!(["http", "https"].contains(&uri.scheme_str().unwrap()));
                proptest::prop_assert!(!uri.authority().unwrap().as_str().contains('@'));
            }
        }
    }
}
