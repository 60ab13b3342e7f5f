//! What a new engine finds: each row of the table in docs/design/engine.md.

use std::fs;
use std::time::Duration;

use knarr_integration::{Value, eventually, json, sys};

use crate::daemon::{Daemon, lives, processes_with};
use crate::nest::inside;

pub(crate) const SLEEP: &[&str] = &["sleep", "1000"];

/// Waits for a file in its root, and ends with 7.
const UNTIL_GO: &[&str] = &["sh", "-c", "while [ ! -e /go ]; do usleep 20000; done; exit 7"];

/// Begins a request whose answer does not come.
pub(crate) fn begin(daemon: &Daemon, method: &'static str, path: String) {
    let client = daemon.client.clone();
    std::thread::spawn(move || client.ask(method, &path, b""));
}

#[test]
fn a_running_container_runs_on() {
    inside("states::a_running_container_runs_on", |site| {
        let mut daemon = Daemon::new(site);
        daemon.run(
            "one",
            &["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; usleep 5000; done"],
            &json!({}),
        );
        let before = daemon.inspect("one");
        daemon.kill();
        // Long enough for many lines while nobody is there to take them.
        std::thread::sleep(Duration::from_millis(100));
        daemon.start();
        let after = daemon.inspect("one");
        assert_eq!(after["State"], before["State"]);
        assert_eq!(after["NetworkSettings"], before["NetworkSettings"]);
        let exec = daemon.ask("POST", "/containers/one/exec", &json!({"Cmd": ["true"]})).assert(201).json();
        let exec = exec["Id"].as_str().expect("an ID").to_owned();
        daemon.ask("POST", &format!("/exec/{exec}/start"), &json!({"Detach": true})).assert(200);
        daemon.post("/containers/one/kill").assert(204);
        assert_eq!(daemon.inspect("one")["State"]["ExitCode"], 137);
        let numbers: Vec<u64> =
            daemon.logs("one").lines().map(|line| line.parse().expect("a number")).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        daemon.finish();
    });
}

#[test]
fn a_paused_container_stays_paused() {
    inside("states::a_paused_container_stays_paused", |site| {
        let mut daemon = Daemon::new(site);
        daemon.run("one", SLEEP, &json!({}));
        daemon.post("/containers/one/pause").assert(204);
        daemon.replace();
        assert_eq!(daemon.status("one"), "paused");
        daemon.post("/containers/one/unpause").assert(204);
        assert_eq!(daemon.status("one"), "running");
        daemon.finish();
    });
}

/// (3) of the tests: exit code, time, `--rm`, the policy.
#[test]
fn an_end_that_nobody_saw_is_noted() {
    inside("states::an_end_that_nobody_saw_is_noted", |site| {
        let mut daemon = Daemon::new(site);
        daemon.run("plain", UNTIL_GO, &json!({}));
        daemon.run("removed", UNTIL_GO, &json!({"AutoRemove": true}));
        let again = json!({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}});
        daemon.run(
            "again",
            &[
                "sh",
                "-c",
                "[ ! -e /went ] || exec sleep 1000; : > /went; while [ ! -e /go ]; do usleep 20000; done; exit 7",
            ],
            &again,
        );
        let pids = ["plain", "removed", "again"].map(|name| daemon.pid(name));
        daemon.kill();
        for pid in pids {
            fs::write(format!("/proc/{pid}/root/go"), "").expect("let it end");
        }
        for pid in pids {
            eventually("it ends", || (!lives(pid)).then_some(()));
        }
        // Times are compared in seconds: an end that is noted too late shows.
        std::thread::sleep(Duration::from_millis(1100));
        let started = now();
        daemon.start();
        let plain = daemon.inspect("plain");
        assert_eq!((&plain["State"]["Status"], &plain["State"]["ExitCode"]), (&json!("exited"), &json!(7)));
        let finished = plain["State"]["FinishedAt"].as_str().expect("a time");
        assert!(finished < started.as_str(), "{finished} is before {started}");
        eventually("--rm removes", || (!daemon.exists("removed")).then_some(()));
        eventually("the policy starts it", || (daemon.status("again") == "running").then_some(()));
        assert_eq!(daemon.inspect("again")["RestartCount"], 1);
        daemon.finish();
    });
}

#[test]
fn an_address_that_was_asked_for_stays() {
    inside("states::an_address_that_was_asked_for_stays", |site| {
        let mut daemon = Daemon::new(site);
        let asked = "02:42:ac:11:00:99";
        let endpoints = json!({"EndpointsConfig": {"bridge": {"MacAddress": asked}}});
        daemon.create_as("one", &json!({"Cmd": SLEEP, "NetworkingConfig": endpoints}));
        daemon.post("/containers/one/start").assert(204);
        let assert_has = |daemon: &Daemon| {
            let path = format!("/proc/{}/root/sys/class/net/eth0/address", daemon.pid("one"));
            assert_eq!(fs::read_to_string(path).expect("its address").trim(), asked);
            assert_eq!(daemon.inspect("one")["NetworkSettings"]["Networks"]["bridge"]["MacAddress"], asked);
        };
        assert_has(&daemon);
        daemon.post("/containers/one/restart?t=0").assert(204);
        assert_has(&daemon);
        daemon.replace();
        daemon.post("/containers/one/restart?t=0").assert(204);
        assert_has(&daemon);
        daemon.finish();
    });
}

#[test]
fn an_engine_that_stops_its_containers_brings_back_what_nobody_stopped() {
    inside("states::an_engine_that_stops_its_containers_brings_back_what_nobody_stopped", |site| {
        let mut daemon = Daemon::new(site);
        daemon.end();
        daemon.flags = vec!["--live-restore", "false", "--shutdown-timeout", "1"];
        daemon.start();
        let policy = json!({"RestartPolicy": {"Name": "unless-stopped"}});
        daemon.run("kept", SLEEP, &policy);
        daemon.run("stopped", SLEEP, &policy);
        daemon.run("plain", SLEEP, &json!({}));
        daemon.post("/containers/stopped/stop?t=0").assert(204);
        let pids = ["kept", "plain"].map(|name| daemon.pid(name));
        daemon.end();
        for pid in pids {
            assert!(!lives(pid), "it was to be stopped");
        }
        daemon.start();
        eventually("it comes back", || (daemon.status("kept") == "running").then_some(()));
        assert_eq!(["stopped", "plain"].map(|name| daemon.status(name)), ["exited", "exited"]);
        daemon.flags.clear();
        daemon.finish();
    });
}

#[test]
fn a_restart_that_a_user_was_too_late_to_stop_does_not_come() {
    inside("states::a_restart_that_a_user_was_too_late_to_stop_does_not_come", |site| {
        let mut daemon = Daemon::new(site);
        let id = daemon.run("again", &["false"], &json!({"RestartPolicy": {"Name": "always"}}));
        eventually("it waits for a restart", || (daemon.status("again") == "restarting").then_some(()));
        daemon.kill();
        let mut record: Value = serde_json(&daemon.record(&id));
        record["stopped_by_hand"] = json!(true);
        record["state"]["status"] = json!("restarting");
        fs::write(daemon.record(&id), record.to_string()).expect("write the record");
        let started = record["state"]["started"].clone();
        daemon.start();
        eventually("the policy gives up", || (daemon.status("again") == "exited").then_some(()));
        assert_eq!(daemon.inspect("again")["State"]["StartedAt"], started, "it was started again");
        daemon.finish();
    });
}

fn serde_json(path: &std::path::Path) -> Value {
    fs::read_to_string(path).expect("a record").parse().expect("JSON")
}

fn now() -> String {
    let date = std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S"]).output().expect("date");
    String::from_utf8_lossy(&date.stdout).trim().to_owned()
}

#[test]
fn an_end_that_nobody_knows_has_code_255() {
    inside("states::an_end_that_nobody_knows_has_code_255", |site| {
        let mut daemon = Daemon::new(site);
        let id = daemon.run("one", SLEEP, &json!({}));
        let (pid, folder) = (daemon.pid("one"), daemon.run_folder(&id));
        let monitors = processes_with(&folder.to_string_lossy());
        assert_eq!(monitors.len(), 1);
        daemon.kill();
        for pid in [monitors[0], pid] {
            sys::kill(pid, libc::SIGKILL).expect("kill it");
            eventually("it ends", || (!lives(pid)).then_some(()));
        }
        daemon.start();
        let state = &daemon.inspect("one")["State"];
        assert_eq!((&state["Status"], &state["ExitCode"]), (&json!("exited"), &json!(255)));
        daemon.post("/containers/one/start").assert(204);
        daemon.finish();
    });
}

/// As after the machine was started anew: what was below /run is gone.
#[test]
fn a_run_that_is_gone_has_ended() {
    inside("states::a_run_that_is_gone_has_ended", |site| {
        let mut daemon = Daemon::new(site);
        let id = daemon.run("one", SLEEP, &json!({"RestartPolicy": {"Name": "unless-stopped"}}));
        daemon.run("two", SLEEP, &json!({}));
        daemon.post("/containers/two/stop?t=0").assert(204);
        daemon.post("/containers/one/stop?t=0").assert(204);
        daemon.kill();
        let record = fs::read_to_string(daemon.record(&id)).expect("the record");
        let record = record
            .replace("\"exited\"", "\"running\"")
            .replace("\"stopped_by_hand\":true", "\"stopped_by_hand\":false");
        fs::write(daemon.record(&id), record).expect("a record");
        daemon.start();
        eventually("the policy starts it", || (daemon.status("one") == "running").then_some(()));
        assert_eq!(daemon.status("two"), "exited");
        daemon.finish();
    });
}

/// Kills the engine while the runtime waits at `place` in a start of a container; what a new engine makes of it.
fn killed_in_start(daemon: &mut Daemon, place: &str, name: &str) {
    let port = json!({"80/tcp": [{"HostPort": "8080"}]});
    daemon.create(name, SLEEP, &json!({"Runtime": "gate", "PortBindings": port}));
    daemon.close_gate(place);
    begin(daemon, "POST", format!("/containers/{name}/start"));
    daemon.wait_at_gate(place);
    daemon.replace();
}

/// And then it starts as if nothing had been.
fn undone(name: &'static str, place: &str) {
    inside(name, |site| {
        let mut daemon = Daemon::new(site);
        killed_in_start(&mut daemon, place, "one");
        assert_eq!(daemon.status("one"), "created");
        daemon.open_gate(place);
        daemon.post("/containers/one/start").assert(204);
        assert_eq!(daemon.status("one"), "running");
        assert_eq!(daemon.inspect("one")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"], "8080");
        daemon.finish();
    });
}

#[test]
fn a_start_cut_off_before_create() {
    undone("states::a_start_cut_off_before_create", "before-create");
}

#[test]
fn a_start_cut_off_after_create() {
    undone("states::a_start_cut_off_after_create", "after-create");
}

#[test]
fn a_start_cut_off_before_the_process_is_let_go() {
    undone("states::a_start_cut_off_before_the_process_is_let_go", "before-start");
}

#[test]
fn a_process_that_was_let_go_is_taken_over() {
    inside("states::a_process_that_was_let_go_is_taken_over", |site| {
        let mut daemon = Daemon::new(site);
        killed_in_start(&mut daemon, "after-start", "one");
        let one = daemon.inspect("one");
        assert_eq!(one["State"]["Status"], "running");
        assert_eq!(one["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"], "8080");
        let address = one["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
            .as_str()
            .expect("an address")
            .to_owned();
        assert!(!address.is_empty(), "{one}");
        daemon.open_gate("after-start");
        // What it has is not given to others.
        daemon.run("two", SLEEP, &json!({}));
        let other = daemon.inspect("two");
        assert_ne!(other["NetworkSettings"]["Networks"]["bridge"]["IPAddress"], address);
        let port = json!({"80/tcp": [{"HostPort": "8080"}]});
        daemon.create("three", SLEEP, &json!({"PortBindings": port}));
        let refused = daemon.post("/containers/three/start").assert(500).json();
        assert!(
            refused["message"].as_str().is_some_and(|text| text.contains("port is already allocated")),
            "{refused}"
        );
        daemon.post("/containers/one/stop?t=0").assert(204);
        daemon.post("/containers/three/start").assert(204);
        daemon.finish();
    });
}

#[test]
fn a_removal_is_finished() {
    inside("states::a_removal_is_finished", |site| {
        let mut daemon = Daemon::new(site);
        for place in ["before-delete", "after-delete"] {
            let body = json!({"Cmd": SLEEP, "Volumes": {"/data": {}}, "HostConfig": {"Runtime": "gate"}});
            let id = daemon.create_as("one", &body);
            daemon.post("/containers/one/start").assert(204);
            daemon.close_gate(place);
            // It is stopped and removed: the first delete is of the stop.
            begin(&daemon, "DELETE", "/containers/one?force=1&v=1".to_owned());
            daemon.wait_at_gate(place);
            daemon.kill();
            daemon.open_gate(place);
            fs::remove_file(daemon.dir.join(format!("reached-{place}"))).expect("once more");
            let record = fs::read_to_string(daemon.record(&id)).expect("the record");
            let mut record: Value = serde_json::from_str(&record).expect("a record");
            (record["removing"], record["removing_volumes"]) = (true.into(), true.into());
            record["state"]["status"] = "exited".into();
            fs::write(daemon.record(&id), record.to_string()).expect("a record");
            daemon.start();
            let folder = daemon.record(&id).parent().expect("a folder").to_owned();
            eventually("it is removed", || (!folder.exists() && !daemon.exists("one")).then_some(()));
        }
        daemon.finish();
    });
}

#[test]
fn a_folder_without_a_record_goes() {
    inside("states::a_folder_without_a_record_goes", |site| {
        let mut daemon = Daemon::new(site);
        let id = daemon.create("one", SLEEP, &json!({}));
        daemon.kill();
        fs::remove_file(daemon.record(&id)).expect("forget the record");
        daemon.start();
        assert!(!daemon.exists("one"));
        assert!(!daemon.record(&id).parent().expect("a folder").exists());
        daemon.create("one", SLEEP, &json!({}));
        daemon.finish();
    });
}

#[test]
fn a_policy_that_waits_goes_on() {
    inside("states::a_policy_that_waits_goes_on", |site| {
        let mut daemon = Daemon::new(site);
        daemon.run("one", &["false"], &json!({"RestartPolicy": {"Name": "always"}}));
        let count = |daemon: &Daemon| daemon.inspect("one")["RestartCount"].as_u64().expect("a number");
        let waits = |daemon: &Daemon| daemon.status("one") == "restarting" && count(daemon) >= 4;
        eventually("it waits long", || waits(&daemon).then_some(()));
        let before = count(&daemon);
        daemon.replace();
        eventually("it is started again", || (count(&daemon) > before).then_some(()));
        daemon.post("/containers/one/stop?t=0").assert(204);
        let stopped = count(&daemon);
        // That nothing happens has no event.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!((count(&daemon), daemon.status("one").as_str()), (stopped, "exited"));
        daemon.finish();
    });
}

/// What runs keeps its address, whoever is started first.
#[test]
fn those_that_run_come_before_those_that_start() {
    inside("states::those_that_run_come_before_those_that_start", |site| {
        let mut daemon = Daemon::new(site);
        for number in 0..4 {
            daemon.run(&format!("runs{number}"), SLEEP, &json!({}));
            let port = json!({"80/tcp": [{"HostPort": "0"}]});
            let host = json!({"RestartPolicy": {"Name": "always"}, "PortBindings": port});
            daemon.run(&format!("starts{number}"), SLEEP, &host);
            daemon.post(&format!("/containers/starts{number}/stop?t=0")).assert(204);
        }
        daemon.replace();
        let names = (0..4).flat_map(|number| [format!("runs{number}"), format!("starts{number}")]);
        let mut addresses = std::collections::BTreeSet::new();
        for name in names {
            eventually("it runs", || (daemon.status(&name) == "running").then_some(()));
            let one = daemon.inspect(&name);
            assert!(
                addresses.insert(one["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].to_string()),
                "{addresses:?}"
            );
        }
        let rules =
            std::process::Command::new("nft").args(["list", "map", "ip", "knarr", "published"]).output();
        let rules = String::from_utf8_lossy(&rules.expect("run nft").stdout).into_owned();
        assert_eq!(rules.matches("tcp . ").count(), 4, "{rules}");
        daemon.finish();
    });
}

#[test]
fn a_second_engine_is_refused() {
    inside("states::a_second_engine_is_refused", |site| {
        let daemon = Daemon::new(site);
        daemon.run("one", SLEEP, &json!({}));
        let second = daemon.command().output().expect("start it");
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(!second.status.success(), "{said}");
        assert!(said.contains("is in use by another engine"), "{said}");
        assert_eq!(daemon.status("one"), "running");
        daemon.finish();
    });
}

/// Not a benchmark: what is printed is the figure, the limit is for a busy machine.
#[test]
fn fifty_containers_are_taken_over_soon() {
    inside("states::fifty_containers_are_taken_over_soon", |site| {
        let mut daemon = Daemon::new(site);
        for number in 0..50 {
            daemon.run(&format!("one{number}"), SLEEP, &json!({}));
        }
        let mut times: Vec<Duration> = (0..5).map(|_| daemon.replace()).collect();
        times.sort();
        println!("a start with fifty containers took {times:?}");
        for number in 0..50 {
            assert_eq!(daemon.status(&format!("one{number}")), "running");
        }
        assert!(times[0] < Duration::from_secs(10), "{times:?}");
        daemon.finish();
    });
}
