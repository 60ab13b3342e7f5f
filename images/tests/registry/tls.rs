//! Certificates: what is believed, of whom less is asked, and what never goes over less than TLS.
//!
//! Loopback addresses are insecure registries, so the verified one is 0.0.0.0: Linux connects that to loopback as well.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use knarr_images::registry::{Client, Config, Credentials};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::{Authority, Pair, certs_dir};
use crate::real::has;
use crate::server::{Duplex, Reply, Request, Server, reply};
use crate::{basic, chain, config, manifest_reply, reference};

fn tls_registry(pair: &Pair, handler: impl FnMut(&Request) -> Reply + Send + 'static) -> Server {
    let chain = CertificateDer::pem_file_iter(&pair.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let wrap = move |socket: TcpStream| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        Some(Box::new(StreamOwned::new(connection, socket)) as Box<dyn Duplex>)
    };
    Server::start_wrapped(handler, Arc::new(wrap))
}

/// The server under an address that is no loopback address.
fn host(server: &Server) -> String {
    server.host().replace("127.0.0.1", "0.0.0.0")
}

fn fetch(
    host: &str,
    certs_dir: &Path,
    insecure: &[&str],
    credentials: &Credentials,
) -> Result<Vec<u8>, String> {
    let insecure = insecure.iter().map(ToString::to_string).collect();
    let client = Client::new(&Config { certs_dir: certs_dir.to_owned(), insecure, ..config() }).unwrap();
    let fetched = client.manifest(&reference(host, "a"), credentials);
    fetched.map(|fetched| fetched.bytes).map_err(|error| chain(&error))
}

const NOBODY: Credentials = Credentials::Anonymous;
const NOWHERE: &str = "/nonexistent";

#[test]
fn a_certificate_is_believed_from_an_authority_that_is() {
    if !has(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let server = tls_registry(&authority.issue("server", "IP:0.0.0.0"), |_| manifest_reply());
    let host = host(&server);
    let own = certs_dir(&host, &[("ca.crt", &authority.certificate())]);
    fetch(&host, own.path(), &[], &NOBODY).unwrap();

    let failed = fetch(&host, Path::new(NOWHERE), &[], &NOBODY).unwrap_err();
    let expected = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(failed, format!("Get \"https://{host}/v2/\": {expected}"));
    // Of another registry the folder says nothing.
    let others = certs_dir("0.0.0.0:1", &[("ca.crt", &authority.certificate())]);
    assert!(fetch(&host, others.path(), &[], &NOBODY).unwrap_err().ends_with(expected));
}

#[test]
fn a_certificate_is_for_the_name_that_was_asked_for() {
    if !has(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let server = tls_registry(&authority.issue("server", "DNS:a.example,IP:192.0.2.1"), |_| manifest_reply());
    let own = certs_dir(&host(&server), &[("ca.crt", &authority.certificate())]);
    let failed = fetch(&host(&server), own.path(), &[], &NOBODY).unwrap_err();
    assert!(failed.contains("tls: failed to verify certificate: "), "{failed}");
}

#[test]
fn an_insecure_registry_may_have_any_certificate_or_none() {
    if !has(&["openssl"]) {
        return;
    }
    let server = tls_registry(&Authority::new().issue("server", "DNS:a.example"), |_| manifest_reply());
    let plain = Server::start(|_| manifest_reply());
    let nowhere = Path::new(NOWHERE);
    for server in [&server, &plain] {
        let host = host(server);
        fetch(&host, nowhere, &[&host], &NOBODY).unwrap();
        fetch(&host, nowhere, &["0.0.0.0/8"], &NOBODY).unwrap();
        fetch(&server.host(), nowhere, &[], &NOBODY).unwrap();
        assert!(fetch(&host, nowhere, &["192.0.2.0/24", "0.0.0.0", "0.0.0.0:1"], &NOBODY).is_err());
    }
}

#[test]
fn nothing_falls_back_to_plain_http_unasked() {
    let plain = Server::start(|_| manifest_reply());
    let failed = fetch(&host(&plain), Path::new(NOWHERE), &[], &basic()).unwrap_err();
    assert!(failed.starts_with(&format!("Get \"https://{}/v2/\": ", host(&plain))), "{failed}");
    assert!(plain.seen().is_empty());
}

#[test]
fn credentials_never_leave_tls() {
    if !has(&["openssl"]) {
        return;
    }
    let thief = Server::start(|_| reply(200).body(r#"{"token":"t"}"#));
    let stolen = format!("http://{}/", thief.host());
    let authority = Authority::new();
    let pair = authority.issue("server", "IP:0.0.0.0");
    let challenge = format!(r#"Bearer realm="{stolen}""#);
    let server = tls_registry(&pair, move |_| reply(401).header("WWW-Authenticate", &challenge));
    let own = certs_dir(&host(&server), &[("ca.crt", &authority.certificate())]);
    let failed = fetch(&host(&server), own.path(), &[], &basic()).unwrap_err();
    assert_eq!(failed, format!("authorization server {stolen:?} refused: want an https address"));

    let location = stolen.clone();
    let server = tls_registry(&pair, move |request| {
        if request.target == "/v2/" { reply(200) } else { reply(307).header("Location", &location) }
    });
    let own = certs_dir(&host(&server), &[("ca.crt", &authority.certificate())]);
    let failed = fetch(&host(&server), own.path(), &[], &basic()).unwrap_err();
    assert!(failed.ends_with(&format!("redirects to {stolen:?}: refused")), "{failed}");
    assert!(thief.seen().is_empty(), "{:?}", thief.seen());
}

#[test]
fn what_a_registry_is_believed_is_for_searches_and_not_for_files() {
    if !has(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let pair = authority.issue("server", "IP:0.0.0.0");
    let server = tls_registry(&pair, |_| reply(200).body(r#"{"results":[{"name":"a"}]}"#));
    let host = host(&server);
    let own = certs_dir(&host, &[("ca.crt", &authority.certificate())]);
    let client = Client::new(&Config { certs_dir: own.path().to_owned(), ..config() }).unwrap();
    assert_eq!(client.search(&format!("{host}/x"), 0, &NOBODY).unwrap()[0].name, "a");
    let failed = client.download(&format!("https://{host}/x")).map(|_| ()).unwrap_err();
    assert!(chain(&failed).contains("tls: failed to verify certificate"), "{}", chain(&failed));
}

#[test]
fn certificates_of_the_client_come_in_pairs() {
    if !has(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let (one, two) = (authority.issue("one", "DNS:one"), authority.issue("two", "DNS:two"));
    let host = "0.0.0.0:1";
    let refused =
        |files: &[(&str, &Path)]| fetch(host, certs_dir(host, files).path(), &[], &NOBODY).unwrap_err();
    let lone = refused(&[("client.cert", &one.certificate)]);
    assert!(
        lone.starts_with("missing key ") && lone.ends_with("CA certificates must use the extension .crt"),
        "{lone}"
    );
    assert!(refused(&[("client.key", &one.key)]).starts_with("missing client certificate "));
    let mixed = refused(&[("client.cert", &one.certificate), ("client.key", &two.key)]);
    assert!(mixed.starts_with("use client certificate "), "{mixed}");
    let many = [
        ("a.cert", &*one.certificate),
        ("a.key", &*one.key),
        ("b.cert", &*two.certificate),
        ("b.key", &*two.key),
    ];
    assert!(refused(&many).contains("has more than one client certificate"));
    assert!(
        refused(&[("ca.crt", &authority.certificate()), ("client.cert", &one.key), ("client.key", &one.key)])
            .starts_with("use client certificate ")
    );
}
