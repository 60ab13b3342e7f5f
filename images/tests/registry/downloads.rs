//! Files at any address: redirects, credentials, refusals, and bodies that end too early.

use std::io::Read as _;

use knarr_images::registry::{Download, Error};

use crate::server::{After, Server, reply};
use crate::{BASIC, chain, client, impatient_client};

fn whole(mut download: Download) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    download.read_to_end(&mut bytes).map(|_| bytes)
}

fn refused(address: &str) -> Error {
    client().download(address).map(|_| ()).unwrap_err()
}

#[test]
fn a_body_comes_as_it_is() {
    let server = Server::start(|_| reply(200).body("content"));
    let download = client().download(&format!("{}/a b.tar?x=y#part", server.host())).unwrap();
    assert_eq!(download.address(), format!("http://{}/a%20b.tar?x=y#part", server.host()));
    assert_eq!(download.length(), Some(7));
    assert_eq!(whole(download).unwrap(), b"content");
    assert_eq!(server.seen()[0].target, "/a%20b.tar?x=y");
    assert_eq!(server.seen()[0].header("authorization"), None);
    let chunked = Server::start(|_| reply(200).body("content").chunked());
    let download = client().download(&chunked.host()).unwrap();
    assert_eq!(download.length(), None);
    assert_eq!(whole(download).unwrap(), b"content");
}

#[test]
fn the_user_in_an_address_is_for_its_host_alone() {
    let other = Server::start(|_| reply(200).body("there"));
    let place = format!("http://{}/there", other.host());
    let server = Server::start(move |request| match request.target.as_str() {
        "/first" => reply(302).header("Location", "second"),
        _ => reply(307).header("Location", &place),
    });
    let address = format!("http://otto:geh%3Aeim@{}/first", server.host());
    assert_eq!(whole(client().download(&address).unwrap()).unwrap(), b"there");
    let seen = server.seen();
    assert_eq!(seen.iter().map(|request| &*request.target).collect::<Vec<_>>(), ["/first", "/second"]);
    assert!(seen.iter().all(|request| request.header("authorization") == Some(BASIC)));
    assert_eq!(other.seen()[0].header("authorization"), None);
}

#[test]
fn redirects_end_and_lead_to_http_alone() {
    let circle = Server::start(|_| reply(302).header("Location", "/again"));
    let address = format!("http://{}/", circle.host());
    assert!(refused(&address).to_string().ends_with("/again: too many redirects"));
    let elsewhere = Server::start(|_| reply(302).header("Location", "file:///etc/passwd"));
    let error = refused(&format!("http://{}/", elsewhere.host())).to_string();
    assert!(error.ends_with(r#"redirects to "file:///etc/passwd": refused"#), "{error}");
}

#[test]
fn refusals_are_told_with_their_bodies() {
    let server = Server::start(|_| reply(404).body("  not here\n"));
    let address = format!("http://{}/x", server.host());
    let error = refused(&address);
    assert!(matches!(&error, Error::Download { status, .. } if status.as_u16() == 404));
    assert_eq!(error.to_string(), format!("failed to GET {address} with status 404 Not Found: not here"));
}

#[test]
fn a_body_that_ends_early_is_an_error() {
    let server = Server::start(|_| reply(200).body("content").after(After::Drop(3)));
    let error = whole(client().download(&server.host()).unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
    let chunked = Server::start(|_| reply(200).body("content").chunked().after(After::Drop(3)));
    whole(client().download(&chunked.host()).unwrap()).unwrap_err();
    let silent = Server::start(|_| reply(200).body("content").after(After::Stall(3)));
    whole(impatient_client().download(&silent.host()).unwrap()).unwrap_err();
}

#[test]
fn nobody_there() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&format!("127.0.0.1:{port}/x"));
    assert_eq!(
        chain(&error),
        format!("Get \"http://127.0.0.1:{port}/x\": dial tcp 127.0.0.1:{port}: connect: connection refused")
    );
}
