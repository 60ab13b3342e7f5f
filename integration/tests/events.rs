//! `events`: statistics in runc's shape, and notices of the end of memory.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use knarr_integration::world::Running;
use knarr_integration::{Value, World, cases, eventually, json};

const MIB: u64 = 1 << 20;

fn begin(world: &World, interval: &str) -> Running {
    world.begin(world.command(&["events", "--interval", interval, &world.id]))
}

fn lines(running: &Running) -> Vec<Value> {
    let text = fs::read_to_string(&running.out).expect("the events");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Waits for statistics: by then everything else is watched too.
fn wait_for_stats(running: &Running, count: usize) {
    eventually("statistics", || {
        let text = fs::read_to_string(&running.out).ok()?;
        (text.matches("\"type\":\"stats\"").count() >= count && text.ends_with('\n')).then_some(())
    });
}

fn has_oom(running: &Running, id: &str) -> bool {
    let line = format!("{{\"type\":\"oom\",\"id\":\"{id}\"}}\n");
    fs::read_to_string(&running.out).expect("the events").contains(&line)
}

cases! {
    everywhere fn statistics_have_runc_s_shape(world) {
        world.up_waiting();
        let answer = world.call(&["events", "--stats", &world.id]).assert_ok();
        assert!(answer.out.starts_with(&format!("{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{\"cpu\":", world.id)), "{answer}");
        assert_eq!(answer.out.lines().count(), 1);
        let event: Value = serde_json::from_str(&answer.out).expect("JSON");
        let keys: Vec<&str> = event["data"].as_object().expect("data").keys().map(String::as_str).collect();
        let expected =
            ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"];
        assert_eq!(keys, expected);
        assert_eq!((&event["data"]["network_interfaces"], &event["data"]["intel_rdt"]), (&Value::Null, &json!({})));
    }

    limits fn statistics_tell_limits_and_usage(world) {
        world.set("/linux/resources/memory", json!({"limit": 64 * MIB}));
        world.set("/linux/resources/pids", json!({"limit": 20})).up_waiting();
        let answer = world.call(&["events", "--stats", &world.id]).assert_ok();
        let data = serde_json::from_str::<Value>(&answer.out).expect("JSON")["data"].clone();
        assert_eq!(data["memory"]["usage"]["limit"], 64 * MIB);
        assert!(data["memory"]["usage"]["usage"].as_u64().is_some_and(|usage| usage > 0), "{answer}");
        assert!(data["memory"]["raw"].as_object().is_some_and(|raw| raw.len() > 10), "{answer}");
        assert_eq!(data["pids"], json!({"current": 1, "limit": 20}));
        assert!(data["cpu"]["usage"]["total"].as_u64().is_some_and(|total| total > 0), "{answer}");
    }

    knarr_v2_limits("runc 1.1 does not read it") fn statistics_tell_pressure_where_the_kernel_does(world) {
        if !fs::exists("/proc/pressure/cpu").expect("/proc") {
            world.skip("this kernel does not count pressure");
        }
        world.up_waiting();
        let answer = world.call(&["events", "--stats", &world.id]).assert_ok();
        let data = serde_json::from_str::<Value>(&answer.out).expect("JSON")["data"].clone();
        for controller in ["cpu", "memory", "blkio"] {
            // Empty when there was none.
            assert!(data[controller]["psi"].is_object(), "{controller}: {answer}");
        }
    }

    limits fn they_come_again_and_again_and_end_with_the_container(world) {
        world.up_waiting();
        let mut events = begin(world, "50ms");
        wait_for_stats(&events, 3);
        world.delete_force().assert_ok();
        events.end().assert_ok();
    }

    knarr("runc waits for the cgroup's end") fn the_end_of_the_first_process_ends_them(world) {
        world.up_waiting();
        let mut events = begin(world, "50ms");
        wait_for_stats(&events, 1);
        world.kill("KILL").assert_ok();
        events.end().assert_ok();
    }

    limits fn the_end_of_memory_is_told(world) {
        world.set("/linux/resources/memory", json!({"limit": 32 * MIB, "swap": 32 * MIB})).up_waiting();
        let mut events = begin(world, "50ms");
        wait_for_stats(&events, 1);
        world.exec_probe(&[], &["touch-memory", "100"]).assert_code(137);
        eventually("the notice", || has_oom(&events, &world.id).then_some(()));
        assert_eq!(world.status(), "running");
        world.delete_force().assert_ok();
        events.end().assert_ok();
    }

    knarr_limits("runc waits for the cgroup's end") fn the_end_of_memory_that_is_the_containers_own_is_told(world) {
        world.set("/linux/resources/memory", json!({"limit": 32 * MIB, "swap": 32 * MIB}));
        world.probe(&["block", "echo", "ready", "wait", "touch-memory", "100"]);
        world.up().wait_for("ready");
        let mut events = begin(world, "50ms");
        wait_for_stats(&events, 1);
        world.kill("USR1").assert_ok();
        events.end().assert_ok();
        assert!(has_oom(&events, &world.id), "{:?}", lines(&events));
        assert_eq!(lines(&events).iter().filter(|event| event["type"] == "oom").count(), 1);
    }

    knarr("runc dies of a signal") fn nobody_reads_any_more(world) {
        world.up_waiting();
        let mut command = world.command(&["events", "--interval", "20ms", &world.id]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("events");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        out.read_line(&mut line).expect("an event");
        drop(out);
        let status = knarr_integration::wait::exit_within(&mut child, knarr_integration::wait::PATIENCE);
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{line}");
    }

    everywhere fn what_is_not_there_has_no_events(world) {
        world.call(&["events", &world.id]).assert_fails_with("container does not exist");
        world.up_waiting();
        world.call(&["events", "--interval", "0s", &world.id])
            .assert_fails_with("duration interval must be greater than 0");
        world.call(&["events", "--interval", "-1s", &world.id])
            .assert_fails_with("duration interval must be greater than 0");
        world.call(&["events", "--interval", "soon", &world.id]).assert_fails_with("invalid value \"soon\" for flag -interval");
        world.stop();
        for flags in [&["events", "--stats"][..], &["events"]] {
            let answer = world.call(&[flags, &[world.id.as_str()]].concat());
            answer.assert_fails_with(&format!("container with id {} is not running", world.id));
        }
    }
}
