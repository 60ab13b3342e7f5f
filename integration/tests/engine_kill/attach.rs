//! The connection of an attach, as a client that reads more than the head at once sees it.

use std::io::Read as _;
use std::time::Duration;

use knarr_integration::{eventually, json};

use crate::client::unframe;
use crate::daemon::Daemon;
use crate::nest::inside;

/// docker-py loses what it reads together with the head.
#[test]
fn the_head_is_read_alone_however_late() {
    inside("attach::the_head_is_read_alone_however_late", |site| {
        let daemon = Daemon::new(site);
        daemon.run("one", &["sh", "-c", "echo before; sleep 1000"], &json!({}));
        eventually("it has said something", || (daemon.logs("one") == "before\n").then_some(()));
        let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
        let path = "/containers/one/attach?logs=1&stream=1&stdout=1";
        let mut stream = daemon.client.send("POST", path, upgrade, b"").expect("an answer");
        // All of it is there when the client comes to read, which no event tells without reading.
        std::thread::sleep(Duration::from_millis(300));
        let mut buffer = [0; 8192];
        let mut read = || {
            let count = stream.read(&mut buffer).expect("bytes");
            buffer[..count].to_vec()
        };
        let head = String::from_utf8(read()).expect("a head");
        assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert_eq!(unframe(&read()), b"before\n");
        daemon.finish();
    });
}
