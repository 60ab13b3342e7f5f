//! What can go wrong between this machine and a registry. Where Docker's clients match on a text it is Docker's.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ureq::Timeout;
use ureq::http::{Method, StatusCode, Uri};

use super::answer::Answer;
use crate::{Digest, Reference};

/// One variant for each act that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("invalid mirror {0:?}: want https://HOST[:PORT][/PATH] or http://HOST[:PORT][/PATH]")]
    Mirror(String),
    #[error("invalid address {0:?}")]
    Address(String),
    #[error("invalid insecure registry {0:?}: want HOST[:PORT] or a network in CIDR notation")]
    Insecure(String),
    #[error("invalid user agent {0:?}")]
    UserAgent(String),
    #[error("read {path}")]
    ReadFile { path: PathBuf, source: io::Error },
    #[error("parse certificates of {path}")]
    Pem { path: PathBuf, source: ureq::Error },
    #[error(
        "missing key {key} for client certificate {certificate}. CA certificates must use the extension .crt"
    )]
    MissingKey { key: PathBuf, certificate: PathBuf },
    #[error("missing client certificate {certificate} for key {key}")]
    MissingCertificate { certificate: PathBuf, key: PathBuf },
    #[error("{folder} has more than one client certificate, of which one can be used")]
    ManyCertificates { folder: PathBuf },
    #[error("use client certificate {path}")]
    ClientCertificate { path: PathBuf, source: rustls::Error },

    /// No answer at all.
    #[error("{verb} \"{uri}\"", verb = verb(.method))]
    Exchange { method: Method, uri: Uri, source: Box<Failure> },
    /// A refusal that is told as it came.
    #[error(transparent)]
    Answer(#[from] Answer),
    #[error("pull access denied for {name}, repository does not exist or may require 'docker login'")]
    AccessDenied { name: String, source: Answer },
    #[error("manifest for {reference} not found")]
    ManifestUnknown { reference: String, source: Answer },
    #[error("repository {name} not found")]
    RepositoryUnknown { name: String, source: Answer },

    #[error("{uri} redirects to {location:?}: refused")]
    Redirect { uri: Uri, location: String },
    #[error("{0}: too many redirects")]
    Redirects(Uri),
    #[error("authorization server {0:?} refused: want an https address")]
    Realm(String),
    #[error("token of {realm}")]
    Token { realm: Uri, source: serde_json::Error },
    #[error("{0} sent no usable token")]
    NoToken(Uri),
    #[error("invalid character in credentials for {0}")]
    Credentials(String),

    #[error("manifest of {reference} is larger than {limit} bytes")]
    ManifestTooLarge { reference: String, limit: u64 },
    #[error("manifest verification failed for digest {0}")]
    ManifestDigest(String),
    #[error("manifest of {reference} says it is {inside:?} and came as {outside:?}")]
    ManifestType { reference: String, inside: String, outside: String },
    #[error("unsupported manifest format {media_type:?} of {reference}")]
    ManifestFormat { reference: String, media_type: String },
    #[error(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest the \
         author of {0} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. More information \
         at https://docs.docker.com/go/deprecated-image-specs/"
    )]
    Schema1(Reference),
    #[error("read manifest of {reference}")]
    ReadManifest { reference: String, source: io::Error },

    #[error("tags of {name}: {defect}")]
    Tags { name: String, defect: &'static str },
    #[error("read tags of {name}")]
    ReadTags { name: String, source: io::Error },

    #[error("invalid repository name: repository name ({0}) should not have a scheme")]
    SearchScheme(String),
    #[error("limit {0} is outside the range of [1, 100]")]
    SearchLimit(u64),
    /// `endpoint` is an address, `cause` a sentence.
    #[error(
        "invalid registry endpoint {endpoint}: {cause}. If this private registry supports only HTTP or HTTPS with an \
         unknown CA certificate, please add `--insecure-registry {host}` to the daemon's arguments. In the case of \
         HTTPS, if you have access to the registry's CA certificate, no need for the flag; simply place the CA \
         certificate at /etc/docker/certs.d/{host}/ca.crt"
    )]
    SecureIndex { endpoint: String, host: String, cause: String },
    #[error("invalid registry endpoint {endpoint:?}. HTTPS attempt: {https}. HTTP attempt: {http}")]
    InsecureIndex { endpoint: String, https: String, http: String },
    #[error("Unexpected status code {0}")]
    SearchStatus(u16),
    #[error("read the registry's search results")]
    ReadResults(#[source] io::Error),
    #[error("error decoding registry search results")]
    Results(#[source] serde_json::Error),

    #[error("parse {0:?}: invalid address")]
    DownloadAddress(String),
    #[error("Get {address:?}: unsupported protocol scheme {scheme:?}")]
    DownloadScheme { address: String, scheme: String },
    #[error("failed to GET {address} with status {status}: {said}")]
    Download { address: String, status: StatusCode, said: String },

    #[error("blob {digest} is announced with {announced} bytes, but has {size}")]
    BlobLength { digest: Digest, announced: String, size: u64 },
    #[error("blob {digest} is longer than its {size} bytes")]
    BlobTooLong { digest: Digest, size: u64 },
    #[error("blob {digest} from byte {offset} came as {range:?}")]
    BlobRange { digest: Digest, offset: u64, range: String },
    #[error("transfer of blob {digest} broke off at byte {position}")]
    BlobBroken { digest: Digest, position: u64, source: io::Error },
    #[error("blob {digest} has no byte {offset}")]
    BlobOffset { digest: Digest, offset: u64 },

    #[error("read blob {digest} from byte {offset}")]
    Source { digest: Digest, offset: u64, source: io::Error },
    #[error("registry names no usable place to upload blob {0} to")]
    UploadLocation(Digest),
    #[error("registry took {found:?} for {pushed}")]
    PushedDigest { pushed: Digest, found: String },

    #[error("parse {path}")]
    ConfigSyntax { path: PathBuf, source: serde_json::Error },
    #[error("invalid auth configuration file {path}: entry {entry:?}")]
    ConfigEntry { path: PathBuf, entry: String },
    #[error("invalid name of a credential helper: {0:?}")]
    HelperName(String),
    #[error("run {helper}")]
    Helper { helper: String, source: io::Error },
    #[error("error getting credentials - err: {status}, out: `{output}`")]
    HelperFailed { status: String, output: String },
    #[error("{helper} gave no answer within {} seconds", .limit.as_secs())]
    HelperSlow { helper: String, limit: Duration },
    #[error("parse the answer of {helper}")]
    HelperAnswer { helper: String, source: serde_json::Error },
}

/// Why there was no answer, as Go's HTTP client tells it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("dial tcp: lookup {0}: no such host")]
    NoSuchHost(String),
    #[error("dial tcp: lookup {host}: {problem}")]
    Lookup { host: String, problem: String },
    #[error("dial tcp {0}: connect: connection refused")]
    Refused(String),
    #[error("tls: failed to verify certificate: x509: certificate signed by unknown authority")]
    UnknownAuthority,
    #[error("tls: failed to verify certificate: {0}")]
    Certificate(rustls::CertificateError),
    #[error("no data for {} seconds", .0.as_secs_f32())]
    Stalled(Duration),
    #[error("no whole answer in time")]
    Slow,
    #[error("EOF")]
    Closed,
    #[error("no basic auth credentials")]
    NoCredentials,
    #[error(transparent)]
    Other(ureq::Error),
}

impl Failure {
    pub(super) fn of(error: ureq::Error, uri: &Uri, stall: Duration) -> Self {
        let address = || format!("{}:{}", uri.host().unwrap_or_default(), port(uri));
        match error {
            ureq::Error::HostNotFound => Self::NoSuchHost(uri.host().unwrap_or_default().to_owned()),
            ureq::Error::Io(error) => {
                Self::of_lookup(&error, uri).unwrap_or_else(|| Self::of_io(error, address()))
            }
            ureq::Error::Rustls(rustls::Error::InvalidCertificate(problem)) => Self::of_certificate(problem),
            ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite | Timeout::Connect) => {
                Self::Stalled(stall)
            }
            other => Self::Other(other),
        }
    }

    /// The resolver of std reports in words alone.
    fn of_lookup(error: &io::Error, uri: &Uri) -> Option<Self> {
        let text = error.to_string();
        let problem = text.strip_prefix("failed to lookup address information: ")?.to_owned();
        let host = uri.host().unwrap_or_default().to_owned();
        let is_final =
            ["Name or service not known", "No address associated with hostname"].contains(&problem.as_str());
        Some(if is_final { Self::NoSuchHost(host) } else { Self::Lookup { host, problem } })
    }

    /// rustls reports through `io::Error` once a handshake has begun.
    fn of_io(error: io::Error, address: String) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (inner, error.kind()) {
            (Some(rustls::Error::InvalidCertificate(problem)), _) => Self::of_certificate(problem.clone()),
            (_, io::ErrorKind::ConnectionRefused) => Self::Refused(address),
            (_, io::ErrorKind::UnexpectedEof) => Self::Closed,
            _ => Self::Other(ureq::Error::Io(error)),
        }
    }

    fn of_certificate(problem: rustls::CertificateError) -> Self {
        match problem {
            rustls::CertificateError::UnknownIssuer => Self::UnknownAuthority,
            other => Self::Certificate(other),
        }
    }

    /// Whether a certificate, and nothing else, was in the way.
    pub(super) fn is_certificate(&self) -> bool {
        matches!(self, Self::UnknownAuthority | Self::Certificate(_))
    }

    /// Whether the same request may succeed later.
    fn passes(&self) -> bool {
        match self {
            Self::NoSuchHost(_)
            | Self::UnknownAuthority
            | Self::Certificate(_)
            | Self::NoCredentials
            | Self::Other(ureq::Error::Rustls(_) | ureq::Error::BadUri(_) | ureq::Error::Http(_)) => false,
            Self::Other(_)
            | Self::Lookup { .. }
            | Self::Refused(_)
            | Self::Stalled(_)
            | Self::Slow
            | Self::Closed => true,
        }
    }
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 })
}

/// `Get`, as Go writes a method in front of an address.
fn verb(method: &Method) -> String {
    let (first, rest) = method.as_str().split_at(1);
    first.to_owned() + &rest.to_ascii_lowercase()
}

impl Error {
    /// Whether the same request may succeed later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Exchange { source, .. } => source.passes(),
            Self::Answer(answer) => answer.passes(),
            Self::BlobBroken { .. } | Self::ReadManifest { .. } => true,
            _ => false,
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer(answer) => answer.retry_after(),
            _ => None,
        }
    }

    /// Whether the registry, or the user's right to see it, lacks what was asked for: the API's status 404.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::AccessDenied { .. } | Self::ManifestUnknown { .. } | Self::RepositoryUnknown { .. } => true,
            Self::Answer(answer) => answer.status() == 404,
            _ => false,
        }
    }

    /// The refusal of a pull, with the name that was asked for.
    pub(super) fn of_pull(self, reference: &Reference) -> Self {
        let source = match self {
            Self::Answer(source) => source,
            // Docker asks what a tag names by HEAD.
            Self::Exchange { uri, source, .. }
                if matches!(*source, Failure::NoCredentials) && reference.digest().is_none() =>
            {
                return Self::Exchange { method: Method::HEAD, uri, source };
            }
            other => return other,
        };
        let name = || reference.familiar_name();
        match (source.code(), source.status()) {
            ("DENIED", _) => Self::AccessDenied { name: name(), source },
            ("MANIFEST_UNKNOWN", _) | ("", 404) => {
                Self::ManifestUnknown { reference: reference.or_latest().familiar(), source }
            }
            ("NAME_UNKNOWN", _) => Self::RepositoryUnknown { name: name(), source },
            _ => Self::Answer(source),
        }
    }
}
