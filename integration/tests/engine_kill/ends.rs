//! Stops, ends and removals that are cut off, and what clients see of a removal half-way.

use std::fs;

use knarr_integration::{Value, eventually, json};

use crate::daemon::Daemon;
use crate::nest::inside;
use crate::states::{SLEEP, begin};

/// Does not end by SIGTERM, but with 7 when `/go` is there; a second run goes on.
const DEAF: &[&str] = &[
    "sh",
    "-c",
    "[ ! -e /went ] || exec sleep 1000; trap '' TERM; : > /went; while [ ! -e /go ]; do usleep 20000; done; exit 7",
];

fn let_go(daemon: &Daemon, name: &str) {
    fs::write(format!("/proc/{}/root/go", daemon.pid(name)), "").expect("let it end");
}

fn record(daemon: &Daemon, id: &str) -> Value {
    fs::read_to_string(daemon.record(id)).expect("a record").parse().expect("JSON")
}

fn message(daemon: &Daemon, method: &str, path: &str, status: u16) -> String {
    let reply = daemon.ask(method, path, &Value::Null).assert(status).json();
    reply["message"].as_str().unwrap_or_default().to_owned()
}

/// moby keeps the mark of a stop, which matters to `unless-stopped` alone, and forgets that the policy was called off.
#[test]
fn a_stop_that_was_cut_off_leaves_the_policy_alive() {
    inside("ends::a_stop_that_was_cut_off_leaves_the_policy_alive", |site| {
        let mut daemon = Daemon::new(site);
        let policies = ["always", "on-failure", "unless-stopped"];
        for policy in policies {
            let id = daemon.run(policy, DEAF, &json!({"RestartPolicy": {"Name": policy}}));
            eventually("it is deaf", || {
                let went = format!("/proc/{}/root/went", daemon.pid(policy));
                fs::exists(went).is_ok_and(|there| there).then_some(())
            });
            begin(&daemon, "POST", format!("/containers/{policy}/stop?t=600"));
            eventually("the stop is on record", || {
                (record(&daemon, &id)["stopped_by_hand"] == true).then_some(())
            });
        }
        daemon.replace();
        for policy in policies {
            assert_eq!(daemon.status(policy), "running");
            let_go(&daemon, policy);
        }
        for policy in ["always", "on-failure"] {
            eventually("the policy starts it", || {
                let one = daemon.inspect(policy);
                (one["RestartCount"] == 1 && one["State"]["Status"] == "running").then_some(())
            });
        }
        eventually("it ends", || (daemon.status("unless-stopped") == "exited").then_some(()));
        // Once more, in full: now the policy is called off.
        daemon.post("/containers/always/stop?t=0").assert(204);
        assert_eq!(daemon.status("always"), "exited");
        daemon.finish();
    });
}

#[test]
fn an_end_for_want_of_memory_is_known_when_the_cgroup_is_gone() {
    inside("ends::an_end_for_want_of_memory_is_known_when_the_cgroup_is_gone", |site| {
        let mut daemon = Daemon::new(site);
        let limits = json!({"Runtime": "gate", "Memory": 16 << 20, "MemorySwap": 16 << 20});
        daemon.create("one", &["tail", "/dev/zero"], &limits);
        daemon.close_gate("after-delete");
        daemon.post("/containers/one/start").assert(204);
        daemon.wait_at_gate("after-delete");
        daemon.kill();
        daemon.open_gate("after-delete");
        daemon.start();
        eventually("the end is noted", || (daemon.status("one") == "exited").then_some(()));
        let state = &daemon.inspect("one")["State"];
        assert_eq!((&state["OOMKilled"], &state["ExitCode"]), (&json!(true), &json!(137)));
        daemon.finish();
    });
}

/// moby's words for each of them.
#[test]
fn a_removal_shows_while_it_is_under_way() {
    inside("ends::a_removal_shows_while_it_is_under_way", |site| {
        let daemon = Daemon::new(site);
        let id = daemon.run("one", SLEEP, &json!({"Runtime": "gate"}));
        daemon.post("/containers/one/stop?t=0").assert(204);
        // As if something of the run were left, for which the runtime is asked.
        fs::create_dir(daemon.run_folder(&id)).expect("a run folder");
        daemon.close_gate("before-delete");
        begin(&daemon, "DELETE", "/containers/one".to_owned());
        daemon.wait_at_gate("before-delete");
        let one = daemon.inspect("one");
        assert_eq!(one["State"]["Status"], "removing");
        assert_eq!((&one["State"]["Running"], &one["State"]["Dead"]), (&json!(false), &json!(true)));
        let list = daemon.ask("GET", "/containers/json?all=1&size=1", &Value::Null).assert(200).json();
        assert_eq!(
            (&list[0]["State"], &list[0]["Status"]),
            (&json!("removing"), &json!("Removal In Progress"))
        );
        let filtered = "/containers/json?filters=%7B%22status%22%3A%5B%22removing%22%5D%7D";
        assert_eq!(daemon.ask("GET", filtered, &Value::Null).json().as_array().map(Vec::len), Some(1));
        for (method, path, want) in [
            ("POST", "one/start", "container is marked for removal and cannot be started"),
            ("POST", "one/restart", "container is marked for removal and cannot be started"),
            ("POST", "one/attach", "container is marked for removal and cannot be attached to"),
            ("POST", "one/rename?name=two", "container is marked for removal and cannot be renamed"),
            (
                "GET",
                "one/logs?stdout=1",
                "can not get logs from container which is dead or marked for removal",
            ),
            ("DELETE", "one", "removal of container one is already in progress"),
            ("DELETE", "one?force=1", "removal of container one is already in progress"),
        ] {
            assert_eq!(message(&daemon, method, &format!("/containers/{path}"), 409), want, "{path}");
        }
        daemon.post("/containers/one/stop").assert(304);
        daemon.open_gate("before-delete");
        eventually("it is gone", || (!daemon.exists("one")).then_some(()));
        daemon.ask("GET", "/containers/one/json", &Value::Null).assert(404);
        daemon.finish();
    });
}

/// A forced removal, also of a container with `--rm`, is a removal from its first moment: the container still runs.
#[test]
fn a_forced_removal_that_was_cut_off_is_finished() {
    inside("ends::a_forced_removal_that_was_cut_off_is_finished", |site| {
        let mut daemon = Daemon::new(site);
        for host in [json!({"Runtime": "gate"}), json!({"Runtime": "gate", "AutoRemove": true})] {
            let id = daemon.run("one", SLEEP, &host);
            daemon.close_gate("before-kill");
            begin(&daemon, "DELETE", "/containers/one?force=1".to_owned());
            daemon.wait_at_gate("before-kill");
            assert_eq!(daemon.status("one"), "running");
            let twice = message(&daemon, "DELETE", "/containers/one?force=1", 409);
            assert_eq!(twice, "removal of container one is already in progress");
            daemon.post("/containers/one/start").assert(304);
            daemon.kill();
            daemon.open_gate("before-kill");
            fs::remove_file(daemon.dir.join("reached-before-kill")).expect("once more");
            daemon.start();
            let folder = daemon.record(&id).parent().expect("a folder").to_owned();
            eventually("it is removed", || (!folder.exists() && !daemon.exists("one")).then_some(()));
        }
        daemon.finish();
    });
}
