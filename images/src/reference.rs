//! Names of images as users write them, in Docker's grammar (distribution/reference): `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.
//!
//! A familiar name (`busybox`) and its canonical form (`docker.io/library/busybox`) are the same reference. Nothing here
//! talks to a registry. The texts of the errors are Docker's.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, InvalidDigest};

const DOCKER_HUB: &str = "docker.io";
const LEGACY_DOCKER_HUB: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const LATEST: &str = "latest";
/// Bytes in a repository, without the registry.
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;

/// A well-formed name. Displayed in its canonical form; [`Reference::familiar`] is what users are shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    RepositoryInUppercase(String),
    #[error("repository name must be lowercase")]
    NameInUppercase,
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    #[error("repository name must not be more than {LONGEST_REPOSITORY} characters")]
    TooLong,
    #[error("invalid tag format")]
    Tag,
    #[error("unsupported digest algorithm")]
    DigestAlgorithm,
    #[error("invalid checksum digest length")]
    DigestLength,
    #[error("invalid checksum digest format")]
    DigestFormat,
}

impl Reference {
    /// Reads a familiar or canonical name. A missing tag stays missing: see [`Reference::or_latest`].
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidReference::Identifier(text.to_owned()));
        }
        let (registry, remainder) = split_registry(text);
        let untagged = remainder.split(':').next().unwrap_or_default();
        if untagged.to_lowercase() != untagged {
            return Err(InvalidReference::RepositoryInUppercase(untagged.to_owned()));
        }
        Self::from_parts(registry, &remainder)
    }

    fn from_parts(registry: &str, remainder: &str) -> Result<Self, InvalidReference> {
        let (named, digest) = match remainder.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (remainder, None),
        };
        let (repository, tag) = match named.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (named, None),
        };
        let rest_fits = is_repository(repository) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
        if !rest_fits || !is_registry(registry) {
            let lower = registry.to_lowercase();
            let only_case = lower != registry && (is_registry(&lower) || is_repository(&lower));
            let in_uppercase = rest_fits && only_case;
            return Err(if in_uppercase {
                InvalidReference::NameInUppercase
            } else {
                InvalidReference::Format
            });
        }
        if repository.len() > LONGEST_REPOSITORY {
            return Err(InvalidReference::TooLong);
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(to_digest).transpose()?,
        })
    }

    /// The registry as written, `docker.io` where none was: `HOST[:PORT]`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path below the registry: `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest, or else the tag, or else `latest`.
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => LATEST.to_owned(),
        }
    }

    /// The canonical name without tag and digest: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name as users know it, without tag and digest: `busybox`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DOCKER_HUB {
            return self.name();
        }
        let official = self.repository.strip_prefix(OFFICIAL).filter(|name| !name.contains('/'));
        official.unwrap_or(&self.repository).to_owned()
    }

    /// The whole reference as users know it: `busybox:1.36`.
    pub fn familiar(&self) -> String {
        self.familiar_name() + &self.suffix()
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}"));
        let digest = self.digest.map(|digest| format!("@{digest}"));
        tag.unwrap_or_default() + &digest.unwrap_or_default()
    }

    /// The same name under this tag; a digest stays.
    pub fn with_tag(&self, tag: &str) -> Result<Self, InvalidReference> {
        if !is_tag(tag) {
            return Err(InvalidReference::Tag);
        }
        Ok(Self { tag: Some(tag.to_owned()), ..self.clone() })
    }

    /// The same name under this digest; a tag stays.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The name alone, without tag and digest.
    #[must_use]
    pub fn without_suffix(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    /// Adds the tag `latest` to a reference that has neither tag nor digest.
    #[must_use]
    pub fn or_latest(&self) -> Self {
        let bare = self.tag.is_none() && self.digest.is_none();
        Self { tag: if bare { Some(LATEST.to_owned()) } else { self.tag.clone() }, ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        Self::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

/// The first component is a registry when it could be no part of a name on Docker Hub.
fn split_registry(text: &str) -> (&str, String) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DOCKER_HUB, format!("{OFFICIAL}{text}"));
    };
    let is_registry = first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first;
    let (registry, name) = match first {
        LEGACY_DOCKER_HUB => (DOCKER_HUB, rest),
        _ if is_registry => (first, rest),
        _ => (DOCKER_HUB, text),
    };
    let official = registry == DOCKER_HUB && !name.contains('/');
    (registry, if official { format!("{OFFICIAL}{name}") } else { name.to_owned() })
}

/// `HOST[:PORT]`: a name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn is_registry(text: &str) -> bool {
    let port_fits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = match text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, after)) => {
            let is_address =
                !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            return is_address && (after.is_empty() || after.strip_prefix(':').is_some_and(port_fits));
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    host.split('.').all(is_label) && port.is_none_or(port_fits)
}

fn is_label(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    inner && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

fn is_repository(text: &str) -> bool {
    text.split('/').all(is_component)
}

/// Runs of lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = text.split(is_letter).filter(|separator| !separator.is_empty());
    let ends_fit = text.starts_with(is_letter) && text.ends_with(is_letter);
    ends_fit && separators.all(|one| matches!(one, "." | "_" | "__") || one.bytes().all(|byte| byte == b'-'))
}

fn is_tag(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fits = text.chars().all(|c| is_word(c) || c == '.' || c == '-');
    fits && text.starts_with(is_word) && text.len() <= LONGEST_TAG
}

/// The form of any digest, of whatever algorithm.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(is_name)
        && hex.len() >= 32
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn to_digest(text: &str) -> Result<Digest, InvalidReference> {
    match text.strip_prefix("sha256:") {
        None => Err(InvalidReference::DigestAlgorithm),
        Some(hex) if hex.len() != 64 => Err(InvalidReference::DigestLength),
        Some(_) => text.parse().map_err(|_: InvalidDigest| InvalidReference::DigestFormat),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_have_a_canonical_and_a_familiar_form() {
        let cases = [
            // written, canonical, familiar, registry, repository
            ("busybox", "docker.io/library/busybox", "busybox", "docker.io", "library/busybox"),
            ("library/busybox", "docker.io/library/busybox", "busybox", "docker.io", "library/busybox"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox", "docker.io", "library/busybox"),
            ("index.docker.io/a/b", "docker.io/a/b", "a/b", "docker.io", "a/b"),
            ("a/b:1", "docker.io/a/b:1", "a/b:1", "docker.io", "a/b"),
            ("library/a/b", "docker.io/library/a/b", "library/a/b", "docker.io", "library/a/b"),
            ("localhost/a", "localhost/a", "localhost/a", "localhost", "a"),
            (
                "localhost:5000",
                "docker.io/library/localhost:5000",
                "localhost:5000",
                "docker.io",
                "library/localhost",
            ),
            ("test:5000/a:1", "test:5000/a:1", "test:5000/a:1", "test:5000", "a"),
            (
                "test.com:5000",
                "docker.io/library/test.com:5000",
                "test.com:5000",
                "docker.io",
                "library/test.com",
            ),
            ("192.0.2.1/a/b", "192.0.2.1/a/b", "192.0.2.1/a/b", "192.0.2.1", "a/b"),
            (
                "[2001:db8::1]:5000/a",
                "[2001:db8::1]:5000/a",
                "[2001:db8::1]:5000/a",
                "[2001:db8::1]:5000",
                "a",
            ),
            ("[2001:db8::1]/a:t", "[2001:db8::1]/a:t", "[2001:db8::1]/a:t", "[2001:db8::1]", "a"),
            ("UPPER/a", "UPPER/a", "UPPER/a", "UPPER", "a"),
            (
                "xn--n3h.com/a:xn--n3h.com",
                "xn--n3h.com/a:xn--n3h.com",
                "xn--n3h.com/a:xn--n3h.com",
                "xn--n3h.com",
                "a",
            ),
            ("a__b/c---d.e", "docker.io/a__b/c---d.e", "a__b/c---d.e", "docker.io", "a__b/c---d.e"),
        ];
        for (written, canonical, familiar, registry, repository) in cases {
            let reference = Reference::parse(written).unwrap();
            assert_eq!(reference.to_string(), canonical);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!((reference.registry(), reference.repository()), (registry, repository));
            assert_eq!(Reference::parse(canonical).unwrap(), reference, "{canonical}");
            assert_eq!(Reference::parse(familiar).unwrap(), reference, "{familiar}");
        }
    }

    #[test]
    fn tags_and_digests() {
        let both = Reference::parse(&format!("a.b:1/c:Tag_1.x-y@{DIGEST}")).unwrap();
        assert_eq!(both.tag(), Some("Tag_1.x-y"));
        assert_eq!(both.digest().map(ToString::to_string).as_deref(), Some(DIGEST));
        assert_eq!(both.wanted(), DIGEST);
        assert_eq!(both.to_string(), format!("a.b:1/c:Tag_1.x-y@{DIGEST}"));
        assert_eq!(both.without_suffix().to_string(), "a.b:1/c");
        let bare = Reference::parse("c").unwrap();
        assert_eq!((bare.tag(), bare.wanted().as_str()), (None, "latest"));
        assert_eq!(bare.or_latest().familiar(), "c:latest");
        let digested = bare.with_digest(*both.digest().unwrap());
        assert_eq!(digested.or_latest().familiar(), format!("c@{DIGEST}"));
        assert_eq!(bare.with_tag("2").unwrap().familiar(), "c:2");
        assert_eq!(bare.with_tag("-2"), Err(InvalidReference::Tag));
        assert!(bare.with_tag(&"t".repeat(128)).is_ok());
        assert_eq!(bare.with_tag(&"t".repeat(129)), Err(InvalidReference::Tag));
    }

    #[test]
    fn what_is_no_reference_is_refused_in_dockers_words() {
        let hex = &DIGEST[7..];
        let long = "a".repeat(256);
        let cases = [
            ("", "invalid reference format"),
            (":tag", "invalid reference format"),
            (&format!("@{DIGEST}"), "invalid reference format"),
            ("https://example.com/a", "invalid reference format"),
            ("docker///a", "invalid reference format"),
            ("docker/", "invalid reference format"),
            ("/a", "invalid reference format"),
            ("-docker/a", "invalid reference format"),
            ("docker-/a", "invalid reference format"),
            ("_a/_b", "invalid reference format"),
            ("dock..er/a", "invalid reference format"),
            ("dock_.er/a", "invalid reference format"),
            ("a___b", "invalid reference format"),
            ("a b", "invalid reference format"),
            ("a:b:c", "invalid reference format"),
            ("a:", "invalid reference format"),
            ("a@", "invalid reference format"),
            ("aa/asdf$$^/aa", "invalid reference format"),
            ("../../etc/passwd", "invalid reference format"),
            ("a.b/../c", "invalid reference format"),
            ("fc00::1:5000/a", "invalid reference format"),
            ("[fe80::1%eth0]:5000/a", "invalid reference format"),
            ("[2001:db8:3:4::192.0.2.33]:5000/a", "invalid reference format"),
            ("[]/a", "invalid reference format"),
            ("host:/a", "invalid reference format"),
            ("a\n", "invalid reference format"),
            // Docker takes this for a name without any registry, and then cannot pull it.
            ("my_host.com/a", "invalid reference format"),
            ("library/Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
            ("Foo:tag", "invalid reference format: repository name (library/Foo) must be lowercase"),
            ("a.b/C/d:t", "invalid reference format: repository name (C/d) must be lowercase"),
            ("Under_score/a", "repository name must be lowercase"),
            (hex, &format!("invalid repository name ({hex}), cannot specify 64-byte hexadecimal strings")),
            (&format!("a.b/{long}:t"), "repository name must not be more than 255 characters"),
            (&format!("a@{}", &DIGEST[..60]), "invalid checksum digest length"),
            (&format!("a@sha512:{hex}"), "unsupported digest algorithm"),
            (&format!("a@sha256:{}", hex.to_uppercase()), "invalid checksum digest format"),
            (&format!("a@{}", &DIGEST[..20]), "invalid reference format"),
        ];
        for (text, expected) in cases {
            let error = Reference::parse(text).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn sixty_four_digits_are_a_name_below_a_registry() {
        assert_eq!(
            Reference::parse(&format!("docker.io/{}", &DIGEST[7..])).unwrap().familiar_name(),
            DIGEST[7..]
        );
        assert!(Reference::parse(&format!("a.b/{}", "a".repeat(255))).is_ok());
    }

    proptest::proptest! {
        /// What is accepted is one reference in all its forms, and a path below nobody's root.
        #[test]
        fn whatever_is_accepted_reads_back(text in "[a-zA-Z0-9.:/@_\\[\\]-]{0,40}|\\PC{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                proptest::prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
                proptest::prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
                proptest::prop_assert!(reference.name().split('/').all(|part| part != ".." && !part.is_empty()));
            }
        }
    }
}
