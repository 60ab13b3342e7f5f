//! Who is asking, and where that is written down: Docker's `config.json` (docker-cli, "Configuration files") with its
//! `auths`, `credsStore` and `credHelpers`. The file is read anew for each question, since `docker login` may change it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Error;
use super::credential_helper;

/// The key of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const HELPER_LIMIT: Duration = Duration::from_mins(1);

/// What is shown to a registry that asks. Secrets are not printed.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Credentials {
    #[default]
    Anonymous,
    Basic {
        user: String,
        secret: String,
    },
    /// Exchanged for access tokens at the authorization server.
    IdentityToken(String),
    /// Shown to the registry as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { user, .. } => write!(f, "Basic({user:?}, ...)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(...)"),
            Self::RegistryToken(_) => f.write_str("RegistryToken(...)"),
        }
    }
}

/// A `config.json`.
#[derive(Debug, Clone)]
pub struct CredentialStore {
    path: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    auths: HashMap<String, Entry>,
    creds_store: String,
    cred_helpers: HashMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `USER:PASSWORD` in base64.
    #[serde(rename = "auth")]
    encoded: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl CredentialStore {
    /// The store in this file, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The credentials for a registry as [`crate::Reference::registry`] names it.
    pub fn get(&self, registry: &str) -> Result<Credentials, Error> {
        let file = self.read()?;
        let key = if registry == "docker.io" { DOCKER_HUB_KEY } else { registry };
        let helper = file.cred_helpers.get(key).unwrap_or(&file.creds_store);
        if !helper.is_empty() {
            return credential_helper::get(helper, key, HELPER_LIMIT);
        }
        let same_host = || file.auths.iter().find(|(name, _)| host_of(name) == host_of(key));
        let found = file.auths.get_key_value(key).or_else(same_host);
        found.map_or(Ok(Credentials::Anonymous), |(key, entry)| self.credentials(key, entry))
    }

    fn read(&self) -> Result<ConfigFile, Error> {
        let path = || self.path.clone();
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ConfigFile::default()),
            Err(source) => return Err(Error::ReadFile { path: path(), source }),
        };
        serde_json::from_slice(&bytes).map_err(|source| Error::ConfigSyntax { path: path(), source })
    }

    fn credentials(&self, key: &str, entry: &Entry) -> Result<Credentials, Error> {
        let invalid = || Error::ConfigEntry { path: self.path.clone(), entry: key.to_owned() };
        if !entry.identitytoken.is_empty() {
            return Ok(Credentials::IdentityToken(entry.identitytoken.clone()));
        }
        if !entry.registrytoken.is_empty() {
            return Ok(Credentials::RegistryToken(entry.registrytoken.clone()));
        }
        if entry.encoded.is_empty() {
            let named = Credentials::Basic { user: entry.username.clone(), secret: entry.password.clone() };
            return Ok(if entry.username.is_empty() { Credentials::Anonymous } else { named });
        }
        let decoded = STANDARD.decode(&entry.encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or_else(invalid)?;
        let (user, secret) = decoded.split_once(':').ok_or_else(invalid)?;
        Ok(Credentials::Basic { user: user.to_owned(), secret: secret.trim_matches('\0').to_owned() })
    }
}

/// `HOST[:PORT]` of a key that may be an address.
fn host_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    bare.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(config: &str, registry: &str) -> Result<Credentials, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        CredentialStore::new(&path).get(registry).map_err(|error| error.to_string())
    }

    fn basic(user: &str, secret: &str) -> Credentials {
        Credentials::Basic { user: user.to_owned(), secret: secret.to_owned() }
    }

    #[test]
    fn entries_are_found_under_the_names_they_have() {
        let config = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"dTpw"},
            "a.b:5000":{"auth":"dTpwOnE="},
            "https://c.d/v2/":{"username":"n","password":"s"},
            "e.f":{"auth":"dTpw","identitytoken":"it"},
            "g.h":{"registrytoken":"rt"},
            "i.j":{}},
            "HttpHeaders":{"X":"y"}}"#;
        let cases = [
            ("docker.io", basic("u", "p")),
            ("a.b:5000", basic("u", "p:q")),
            ("a.b", Credentials::Anonymous),
            ("c.d", basic("n", "s")),
            ("e.f", Credentials::IdentityToken("it".into())),
            ("g.h", Credentials::RegistryToken("rt".into())),
            ("i.j", Credentials::Anonymous),
            ("k.l", Credentials::Anonymous),
        ];
        for (registry, expected) in cases {
            assert_eq!(get(config, registry), Ok(expected), "{registry}");
        }
        assert_eq!(get("{}", "docker.io"), Ok(Credentials::Anonymous));
        let nowhere = CredentialStore::new(Path::new("/nonexistent/config.json"));
        assert_eq!(nowhere.get("docker.io").unwrap(), Credentials::Anonymous);
    }

    #[test]
    fn a_broken_file_is_an_error() {
        for auth in ["!", "dXA=", "/w=="] {
            let error = get(&format!(r#"{{"auths":{{"a.b":{{"auth":"{auth}"}}}}}}"#), "a.b").unwrap_err();
            assert!(
                error.starts_with("invalid auth configuration file") && error.contains(r#""a.b""#),
                "{error}"
            );
        }
        assert!(get("{", "a.b").unwrap_err().starts_with("parse "));
        let error = get(r#"{"credsStore":"../../bin/sh"}"#, "a.b").unwrap_err();
        assert!(error.contains("invalid name of a credential helper"), "{error}");
    }

    #[test]
    fn secrets_are_not_printed() {
        for credentials in [
            basic("u", "geheim"),
            Credentials::IdentityToken("geheim".into()),
            Credentials::RegistryToken("geheim".into()),
        ] {
            assert!(!format!("{credentials:?}").contains("geheim"));
        }
    }
}
