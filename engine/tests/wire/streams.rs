//! Answers that go on: events, waits, attached streams; and clients that leave them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::daemon::Daemon;
use crate::{container, upgrade};

/// Polls what only the daemon knows: there is nothing to be told by.
fn becomes(daemon: &Daemon, listeners: u64) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        if daemon.ask("GET /info").json()["NEventsListener"] == json!(listeners) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn events_are_told_as_they_happen_and_nobody_is_told_who_has_left() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.connect();
    client.send("GET /v1.50/events", &[], "");
    let head = client.head();
    assert_eq!(head.header("Content-Type"), Some("application/json"));
    assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
    assert!(becomes(&daemon, 1));
    let id = container(&daemon);
    let chunk = client.chunk().unwrap();
    assert_eq!(chunk.last(), Some(&b'\n'));
    let event: serde_json::Value = serde_json::from_slice(&chunk).unwrap();
    assert_eq!((&event["Type"], &event["Action"]), (&json!("container"), &json!("create")));
    assert_eq!(event["Actor"]["ID"], json!(id));
    drop(client);
    assert!(becomes(&daemon, 0), "a client that has left still listens");
}

#[test]
fn events_of_the_past_have_an_end() {
    let daemon = Daemon::start(&[]);
    let id = container(&daemon);
    let filters = "%7B%22container%22%3A%5B%22none%22%5D%7D";
    let past = |query: &str| daemon.ask(&format!("GET /events?since=1&until=1.5{query}")).text().to_owned();
    assert_eq!(past(""), "", "it was later");
    let all = daemon.ask("GET /events?since=1&until=99999999999&filters=x");
    assert_eq!(all.error(), ("400", "invalid filter".to_owned()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 1;
    let told = daemon.ask(&format!("GET /events?since=1&until={now}"));
    assert!(told.text().contains(&id));
    assert_eq!(daemon.ask(&format!("GET /events?since=1&until={now}&filters={filters}")).text(), "");
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_answer() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.connect();
    client.write("GET /version HTTP/1.1\r\nHost: d\r\n\r\n");
    client.shut_down_write();
    assert_eq!(client.head().status, "200 OK");
}

#[test]
fn the_head_of_a_wait_comes_before_the_end_that_is_waited_for() {
    let daemon = Daemon::start(&[]);
    let id = container(&daemon);
    let mut client = daemon.connect();
    client.send(&format!("POST /containers/{id}/wait?condition=removed"), &[], "");
    assert_eq!(client.head().status, "200 OK");
    assert_eq!(daemon.ask(&format!("DELETE /containers/{id}")).status, "204 No Content");
    let outcome: serde_json::Value = serde_json::from_slice(&client.chunk().unwrap()).unwrap();
    assert_eq!(outcome, json!({ "StatusCode": 0 }));
    assert_eq!(client.chunk(), None);
    let invalid = daemon.ask(&format!("POST /containers/{id}/wait?condition=never"));
    assert_eq!(invalid.error(), ("400", "invalid condition: \"never\"".to_owned()));
}

#[test]
fn an_attached_stream_begins_with_its_head_alone() {
    let daemon = Daemon::start(&[]);
    let id = container(&daemon);
    for (version, content_type) in
        [("1.50", "application/vnd.docker.multiplexed-stream"), ("1.41", "application/vnd.docker.raw-stream")]
    {
        let mut client = daemon.connect();
        let path = format!("/v{version}/containers/{id}/attach?stream=1&stdout=1");
        let head = upgrade(&mut client, &path);
        assert_eq!(head.status, "101 UPGRADED");
        assert_eq!(head.header("Content-Type"), Some(content_type));
        assert_eq!(head.header("Connection"), Some("Upgrade"));
        assert_eq!(head.header("Upgrade"), Some("tcp"));
        assert_eq!((head.header("Content-Length"), head.header("Transfer-Encoding")), (None, None));
    }
    let mut client = daemon.connect();
    assert_eq!(
        upgrade(&mut client, &format!("/containers/{id}/attach?logs=1&stdout=1")).status,
        "101 UPGRADED"
    );
    assert!(client.is_over(), "there is no log and nothing to wait for");
    let mut client = daemon.connect();
    let unknown = client.ask("POST /containers/none/attach", &["Connection: Upgrade", "Upgrade: tcp"], "");
    assert_eq!(unknown.error(), ("404", "No such container: none".to_owned()));
    let keys = daemon.ask(&format!("POST /containers/{id}/attach?detachKeys=ctrl-A"));
    assert_eq!(keys.error(), ("400", "Invalid detach keys (ctrl-A) provided".to_owned()));
}

#[test]
fn a_removal_ends_the_streams_that_wait_for_a_start() {
    let daemon = Daemon::start(&[]);
    let id = container(&daemon);
    let mut client = daemon.connect();
    assert_eq!(
        upgrade(&mut client, &format!("/containers/{id}/attach?stream=1&stdout=1")).status,
        "101 UPGRADED"
    );
    assert_eq!(daemon.ask(&format!("DELETE /containers/{id}")).status, "204 No Content");
    assert!(client.is_over());
}

#[test]
fn browsers_attach_by_websocket() {
    let daemon = Daemon::start(&[]);
    let id = container(&daemon);
    let path = format!("/containers/{id}/attach/ws?stream=1&stdout=1&stdin=1");
    let mut client = daemon.connect();
    let handshake = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    client.send(&format!("GET {path}"), &handshake, "");
    let head = client.head();
    assert!(head.status.starts_with("101 "));
    assert_eq!(head.header("Sec-Websocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    // A ping of "p", masked with zeros, and its pong.
    client.write(b"\x89\x81\0\0\0\0p");
    assert_eq!(client.bytes(3), b"\x8a\x01p");
    client.write(b"\x88\x82\0\0\0\0\x03\xe8");
    assert_eq!(client.bytes(4), b"\x88\x02\x03\xe8");
    assert!(client.is_over());
    assert_eq!(daemon.ask(&format!("GET {path}")).error().0, "400");
}
