//! Searches, imports from addresses and copied files, over HTTP servers of the test's own.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use knarr_integration::{Value, json};

use crate::daemon::Daemon;
use crate::nest::inside;

/// A server on a loopback port. It ends with the test's process.
struct Server {
    host: String,
    /// Targets with the value of Authorization.
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

/// Status, announced length, body.
type Page = (u16, usize, Vec<u8>);

impl Server {
    fn start(answer: impl Fn(&str) -> Page + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("its address").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(request) = read_request(&stream) {
                    let (status, length, body) = answer(&request.0);
                    kept.lock().expect("no panic").push(request);
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
                    );
                    // Who has gone wants nothing.
                    let _ = (&stream).write_all(&[head.as_bytes(), &body].concat());
                }
            }
        });
        Self { host, seen }
    }
}

fn read_request(stream: &TcpStream) -> Option<(String, String)> {
    let mut lines = BufReader::new(stream);
    // The first byte of a TLS handshake.
    if lines.fill_buf().ok()?.first() == Some(&0x16) {
        return None;
    }
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut authorization = String::new();
    loop {
        line.clear();
        lines.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                value.clone_into(&mut authorization);
            }
            Some(_) => {}
            None => return Some((target, authorization)),
        }
    }
}

fn whole(status: u16, body: &[u8]) -> Page {
    (status, body.len(), body.to_vec())
}

/// An archive of a folder's files, with owners that nobody here is.
fn tar(daemon: &Daemon) -> Vec<u8> {
    let folder = daemon.dir.join("sent");
    fs::create_dir_all(folder.join("in")).expect("a folder");
    fs::write(folder.join("in/file"), "content\n").expect("a file");
    let made = Command::new("tar")
        .args(["--owner=77", "--group=78", "--numeric-owner", "-C"])
        .arg(&folder)
        .args(["-c", "in"])
        .output()
        .expect("tar starts");
    assert!(made.status.success());
    made.stdout
}

fn message(reply: &Value) -> &str {
    reply["message"].as_str().unwrap_or_default()
}

#[test]
fn searches() {
    inside("transfers::searches", |site| {
        let daemon = Daemon::new(site);
        let found = br#"{"results":[{"name":"one","star_count":9,"is_official":true,"is_automated":true},{"name":"two"}]}"#;
        let server = Server::start(|target| match target {
            "/v1/_ping" => whole(200, b"true"),
            target if target.contains("trouble") => whole(503, b""),
            _ => whole(200, found),
        });
        let search = |rest: &str| {
            daemon.ask("GET", &format!("/images/search?term={}%2F{rest}", server.host), &Value::Null)
        };
        let one = json!({"star_count": 9, "is_official": true, "name": "one", "is_automated": false, "description": ""});
        let two = json!({"star_count": 0, "is_official": false, "name": "two", "is_automated": false, "description": ""});
        assert_eq!(search("x").assert(200).json(), json!([one, two]));
        assert_eq!(search("x&filters={%22stars%22:[%223%22]}").assert(200).json(), json!([one]));
        assert_eq!(search("x&filters={%22is-automated%22:[%22true%22]}").assert(200).json(), json!([]));
        assert!(search("x&limit=7").assert(200).json().is_array());
        let targets: Vec<String> =
            server.seen.lock().expect("no panic").iter().map(|(target, _)| target.clone()).collect();
        assert_eq!(targets.last().map(String::as_str), Some("/v1/search?q=x&n=7"));
        for (rest, status, text) in [
            ("x&limit=101", 400, "limit 101 is outside the range of [1, 100]"),
            ("x&limit=y", 400, "invalid limit specified: strconv.Atoi: parsing \"y\": invalid syntax"),
            ("x&filters={%22type%22:[%22a%22]}", 400, "invalid filter 'type'"),
            ("trouble", 500, "Unexpected status code 503"),
        ] {
            assert_eq!(message(&search(rest).assert(status).json()), text);
        }
        daemon.finish();
    });
}

#[test]
fn imports_from_an_address() {
    inside("transfers::imports_from_an_address", |site| {
        let daemon = Daemon::new(site);
        let archive = tar(&daemon);
        let server = Server::start(move |target| match target {
            "/whole.tar" => whole(200, &archive),
            "/half.tar" => (200, archive.len(), archive[..archive.len() / 2].to_vec()),
            _ => whole(404, b"nothing here\n"),
        });
        let create = |rest: &str| daemon.post(&format!("/images/create?fromSrc={rest}"));
        let address = format!("http://{}", server.host);
        let half = create(&format!("{address}/half.tar&repo=half")).assert(200);
        let text = String::from_utf8_lossy(&half.body).into_owned();
        assert!(text.contains("\"errorDetail\"") && text.contains("unexpected EOF"), "{text}");
        for (rest, status, start) in [
            (
                "ftp://x/y".to_owned(),
                500,
                "Get \"ftp://x/y\": unsupported protocol scheme \"ftp\"".to_owned(),
            ),
            (
                format!("{address}/none"),
                404,
                format!("failed to GET {address}/none with status 404 Not Found: nothing here"),
            ),
            ("http://a:b/c".to_owned(), 400, "parse \"http://a:b/c\": ".to_owned()),
            (
                "no-such-host.invalid/x".to_owned(),
                404,
                "Get \"http://no-such-host.invalid/x\": dial tcp: ".to_owned(),
            ),
            (format!("{address}/whole.tar&platform=a/b/c/d"), 400, String::new()),
        ] {
            let reply = create(&rest).assert(status).json();
            assert!(message(&reply).starts_with(&start), "{reply}");
        }
        // Without a scheme it is http.
        let made =
            create(&format!("{}/whole.tar&repo=made&tag=1&message=hello&changes=USER%20daemon", server.host));
        let text = String::from_utf8_lossy(&made.assert(200).body).into_owned();
        let objects: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        assert_eq!(objects[0]["status"], format!("Downloading from {address}/whole.tar"));
        assert_eq!(objects[1]["status"], "Importing");
        let id = objects.last().expect("an object")["status"].as_str().expect("an ID").to_owned();
        let image = daemon.ask("GET", "/images/made:1/json", &Value::Null).assert(200).json();
        assert_eq!((&image["Id"], &image["Comment"]), (&json!(id), &json!("hello")));
        assert_eq!(image["Config"]["User"], "daemon");
        daemon.ask("DELETE", "/images/made:1", &Value::Null).assert(200);
        assert!(!daemon.log().contains("half"), "{}", daemon.log());
        // Nothing of the half is left in the store either: `finish` looks.
        daemon.finish();
    });
}

#[test]
fn copied_files_may_become_the_users() {
    inside("transfers::copied_files_may_become_the_users", |site| {
        let daemon = Daemon::new(site);
        let archive = tar(&daemon);
        let put = |name: &str, flags: &str| {
            let path = format!("/containers/{name}/archive?path=/tmp{flags}");
            daemon.client.ask("PUT", &path, &archive).expect("an answer")
        };
        let script = ["sh", "-c", "stat -c '%u:%g' /tmp/in /tmp/in/file"];
        let owners = |name: &str| {
            daemon.post(&format!("/containers/{name}/start")).assert(204);
            daemon.post(&format!("/containers/{name}/wait")).assert(200);
            daemon.logs(name)
        };
        for (name, user, flags, expected) in [
            ("named", "daemon", "&copyUIDGID=1", "2:3\n2:3\n"),
            ("numbers", "8:9", "&copyUIDGID=1", "8:9\n8:9\n"),
            ("nobody", "", "&copyUIDGID=1", "77:78\n77:78\n"),
            ("unasked", "daemon", "", "77:78\n77:78\n"),
        ] {
            daemon.create_as(name, &json!({"Cmd": script, "User": user}));
            put(name, flags).assert(200);
            assert_eq!(owners(name), expected, "{name}");
        }
        daemon.create_as("unknown", &json!({"Cmd": script, "User": "who"}));
        let refused = put("unknown", "&copyUIDGID=1").assert(400).json();
        assert_eq!(
            message(&refused),
            "failed to look up user \"who\" in container: no matching entries in passwd file"
        );
        daemon.finish();
    });
}
