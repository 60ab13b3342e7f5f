//! Searches: which host is asked, over what, with which credentials, and what is made of its answer.

use std::sync::{Arc, Mutex};

use knarr_images::registry::{Credentials, Error, Repository};

use crate::server::{After, Server, reply};
use crate::{BASIC, basic, chain, client};

const FOUND: &str = r#"{"query":"x","num_results":2,"results":[
    {"name":"one","description":"the first","star_count":7,"is_official":true,"is_automated":true},
    {"name":"two","description":null,"is_official":false}]}"#;

fn index(status: u16, body: &'static str) -> Server {
    Server::start(
        move |request| {
            if request.target == "/v1/_ping" { reply(404) } else { reply(status).body(body) }
        },
    )
}

fn search(server: &Server, words: &str) -> Result<Vec<Repository>, Error> {
    client().search(&format!("{}/{words}", server.host()), 0, &Credentials::Anonymous)
}

#[test]
fn the_host_in_front_is_asked() {
    let server = index(200, FOUND);
    let found = client().search(&format!("{}/a b/c", server.host()), 7, &basic()).unwrap();
    let one = Repository { name: "one".into(), description: "the first".into(), stars: 7, is_official: true };
    let two = Repository { name: "two".into(), description: String::new(), stars: 0, is_official: false };
    assert_eq!(found, [one, two]);
    let seen = server.seen();
    let targets: Vec<&str> = seen.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(targets, ["/v1/_ping", "/v1/search?q=a%20b%2Fc&n=7"]);
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[1].header("authorization"), Some(BASIC));
    assert_eq!(seen[1].header("x-docker-token"), Some("true"));
}

#[test]
fn without_a_limit_it_is_25() {
    let server = index(200, r#"{"results":null}"#);
    assert_eq!(search(&server, "x").unwrap(), []);
    let seen = server.seen();
    assert_eq!(seen[1].target, "/v1/search?q=x&n=25");
    assert_eq!(seen[1].header("authorization"), None);
    let error = client().search("x", 101, &Credentials::Anonymous).unwrap_err();
    assert_eq!(error.to_string(), "limit 101 is outside the range of [1, 100]");
}

#[test]
fn what_is_no_answer_is_told_in_dockers_words() {
    let refused = search(&index(500, "trouble"), "x").unwrap_err();
    assert_eq!(refused.to_string(), "Unexpected status code 500");
    let odd = search(&index(200, "<html>"), "x").unwrap_err();
    assert_eq!(odd.to_string(), "error decoding registry search results");
}

#[test]
fn nobody_at_an_insecure_address_is_told_with_both_attempts() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    let error = client().search(&format!("{host}/x"), 0, &Credentials::Anonymous).unwrap_err();
    let refused = format!("dial tcp {host}: connect: connection refused");
    assert_eq!(
        error.to_string(),
        format!(
            "invalid registry endpoint \"http://{host}/v1/\". HTTPS attempt: Get \"https://{host}/v1/_ping\": {refused}. \
             HTTP attempt: Get \"http://{host}/v1/_ping\": {refused}"
        )
    );
}

#[test]
fn a_secure_registry_is_not_asked_over_less() {
    let error =
        client().search("no-such-host.invalid/x", 0, &Credentials::Anonymous).unwrap_err().to_string();
    let host = "no-such-host.invalid";
    assert!(
        error.starts_with(&format!(
            "invalid registry endpoint https://{host}/v1/: Get \"https://{host}/v1/_ping\": dial tcp: lookup {host}"
        )),
        "{error}"
    );
    assert!(
        error.ends_with(&format!("simply place the CA certificate at /etc/docker/certs.d/{host}/ca.crt")),
        "{error}"
    );
    assert!(error.contains(&format!("please add `--insecure-registry {host}` to")), "{error}");
}

#[test]
fn an_identity_token_becomes_one_for_searching() {
    let host = Arc::new(Mutex::new(String::new()));
    let known = host.clone();
    let server = Server::start(move |request| match request.target.as_str() {
        "/token" => reply(200).body(r#"{"access_token":"searcher"}"#),
        "/v2/" => reply(401).header(
            "WWW-Authenticate",
            format!(r#"Bearer realm="http://{}/token",service="index""#, known.lock().unwrap()),
        ),
        _ => reply(200).body(FOUND),
    });
    *host.lock().unwrap() = server.host();
    let token = Credentials::IdentityToken("known".to_owned());
    assert_eq!(client().search(&format!("{}/x", server.host()), 0, &token).unwrap().len(), 2);
    let seen = server.seen();
    let asked = seen.iter().find(|request| request.target == "/token").unwrap();
    let form = String::from_utf8_lossy(&asked.body).into_owned();
    assert!(
        form.contains("scope=registry%3Acatalog%3Asearch") && form.contains("refresh_token=known"),
        "{form}"
    );
    assert_eq!(seen.last().unwrap().header("authorization"), Some("Bearer searcher"));
}

#[test]
fn an_answer_that_breaks_off_is_an_error() {
    let server = Server::start(|request| {
        if request.target == "/v1/_ping" {
            return reply(200);
        }
        reply(200).body(FOUND).after(After::Drop(20))
    });
    let error = search(&server, "x").unwrap_err();
    assert!(chain(&error).starts_with("read the registry's search results: "), "{}", chain(&error));
}
