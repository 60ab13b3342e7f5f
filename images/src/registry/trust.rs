//! Whose certificates are believed: the system's authorities, and per registry what certs.d/HOST[:PORT] adds
//! (dockerd's "Verify repository client with certificates"): `*.crt` are authorities, `NAME.cert` and `NAME.key` are the
//! client's own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::Error;

/// Where distributions keep the authorities, in the order in which they are tried; SSL_CERT_FILE goes before them.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The system's authorities, read once, and the folder of the registries' own.
#[derive(Debug)]
pub(super) struct Trust {
    certs_dir: PathBuf,
    system: OnceLock<Vec<Certificate<'static>>>,
    provider: Arc<CryptoProvider>,
}

/// Whether a certificate has to be one that is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    Verified,
    /// Any certificate, or none: insecure registries.
    Unverified,
}

/// What one registry is believed, and shown.
pub(super) struct Credence {
    /// For the registry itself, with the client's certificate.
    pub(super) own: TlsConfig,
    /// For the hosts it sends us to: the same authorities, and no certificate of ours.
    pub(super) foreign: TlsConfig,
}

impl Trust {
    pub(super) fn new(certs_dir: PathBuf) -> Self {
        Self { certs_dir, system: OnceLock::new(), provider: Arc::new(ring::default_provider()) }
    }

    pub(super) fn of(&self, registry: &str, security: Security) -> Result<Credence, Error> {
        let folder = self.certs_dir.join(registry);
        let files = list(&folder)?;
        let mut roots = Vec::new();
        if security == Security::Verified {
            roots.extend_from_slice(self.system()?);
            for path in files.iter().filter(|path| has_extension(path, "crt")) {
                roots.extend(certificates(path)?);
            }
        }
        let own = self.config(roots.clone(), self.client_certificate(&folder, &files)?, security);
        Ok(Credence { own, foreign: self.config(roots, None, security) })
    }

    /// What is believed of a host that is no registry.
    pub(super) fn of_anybody(&self) -> Result<Credence, Error> {
        let config = self.config(self.system()?.to_vec(), None, Security::Verified);
        Ok(Credence { own: config.clone(), foreign: config })
    }

    fn config(
        &self,
        roots: Vec<Certificate<'static>>,
        client: Option<ClientCert>,
        security: Security,
    ) -> TlsConfig {
        TlsConfig::builder()
            .root_certs(RootCerts::from(roots))
            .client_cert(client)
            .disable_verification(security == Security::Unverified)
            .unversioned_rustls_crypto_provider(self.provider.clone())
            .build()
    }

    fn system(&self) -> Result<&[Certificate<'static>], Error> {
        if self.system.get().is_none() {
            let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
            let mut candidates = named.into_iter().chain(BUNDLES.map(PathBuf::from));
            // Without any bundle nothing is believed, and each certificate is refused by name.
            let bundle = candidates.find(|path| path.exists());
            let read = bundle.map(|path| certificates(&path)).transpose()?.unwrap_or_default();
            return Ok(self.system.get_or_init(|| read));
        }
        Ok(self.system.get().map(Vec::as_slice).unwrap_or_default())
    }

    fn client_certificate(&self, folder: &Path, files: &[PathBuf]) -> Result<Option<ClientCert>, Error> {
        for key in files.iter().filter(|path| has_extension(path, "key")) {
            let certificate = key.with_extension("cert");
            if !files.contains(&certificate) {
                return Err(Error::MissingCertificate { certificate, key: key.clone() });
            }
        }
        let mut pairs = files.iter().filter(|path| has_extension(path, "cert"));
        let Some(certificate) = pairs.next() else { return Ok(None) };
        let key = certificate.with_extension("key");
        if !files.contains(&key) {
            return Err(Error::MissingKey { key, certificate: certificate.clone() });
        }
        if pairs.next().is_some() {
            return Err(Error::ManyCertificates { folder: folder.to_owned() });
        }
        self.check_pair(certificate, &key)?;
        let private =
            PrivateKey::from_pem(&read(&key)?).map_err(|source| Error::Pem { path: key, source })?;
        Ok(Some(ClientCert::new_with_certs(&certificates(certificate)?, private)))
    }

    /// A pair that does not fit is refused here: further on it would be a panic.
    fn check_pair(&self, certificate: &Path, key: &Path) -> Result<(), Error> {
        let no_pem = |path: &Path, source| Error::Pem { path: path.to_owned(), source };
        let chain = certificates(certificate)?;
        let chain = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
        let private = PrivateKeyDer::from_pem_slice(&read(key)?);
        let private = private.map_err(|source| no_pem(key, ureq::Error::Pem(source)))?;
        let pair = CertifiedKey::from_der(chain, private, &self.provider);
        pair.map(drop).map_err(|source| Error::ClientCertificate { path: certificate.to_owned(), source })
    }
}

/// The files of a folder in order of their names; none where there is no folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::ReadFile { path: folder.to_owned(), source };
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let paths: Result<Vec<_>, _> = listing.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::ReadFile { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let text = read(path)?;
    let items = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    items.collect::<Result<_, _>>().map_err(|source| Error::Pem { path: path.to_owned(), source })
}
