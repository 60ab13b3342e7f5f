//! Manifests: verified, bounded, asked for again where that helps; refusals in Docker's words.

use std::time::{Duration, Instant};

use knarr_images::registry::{Client, Config, Credentials};
use knarr_images::{Digest, media_type};

use crate::server::{After, Reply, reply};
use crate::{chain, client, config, impatient_client, manifest_bytes, manifest_reply, reference, registry};

const ANONYMOUS: Credentials = Credentials::Anonymous;

fn fetch(name: &str, answer: Reply) -> Result<Digest, String> {
    let server = registry(move |_| answer.clone());
    let fetched = client().manifest(&reference(&server.host(), name), &ANONYMOUS);
    fetched.map(|fetched| fetched.digest).map_err(|error| chain(&error).replace(&server.host(), "HOST"))
}

#[test]
fn a_manifest_is_what_its_digest_says() {
    let digest = Digest::of(&manifest_bytes());
    let other = Digest::of(b"other");
    assert_eq!(fetch("a:1", manifest_reply()), Ok(digest));
    assert_eq!(fetch("a:1", manifest_reply().header("Docker-Content-Digest", digest)), Ok(digest));
    assert_eq!(fetch(&format!("a@{digest}"), manifest_reply()), Ok(digest));
    // Asked for by digest, the registry's opinion does not count.
    assert_eq!(
        fetch(&format!("a@{digest}"), manifest_reply().header("Docker-Content-Digest", other)),
        Ok(digest)
    );
    let lie = Err(format!("manifest verification failed for digest {other}"));
    assert_eq!(fetch("a:1", manifest_reply().header("Docker-Content-Digest", other)), lie);
    assert_eq!(fetch(&format!("a@{other}"), manifest_reply()), lie);
    let unknown = manifest_reply().header("Docker-Content-Digest", "sha512:00");
    assert_eq!(fetch("a:1", unknown), Err("manifest verification failed for digest sha512:00".to_owned()));
}

#[test]
fn the_registry_is_told_what_is_understood() {
    let server = registry(|_| manifest_reply());
    client().manifest(&reference(&server.host(), "a/b:1"), &ANONYMOUS).unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].target, "/v2/a/b/manifests/1");
    let accepted: Vec<&str> = seen[0]
        .headers
        .iter()
        .filter(|(name, _)| name == "accept")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(accepted.len(), 4, "{accepted:?}");
    assert!(accepted.contains(&media_type::DOCKER_LIST) && accepted.contains(&media_type::OCI_MANIFEST));
    assert_eq!(seen[0].header("user-agent"), Some(config().user_agent.as_str()));
    assert_eq!(seen[0].header("authorization"), None);
}

#[test]
fn a_huge_manifest_is_not_read() {
    let huge = vec![b' '; (4 << 20) + 1];
    let announced = fetch("a", manifest_reply().body(&huge).after(After::Stall(0)));
    let endless = fetch("a", manifest_reply().body([huge.clone(), huge].concat()).chunked());
    let expected = Err("manifest of HOST/a:latest is larger than 4194304 bytes".to_owned());
    assert_eq!((announced, endless), (expected.clone(), expected));
}

#[test]
fn refusals_are_told_in_dockers_words() {
    let error =
        |code: &str, message: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    let cases = [
        (
            404,
            error("MANIFEST_UNKNOWN", "manifest unknown"),
            "manifest for HOST/a:latest not found: manifest unknown: manifest unknown",
        ),
        (
            404,
            error("NAME_UNKNOWN", "no such name"),
            "repository HOST/a not found: name unknown: no such name",
        ),
        (
            404,
            String::new(),
            "manifest for HOST/a:latest not found: received unexpected HTTP status: 404 Not Found",
        ),
        (
            403,
            error("DENIED", ""),
            "pull access denied for HOST/a, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
        ),
        (401, error("UNAUTHORIZED", "authentication required"), "unauthorized: authentication required"),
        (400, "no".to_owned(), "received unexpected HTTP status: 400 Bad Request"),
    ];
    for (status, body, expected) in cases {
        assert_eq!(fetch("a", reply(status).body(body)), Err(expected.to_owned()));
    }
}

#[test]
fn what_is_no_manifest_is_refused() {
    let html = reply(200).header("Content-Type", "text/html").body("<html>");
    assert_eq!(
        fetch("a", html),
        Err("unsupported manifest format \"text/html\" of HOST/a:latest".to_owned())
    );
    let helm = r#"{"schemaVersion":2,"mediaType":"application/x-other","config":{},"layers":[]}"#;
    assert!(fetch("a", reply(200).body(helm)).unwrap_err().starts_with("unsupported manifest format"));
    let schema1 = reply(200).body(r#"{"schemaVersion":1,"name":"a"}"#);
    assert!(
        fetch("a", schema1)
            .unwrap_err()
            .contains("schema 1 support has been removed. Suggest the author of HOST/a:latest")
    );
}

#[test]
fn a_registry_in_trouble_is_asked_again() {
    for trouble in [
        reply(500),
        reply(503),
        reply(429),
        manifest_reply().after(After::Drop(10)),
        manifest_reply().after(After::Stall(10)),
        manifest_reply().after(After::Stall(0)),
    ] {
        let mut answers = vec![manifest_reply(), trouble.clone(), trouble];
        let server = registry(move |_| answers.pop().unwrap());
        let fetched = impatient_client().manifest(&reference(&server.host(), "a"), &ANONYMOUS).unwrap();
        assert_eq!(fetched.bytes, manifest_bytes());
        assert_eq!(server.seen().len(), 3);
    }
}

#[test]
fn attempts_are_bounded() {
    let server = registry(|_| reply(500));
    let failed = client().manifest(&reference(&server.host(), "a"), &ANONYMOUS).unwrap_err();
    assert_eq!(failed.to_string(), "received unexpected HTTP status: 500 Internal Server Error");
    assert_eq!(server.seen().len(), 5);
    let server = registry(|_| reply(404));
    client().manifest(&reference(&server.host(), "a"), &ANONYMOUS).unwrap_err();
    assert_eq!(server.seen().len(), 1, "a final answer is final");
}

#[test]
fn a_registry_may_ask_for_time() {
    let mut answers = vec![manifest_reply(), reply(429).header("Retry-After", 1)];
    let server = registry(move |_| answers.pop().unwrap());
    let begun = Instant::now();
    client().manifest(&reference(&server.host(), "a"), &ANONYMOUS).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let server = registry(|_| reply(429).header("Retry-After", 3600));
    let failed = client().manifest(&reference(&server.host(), "a"), &ANONYMOUS).unwrap_err();
    assert_eq!(failed.to_string(), "toomanyrequests: too many requests");
    assert_eq!(server.seen().len(), 1, "an hour is not waited for");
}

#[test]
fn a_head_tells_what_a_tag_names() {
    let digest = Digest::of(&manifest_bytes());
    let server = registry(move |_| manifest_reply().header("Docker-Content-Digest", digest));
    let head = client().head_manifest(&reference(&server.host(), "a"), &ANONYMOUS).unwrap();
    assert_eq!(
        (head.digest, head.size, head.media_type.as_str()),
        (digest, manifest_bytes().len() as u64, media_type::OCI_MANIFEST)
    );
    assert_eq!((server.count("HEAD", "/"), server.count("GET", "/")), (1, 0));
    // One that does not tell is asked for the manifest.
    let server = registry(|_| manifest_reply());
    assert_eq!(client().head_manifest(&reference(&server.host(), "a"), &ANONYMOUS).unwrap().digest, digest);
    assert_eq!((server.count("HEAD", "/"), server.count("GET", "/")), (1, 1));
    let server = registry(|_| reply(404));
    let failed = client().head_manifest(&reference(&server.host(), "a"), &ANONYMOUS).unwrap_err();
    assert!(failed.is_not_found(), "{failed}");
}

#[test]
fn nobody_there_is_told_as_go_tells_it() {
    let server = registry(|_| reply(200));
    let host = server.host();
    drop(server);
    let failed = client().manifest(&reference(&host, "a"), &ANONYMOUS).unwrap_err();
    assert_eq!(
        chain(&failed),
        format!("Get \"http://{host}/v2/\": dial tcp {host}: connect: connection refused")
    );
    let failed = client().manifest(&reference("nosuch.invalid", "a"), &ANONYMOUS).unwrap_err();
    assert_eq!(
        chain(&failed),
        "Get \"https://nosuch.invalid/v2/\": dial tcp: lookup nosuch.invalid: no such host"
    );
}

#[test]
fn a_configuration_is_checked_at_once() {
    let refused = |config: Config| Client::new(&config).unwrap_err().to_string();
    assert!(
        refused(Config { mirrors: vec!["a.b".into()], ..config() }).starts_with("invalid mirror \"a.b\"")
    );
    assert!(
        refused(Config { insecure: vec!["http://a".into()], ..config() })
            .starts_with("invalid insecure registry")
    );
    assert!(refused(Config { user_agent: "a\nb".into(), ..config() }).starts_with("invalid user agent"));
}
