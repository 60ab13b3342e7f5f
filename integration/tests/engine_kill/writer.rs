//! A container that writes as fast as it can, with a client that reads slowly.

use std::io::Read as _;
use std::thread;
use std::time::{Duration, Instant};

use knarr_integration::{Value, json};

use crate::client::unframe;
use crate::daemon::Daemon;
use crate::nest::inside;

/// Bytes of a line, without its end.
const LINE: usize = 999;
const LINES: usize = 150_000;

fn exec_time(daemon: &Daemon) -> Duration {
    let exec = daemon
        .ask("POST", "/containers/other/exec", &json!({"Cmd": ["true"], "AttachStdout": true}))
        .assert(201);
    let exec = exec.json()["Id"].as_str().expect("an ID").to_owned();
    let began = Instant::now();
    daemon.ask("POST", &format!("/exec/{exec}/start"), &json!({"Detach": true})).assert(200);
    began.elapsed()
}

fn median(daemon: &Daemon) -> Duration {
    let mut times: Vec<Duration> = (0..11).map(|_| exec_time(daemon)).collect();
    times.sort();
    times[5]
}

#[test]
fn a_fast_writer_loses_nothing_to_a_slow_reader() {
    inside("writer::a_fast_writer_loses_nothing_to_a_slow_reader", |site| {
        let daemon = Daemon::new(site);
        daemon.run("other", &["sleep", "1000"], &json!({}));
        let alone = median(&daemon);
        // As fast as the pipe takes them.
        let script = format!("yes {} | head -n {LINES}", "x".repeat(LINE));
        daemon.create("writes", &["sh", "-c", &script], &json!({}));
        let began = Instant::now();
        daemon.post("/containers/writes/start").assert(204);
        let mut follower = daemon
            .client
            .send("GET", "/containers/writes/logs?stdout=1&follow=1", "Connection: close\r\n", b"")
            .expect("follow the log");
        let slow = thread::spawn(move || {
            let (mut buffer, mut read) = ([0; 4096], 0);
            while let Ok(length @ 1..) = follower.read(&mut buffer) {
                read += length;
                thread::sleep(Duration::from_millis(20));
                if read > 1 << 20 {
                    break;
                }
            }
            read
        });
        thread::sleep(Duration::from_millis(500));
        let beside = median(&daemon);
        let ended = daemon.ask("POST", "/containers/writes/wait", &Value::Null).assert(200).json();
        let took = began.elapsed();
        assert_eq!(ended["StatusCode"], 0);
        let reply = daemon.ask("GET", "/containers/writes/logs?stdout=1", &Value::Null).assert(200);
        let text = unframe(&reply.body);
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let line = format!("{}\n", "x".repeat(LINE));
        assert!(lines.clone().all(|one| one == line.as_bytes()), "every line is whole");
        assert_eq!(lines.count(), LINES, "all lines are there");
        println!(
            "{} MB in {took:?}; an exec beside it takes {beside:?}, alone {alone:?}",
            text.len() / 1_000_000
        );
        assert!(slow.join().expect("the slow reader") > 4096);
        daemon.finish();
    });
}
