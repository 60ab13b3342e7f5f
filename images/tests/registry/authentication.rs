//! Credentials: shown to whom they are for, in the form that is asked for, and no more often than that helps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use knarr_images::registry::{Credentials, Error};

use crate::server::{Reply, Request, Server, reply};
use crate::{BASIC, basic, chain, client, manifest_reply, reference};

fn challenged(value: &str) -> Reply {
    reply(401).header("WWW-Authenticate", value)
}

/// A registry whose authorization server is itself: `token` answers `/token`.
fn bearer_registry(
    accepted: &'static str,
    mut token: impl FnMut(&Request) -> Reply + Send + 'static,
) -> Server {
    let host = Arc::new(Mutex::new(String::new()));
    let known = host.clone();
    let server = Server::start(move |request| {
        if request.target.starts_with("/token") {
            return token(request);
        }
        let shown = request.header("authorization") == Some(&format!("Bearer {accepted}"));
        let challenge = format!(
            r#"Bearer realm="http://{}/token",service="the service",scope="repository:x:pull""#,
            known.lock().unwrap()
        );
        if shown { manifest_reply() } else { challenged(&challenge) }
    });
    *host.lock().unwrap() = server.host();
    server
}

#[test]
fn basic_credentials_are_shown_when_they_are_asked_for() {
    let server = Server::start(|request| {
        if request.header("authorization") == Some(BASIC) {
            manifest_reply()
        } else {
            challenged(r#"Basic realm="r""#)
        }
    });
    let name = reference(&server.host(), "a");
    let client = client();
    client.manifest(&name, &basic()).unwrap();
    client.manifest(&name, &basic()).unwrap();
    assert_eq!(server.seen().len(), 2, "what a registry wants is asked once");
    let failed = client.manifest(&name, &Credentials::Anonymous).unwrap_err();
    assert_eq!(
        chain(&failed),
        format!("Head \"http://{}/v2/a/manifests/latest\": no basic auth credentials", server.host()),
        "as Docker, which asks for a tag by HEAD"
    );
    let digest = knarr_images::Digest::of(b"");
    let failed = client.manifest(&name.with_digest(digest), &Credentials::Anonymous).unwrap_err();
    assert_eq!(
        chain(&failed),
        format!("Get \"http://{}/v2/a/manifests/{digest}\": no basic auth credentials", server.host())
    );
}

#[test]
fn a_login_shows_the_credentials_to_the_root_and_tells_of_a_refusal() {
    let server = Server::start(|request| {
        assert_eq!(request.target, "/v2/");
        if request.header("authorization") == Some(BASIC) {
            reply(200)
        } else {
            challenged(r#"Basic realm="r""#)
        }
    });
    let client = client();
    client.login(&server.host(), &basic()).unwrap();
    let wrong = Credentials::Basic { user: "user".to_owned(), secret: "wrong".to_owned() };
    let Error::Answer(refused) = client.login(&server.host(), &wrong).unwrap_err() else { panic!() };
    assert_eq!(refused.status(), 401);
}

#[test]
fn a_registry_that_asks_for_nothing_is_shown_nothing() {
    let server = Server::start(|_| manifest_reply());
    client().manifest(&reference(&server.host(), "a"), &basic()).unwrap();
    assert_eq!(server.seen()[0].header("authorization"), None);
}

#[test]
fn wrong_credentials_end_at_once() {
    let server = Server::start(|_| challenged(r#"Basic realm="r""#));
    let failed = client().manifest(&reference(&server.host(), "a"), &basic()).unwrap_err();
    assert_eq!(failed.to_string(), "unauthorized: authentication required");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_token_is_fetched_once_and_kept() {
    let server = bearer_registry("t1", |_| reply(200).body(r#"{"token":"t1","expires_in":300}"#));
    let client = client();
    let name = reference(&server.host(), "a/b");
    for _ in 0..3 {
        client.manifest(&name, &basic()).unwrap();
    }
    assert_eq!(server.count("GET", "/token"), 1);
    let asked = server.seen().into_iter().find(|request| request.is("GET", "/token")).unwrap();
    assert_eq!(asked.target, "/token?service=the%20service&scope=repository%3Aa%2Fb%3Apull&account=otto");
    assert_eq!(asked.header("authorization"), Some(BASIC));
    // Another user, and another repository, need another token.
    client.manifest(&name, &Credentials::Anonymous).unwrap();
    client.manifest(&reference(&server.host(), "c"), &basic()).unwrap();
    assert_eq!(server.count("GET", "/token"), 3);
    assert_eq!(server.count("GET", "/v2/"), 5);
}

#[test]
fn threads_that_need_the_same_token_fetch_it_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let server = bearer_registry("good", move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        // Long enough for all to want it.
        std::thread::sleep(std::time::Duration::from_millis(200));
        reply(200).body(br#"{"token":"good"}"#)
    });
    let (client, name) = (client(), reference(&server.host(), "a"));
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| client.manifest(&name, &basic()).unwrap());
        }
    });
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_token_that_is_no_longer_good_is_replaced() {
    let mut issued = 0;
    let server = bearer_registry("t2", move |_| {
        issued += 1;
        reply(200).body(format!(r#"{{"access_token":"t{issued}"}}"#))
    });
    client().manifest(&reference(&server.host(), "a"), &Credentials::Anonymous).unwrap();
    assert_eq!((server.count("GET", "/token"), server.count("GET", "/v2/")), (2, 2));
}

#[test]
fn a_registry_that_never_has_enough_is_given_up() {
    let server = bearer_registry("never", |_| reply(200).body(r#"{"token":"t"}"#));
    let failed = client().manifest(&reference(&server.host(), "a"), &basic()).unwrap_err();
    assert_eq!(failed.to_string(), "unauthorized: authentication required");
    assert!(server.seen().len() <= 4, "{:?}", server.seen());
}

#[test]
fn an_identity_token_is_exchanged() {
    let server = bearer_registry("t", |_| reply(200).body(r#"{"access_token":"t"}"#));
    let token = Credentials::IdentityToken("id&entity".to_owned());
    client().manifest(&reference(&server.host(), "a"), &token).unwrap();
    let asked = server.seen().into_iter().find(|request| request.is("POST", "/token")).unwrap();
    assert_eq!(
        String::from_utf8(asked.body.clone()).unwrap(),
        "grant_type=refresh_token&client_id=knarr&service=the%20service&scope=repository%3Aa%3Apull&refresh_token=id%26entity"
    );
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[test]
fn a_registry_token_is_shown_as_it_is() {
    let server = bearer_registry("mine", |_| reply(500));
    client()
        .manifest(&reference(&server.host(), "a"), &Credentials::RegistryToken("mine".to_owned()))
        .unwrap();
    assert_eq!(server.count("GET", "/token"), 0);
}

#[test]
fn authorization_servers_may_refuse_and_babble() {
    let cases = [
        (
            reply(401).body(r#"{"details":"incorrect username or password"}"#),
            "unauthorized: incorrect username or password",
        ),
        (reply(200).body("{}"), "sent no usable token"),
        (reply(200).body(r#"{"token":"a\nb"}"#), "sent no usable token"),
        (reply(200).body("nonsense"), "token of http://"),
        (reply(403), "pull access denied"),
    ];
    for (answer, expected) in cases {
        let server = bearer_registry("t", move |_| answer.clone());
        let failed = client().manifest(&reference(&server.host(), "a"), &basic()).unwrap_err();
        assert!(chain(&failed).contains(expected), "{failed}");
        assert_eq!(server.count("GET", "/token"), 1);
    }
}

#[test]
fn a_realm_is_an_http_address() {
    for realm in ["file:///etc/passwd", "ftp://a.b/", "javascript:x", "", "http://u:p@a.b/"] {
        let server = Server::start(move |_| challenged(&format!(r#"Bearer realm="{realm}""#)));
        let failed = client().manifest(&reference(&server.host(), "a"), &basic()).unwrap_err();
        assert_eq!(
            failed.to_string(),
            format!("authorization server {realm:?} refused: want an https address")
        );
    }
}

#[test]
fn insufficient_scope_is_told_as_denied() {
    let server = Server::start(|request| match request.target.as_str() {
        "/v2/" => reply(200),
        _ => challenged(r#"Bearer error="insufficient_scope""#),
    });
    let failed = client().manifest(&reference(&server.host(), "a"), &Credentials::Anonymous).unwrap_err();
    assert!(failed.to_string().starts_with("pull access denied for "), "{failed}");
    assert!(failed.is_not_found());
}
