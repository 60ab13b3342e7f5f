//! Redirects: followed to whom a registry names, without what is not for them.

use std::io::Read;

use knarr_images::registry::Credentials;

use crate::server::{Server, reply};
use crate::{BASIC, basic, client, descriptor, manifest_reply, reference, registry};

/// A registry that wants Basic and sends everybody to `location`.
fn redirecting(location: String) -> Server {
    Server::start(move |request| match request.header("authorization") {
        Some(BASIC) => reply(307).header("Location", &location),
        _ => reply(401).header("WWW-Authenticate", "Basic"),
    })
}

#[test]
fn credentials_stay_with_the_host_they_are_for() {
    let bytes = b"blob".to_vec();
    let served = bytes.clone();
    let storage = Server::start(move |_| reply(200).body(&served));
    for target in [storage.host(), storage.other_host()] {
        let server = redirecting(format!("http://{target}/bucket?signature=x"));
        let mut read = Vec::new();
        let name = reference(&server.host(), "a");
        client().blob(&name, &descriptor(&bytes), &basic(), 0).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        assert_eq!(server.seen()[0].header("authorization"), Some(BASIC));
    }
    assert_eq!(storage.seen().len(), 2);
    for request in storage.seen() {
        assert_eq!((request.header("authorization"), request.target.as_str()), (None, "/bucket?signature=x"));
    }
}

#[test]
fn credentials_do_not_come_back() {
    let server = Server::start(|request| match request.target.as_str() {
        "/v2/" => reply(401).header("WWW-Authenticate", "Basic"),
        "/v2/a/manifests/latest" => reply(302).header("Location", "/elsewhere"),
        "/elsewhere" => {
            let port = request.header("host").unwrap().rsplit(':').next().unwrap();
            reply(302).header("Location", format!("http://localhost:{port}/third"))
        }
        "/third" => {
            let port = request.header("host").unwrap().rsplit(':').next().unwrap();
            reply(302).header("Location", format!("http://127.0.0.1:{port}/last"))
        }
        _ => manifest_reply(),
    });
    client().manifest(&reference(&server.host(), "a"), &basic()).unwrap();
    let shown: Vec<bool> =
        server.seen().iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(shown, [true, true, false, false]);
}

#[test]
fn a_stranger_cannot_ask_for_credentials() {
    let thief =
        Server::start(|_| reply(401).header("WWW-Authenticate", r#"Bearer realm="http://127.0.0.1:9/""#));
    let server = redirecting(format!("http://{}/", thief.host()));
    let failed = client().manifest(&reference(&server.host(), "a"), &basic()).unwrap_err();
    assert_eq!(failed.to_string(), "unauthorized: authentication required");
    assert_eq!(thief.seen().len(), 1);
    assert_eq!(thief.seen()[0].header("authorization"), None);
}

#[test]
fn redirects_lead_to_http_and_end() {
    for location in ["file:///etc/passwd", "ftp://a.b/", "https://u:p@a.b/", ""] {
        let server = registry(move |_| reply(302).header("Location", location));
        let failed = client().manifest(&reference(&server.host(), "a"), &Credentials::Anonymous).unwrap_err();
        assert!(failed.to_string().ends_with(&format!("redirects to {location:?}: refused")), "{failed}");
    }
    let server = registry(|request| reply(302).header("Location", format!("{}x", request.target)));
    let failed = client().manifest(&reference(&server.host(), "a"), &Credentials::Anonymous).unwrap_err();
    assert!(failed.to_string().ends_with("too many redirects"), "{failed}");
    assert_eq!(server.seen().len(), 11);
}
