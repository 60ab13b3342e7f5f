//! `SCMP_ACT_NOTIFY`: the listener on its way to the agent, which is the test itself.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::process::Command;

use knarr_integration::{Agent, Answer, Listener, Value, World, cases, json};

const MARK: i32 = 77;
/// A user without rights.
const NOBODY: u32 = 65534;
/// No runtime makes it itself.
const CALL: i64 = libc::SYS_ioprio_get;

/// A profile that sends ioprio_get to the agent at `path`.
fn profile(path: &str) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "for the agent: \u{e9}",
        "syscalls": [{"names": ["ioprio_get"], "action": "SCMP_ACT_NOTIFY"}],
    })
}

/// An agent in the world's directory, named in the configuration.
fn agent(world: &mut World) -> Agent {
    let path = world.dir.join("agent").to_str().expect("utf-8").to_owned();
    world.set("/linux/seccomp", profile(&path));
    Agent::listen(&path)
}

/// `probe` that makes the call so often.
fn calling(times: usize) -> Vec<String> {
    let call = ["syscall".to_owned(), CALL.to_string(), "1,0".to_owned()];
    call.iter().cycle().take(3 * times).cloned().collect()
}

fn set_calls(world: &mut World, times: usize) {
    let verbs = calling(times);
    world.probe(&verbs.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Answers one call in each way an agent can.
fn answer_three(listener: &Listener, pid: i64) {
    let call = listener.receive();
    assert_eq!(i64::from(call.number), CALL);
    assert_eq!(i64::from(call.pid), pid);
    listener.fail(&call, MARK);
    listener.return_value(&listener.receive(), 4711);
    listener.let_pass(&listener.receive());
}

#[track_caller]
fn assert_three(answer: &Answer) {
    assert_eq!(answer.act(0)["errno"], MARK, "{answer}");
    assert_eq!(answer.act(1)["value"], 4711, "{answer}");
    assert_eq!(answer.act(2)["ok"], true, "{answer}");
}

cases! {
    everywhere fn an_agent_answers_the_calls(world) {
        let agent = agent(world);
        set_calls(world, 3);
        for no_new_privileges in [true, false] {
            world.set("/process/noNewPrivileges", no_new_privileges).set("/annotations", json!({"a": "b"}));
            world.write_config();
            let mut run = world.begin(world.command(&["run", &world.id]));
            let (message, listener) = agent.accept();
            let pid = message["pid"].as_i64().expect("a pid");
            let state = &message["state"];
            // runc tells its own.
            assert_eq!(message["ociVersion"], world.pick("1.0.2", "1.0.2-dev"), "{message}");
            assert_eq!(message["fds"], json!(["seccompFd"]));
            assert_eq!(message["metadata"], "for the agent: \u{e9}");
            assert_eq!((&state["id"], &state["status"]), (&json!(world.id), &json!("creating")), "{message}");
            assert_eq!(state["bundle"], world.bundle().to_str().expect("utf-8"));
            assert_eq!((&state["pid"], &state["annotations"]), (&json!(pid), &json!({"a": "b"})), "{message}");
            answer_three(&listener, pid);
            assert_three(&run.end().assert_ok());
        }
        world.assert_nothing_left();
    }

    everywhere fn the_listener_comes_before_create_ends(world) {
        let agent = agent(world);
        set_calls(world, 1);
        world.create().assert_ok();
        let (message, listener) = agent.accept();
        assert_eq!(message["pid"], world.pid());
        world.start().assert_ok();
        listener.let_pass(&listener.receive());
        world.wait_status("stopped");
    }

    everywhere fn exec_has_a_listener_of_its_own(world) {
        let agent = agent(world);
        world.up_waiting();
        let (first, _listener) = agent.accept();
        let verbs = calling(3);
        let args: Vec<&str> = ["exec", &world.id, "/bin/probe"].into_iter().chain(verbs.iter().map(String::as_str)).collect();
        let mut exec = world.begin(world.command(&args));
        let (message, listener) = agent.accept();
        let pid = message["pid"].as_i64().expect("a pid");
        assert_ne!(message["pid"], first["pid"]);
        assert_eq!(message["metadata"], first["metadata"]);
        let state = &message["state"];
        assert_eq!((&state["id"], &state["status"]), (&json!(world.id), &json!("running")), "{message}");
        answer_three(&listener, pid);
        assert_three(&exec.end().assert_ok());
    }

    everywhere fn an_agent_at_an_abstract_address(world) {
        let path = format!("@{}", world.id);
        world.set("/linux/seccomp", profile(&path));
        let agent = Agent::listen(&path);
        set_calls(world, 3);
        world.write_config();
        let mut run = world.begin(world.command(&["run", &world.id]));
        let (message, listener) = agent.accept();
        answer_three(&listener, message["pid"].as_i64().expect("a pid"));
        assert_three(&run.end().assert_ok());
    }

    everywhere fn a_user_without_rights_has_an_agent(world) {
        let agent = agent(world);
        set_calls(world, 3);
        let ids = json!([{"containerID": 0, "hostID": NOBODY, "size": 1}]);
        world.namespace("user", None).set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
        world.unset("/linux/cgroupsPath").unset("/linux/resources");
        world.set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
        for no_new_privileges in [true, false] {
            world.set("/process/noNewPrivileges", no_new_privileges).write_config();
            let owned = Command::new("chown").args(["--recursive", &format!("{NOBODY}:{NOBODY}")]).arg(&world.dir).status();
            assert!(owned.expect("start chown").success());
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(world.program());
            command.arg("--root").arg(world.root()).args(["run", &world.id]).current_dir(world.bundle());
            command.env("XDG_RUNTIME_DIR", &world.dir);
            let mut run = world.begin(command);
            let (_, listener) = agent.accept();
            for _ in 0..3 {
                listener.let_pass(&listener.receive());
            }
            run.end().assert_ok();
        }
    }

    everywhere fn the_calls_that_drop_privileges_may_be_asked_about(world) {
        let agent = agent(world);
        world.set("/linux/seccomp/syscalls/0/names", json!(["setuid", "setresuid", "capset"]));
        world.set("/process/noNewPrivileges", false).set("/process/user", json!({"uid": 1000, "gid": 1000}));
        world.write_config();
        let mut run = world.begin(world.command(&["run", &world.id]));
        let (_, listener) = agent.accept();
        let mut asked = 0;
        while let Some(call) = listener.receive_or_end() {
            asked += 1;
            listener.let_pass(&call);
        }
        let answer = run.end().assert_ok();
        assert!(asked > 1, "{asked}: {answer}");
        assert_eq!(answer.facts()["uid"][0], 1000);
    }

    everywhere fn an_agent_that_has_gone_leaves_calls_unknown(world) {
        let agent = agent(world);
        set_calls(world, 1);
        let created = world.create().assert_ok();
        drop(agent.accept());
        world.start().assert_ok();
        world.wait_status("stopped");
        // seccomp_unotify(2): the listener is closed.
        assert_eq!(created.answers()[0]["errno"], libc::ENOSYS, "{}", created.output());
    }

    everywhere fn without_an_agent_nothing_is_made(world) {
        drop(agent(world));
        world.create().assert_fails_with("failed to connect with seccomp agent");
        world.assert_nothing_left();
        world.run().assert_fails_with("failed to connect with seccomp agent");
        world.assert_nothing_left();
    }

    everywhere fn exec_without_an_agent_fails_and_the_container_runs_on(world) {
        let agent = agent(world);
        world.up_waiting();
        let _listener = agent.accept();
        drop(agent);
        world.exec_probe(&[], &["facts"]).assert_code(255)
            .assert_fails_with("failed to connect with seccomp agent");
        assert_eq!(world.status(), "running");
    }

    everywhere fn not_for_write(world) {
        let _agent = agent(world);
        world.set("/linux/seccomp/syscalls/0/names", json!(["ioprio_get", "write"]));
        world.create().assert_fails_with("SCMP_ACT_NOTIFY cannot be used for the write syscall");
        world.assert_nothing_left();
    }

    everywhere fn not_as_the_default(world) {
        let _agent = agent(world);
        world.set("/linux/seccomp/defaultAction", "SCMP_ACT_NOTIFY");
        world.create().assert_fails_with("SCMP_ACT_NOTIFY cannot be used as default action");
        world.assert_nothing_left();
    }

    everywhere fn not_without_a_path(world) {
        let _agent = agent(world);
        world.unset("/linux/seccomp/listenerPath");
        world.create().assert_fails_with("listenerPath is not set");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 does not know the flag") fn a_killable_wait(world) {
        let agent = agent(world);
        world.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]));
        set_calls(world, 1);
        world.write_config();
        let mut run = world.begin(world.command(&["--debug", "run", &world.id]));
        let (_, listener) = agent.accept();
        listener.let_pass(&listener.receive());
        let answer = run.end().assert_ok();
        // NEW_LISTENER and WAIT_KILLABLE_RECV.
        assert!(answer.err.contains("seccomp filter flags: 40"), "{answer}");
    }

    knarr("runc 1.1 does not know the flag") fn a_killable_wait_needs_a_listener(world) {
        world.set("/linux/seccomp", json!({
            "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "syscalls": [{"names": ["ioprio_get"], "action": "SCMP_ACT_ERRNO"}],
        }));
        world.create().assert_fails_with("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY");
        world.assert_nothing_left();
    }
}
