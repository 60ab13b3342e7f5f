//! Who asks a registry: what clients send with a request.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use knarr_images::registry::Credentials;

use crate::wire::RegistryAuth;
use crate::wire::request::read;

/// Reads `X-Registry-Auth`. What cannot be read is nobody, as with Docker.
pub(crate) fn from_header(header: Option<&str>) -> Credentials {
    let text = header.unwrap_or_default().trim();
    let decoded =
        [&URL_SAFE, &STANDARD, &URL_SAFE_NO_PAD].into_iter().find_map(|form| form.decode(text).ok());
    decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok()).map_or(Credentials::Anonymous, from_body)
}

/// The same as a body, which old clients send.
pub(crate) fn from_body(body: serde_json::Value) -> Credentials {
    read::<RegistryAuth>(body).map_or(Credentials::Anonymous, credentials)
}

fn credentials(auth: RegistryAuth) -> Credentials {
    if !auth.identity_token.is_empty() {
        return Credentials::IdentityToken(auth.identity_token);
    }
    if !auth.registry_token.is_empty() {
        return Credentials::RegistryToken(auth.registry_token);
    }
    if !auth.username.is_empty() {
        return Credentials::Basic { user: auth.username, secret: auth.password };
    }
    let both = STANDARD.decode(&auth.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match both.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, secret)) => Credentials::Basic { user: user.to_owned(), secret: secret.to_owned() },
        None => Credentials::Anonymous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks() {
        let header = |json: &str| from_header(Some(&URL_SAFE.encode(json)));
        let basic =
            |user: &str, secret: &str| Credentials::Basic { user: user.into(), secret: secret.into() };
        assert_eq!(header(r#"{"username":"a","password":"b?>~","serveraddress":"x"}"#), basic("a", "b?>~"));
        assert_eq!(header(r#"{"Username":"a","PASSWORD":null}"#), basic("a", ""));
        assert_eq!(header(r#"{"identitytoken":"t"}"#), Credentials::IdentityToken("t".into()));
        assert_eq!(header(r#"{"registrytoken":"t"}"#), Credentials::RegistryToken("t".into()));
        assert_eq!(header(&format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("u:p:q"))), basic("u", "p:q"));
        for nobody in [Some("e30="), Some("e30"), Some("%%%"), Some(""), None, Some("bnVsbA==")] {
            assert_eq!(from_header(nobody), Credentials::Anonymous, "{nobody:?}");
        }
    }
}
