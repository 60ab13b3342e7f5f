//! `docker login`: whether a registry takes the credentials. Nothing is kept, the client keeps them.

use knarr_images::registry::Credentials;
use serde_json::Value;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};

/// Docker Hub, as clients have called it since ever.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

impl Engine {
    /// `body` has `username`, `password`, `serveraddress` and `identitytoken`.
    pub(crate) fn login(&self, body: &Value) -> Result<Value> {
        let field = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let token = field("identitytoken");
        let credentials = if token.is_empty() {
            Credentials::Basic { user: field("username").to_owned(), secret: field("password").to_owned() }
        } else {
            Credentials::IdentityToken(token.to_owned())
        };
        let registry = registry(field("serveraddress"));
        self.registries.login(registry, &credentials).map_err(|error| {
            let error = Error::from(knarr_images::Error::from(error));
            Error {
                kind: if error.kind == Kind::System { Kind::System } else { Kind::Unauthorized },
                ..error
            }
        })?;
        Ok(serde_json::json!({ "Status": "Login Succeeded", "IdentityToken": "" }))
    }
}

/// The host of an address, which may be one of the old form.
fn registry(address: &str) -> &str {
    if address.is_empty() || address == DOCKER_HUB {
        return "docker.io";
    }
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_several_forms() {
        for (address, name) in [
            ("", "docker.io"),
            (DOCKER_HUB, "docker.io"),
            ("https://r.example/v2/", "r.example"),
            ("h:5000", "h:5000"),
        ] {
            assert_eq!(registry(address), name);
        }
    }
}
