//! States of a container and the commands that move it between them; runtime-spec, "Lifecycle".
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::time::Duration;

use knarr_integration::{cases_with_systemd, eventually, leftovers, sys};

/// Words of `runc` for what cannot be.
const TAKEN: &str = "container with given ID already exists";
const UNKNOWN: &str = "container does not exist";

cases_with_systemd! {
    everywhere fn run_gives_output_and_leaves_nothing(world) {
        world.probe(&["echo", "hello"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["on"], "hello", "{answer}");
        assert_eq!(answer.err, "");
        world.assert_nothing_left();
    }

    everywhere fn run_returns_the_exit_code(world) {
        world.probe(&["exit", "42"]);
        world.run().assert_code(42);
        world.assert_nothing_left();
    }

    everywhere fn run_returns_128_and_the_signal(world) {
        // Without a pid namespace of its own the program may kill itself.
        world.without_namespace("pid").probe(&["signal", "9"]);
        world.run().assert_code(137);
        world.assert_nothing_left();
    }

    everywhere fn run_reports_a_death_by_sigterm_as_143(world) {
        world.without_namespace("pid").probe(&["signal", "15"]);
        world.run().assert_code(143);
    }

    everywhere fn a_killed_foreground_container_returns_137(world) {
        world.probe(&["echo", "ready", "wait"]);
        world.write_config();
        let mut run = world.begin(world.command(&["run", &world.id]));
        run.wait_for("ready");
        world.kill("KILL").assert_ok();
        run.end().assert_code(137);
        world.assert_nothing_left();
    }

    everywhere fn create_does_not_start_the_program(world) {
        world.probe(&["echo", "started", "wait"]);
        let created = world.create().assert_ok();
        assert_eq!(created.output(), "", "the program ran before start");
        assert_eq!(world.status(), "created");
        world.start().assert_ok();
        created.wait_for("started");
        assert_eq!(world.status(), "running");
    }

    everywhere fn a_created_container_ends_when_it_is_asked_to(world) {
        // The kernel keeps from the first process of a pid namespace what it does not handle.
        for signal in ["HUP", "INT", "QUIT", "TERM"] {
            world.create().assert_ok();
            world.kill(signal).assert_ok();
            world.wait_status("stopped");
            world.delete().assert_ok();
        }
        world.create().assert_ok();
        world.kill("WINCH").assert_ok();
        assert_eq!(world.status(), "created");
    }

    everywhere fn the_states_follow_each_other(world) {
        world.up_waiting();
        let pid = world.pid();
        assert!(pid > 0);
        world.kill("TERM").assert_ok();
        world.wait_status("stopped");
        assert_eq!(world.pid(), 0, "a stopped container has pid 0");
        world.delete().assert_ok();
        world.call(&["state", &world.id]).assert_fails_with(UNKNOWN);
        world.assert_nothing_left();
    }

    everywhere fn the_pid_of_the_state_is_the_program(world) {
        world.without_namespace("pid").probe(&["block", "facts", "wait"]);
        let created = world.up();
        assert_eq!(created.facts()["pid"], world.pid());
    }

    everywhere fn an_id_is_taken_until_delete(world) {
        world.up_waiting();
        world.create().assert_fails_with(TAKEN);
        world.run().assert_fails_with(TAKEN);
        assert_eq!(world.status(), "running", "the first container was disturbed");
        world.stop();
        world.create().assert_fails_with(TAKEN);
        world.delete().assert_ok();
        world.create().assert_ok();
    }

    everywhere fn start_twice_is_refused(world) {
        world.up_waiting();
        world.start().assert_fails_with("cannot start an already running container");
        assert_eq!(world.status(), "running");
    }

    everywhere fn start_of_a_stopped_container_is_refused(world) {
        world.up_waiting();
        world.stop();
        world.start().assert_fails_with("cannot start a container that has stopped");
    }

    everywhere fn start_of_an_unknown_container_is_refused(world) {
        world.start().assert_fails_with(UNKNOWN);
    }

    everywhere fn start_after_the_init_died_is_an_error_and_no_hang(world) {
        world.create().assert_ok();
        let pid = world.pid();
        sys::kill(pid, libc::SIGKILL).expect("kill the init");
        assert!(knarr_integration::wait::gone_within(pid, Duration::from_secs(10)));
        world.start().assert_fails_with("cannot start a container that has stopped");
    }

    everywhere fn kill_of_an_unknown_container_is_refused(world) {
        world.kill("TERM").assert_fails_with(UNKNOWN);
    }

    everywhere fn kill_of_a_stopped_container_is_refused(world) {
        world.up_waiting();
        world.stop();
        world.kill("TERM").assert_fails_with("container not running");
        assert_eq!(world.status(), "stopped");
    }

    everywhere fn kill_ends_a_created_container(world) {
        world.create().assert_ok();
        world.stop();
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn kill_takes_names_and_numbers(world) {
        world.probe(&["block", "echo", "ready", "wait", "wait", "wait", "wait", "wait", "pause"]);
        let created = world.up();
        created.wait_for("ready");
        let ways = [("USR1", 10), ("SIGUSR2", 12), ("usr1", 10), ("sigusr2", 12), ("10", 10)];
        for (index, (name, number)) in ways.into_iter().enumerate() {
            world.kill(name).assert_ok();
            let got = eventually("the next signal", || created.answers().get(index + 2).cloned());
            assert_eq!(got["value"], number, "kill {name}");
        }
    }

    everywhere fn kill_sends_sigterm_without_a_name(world) {
        let created = world.up_waiting();
        world.call(&["kill", &world.id]).assert_ok();
        created.wait_for("\"value\":15");
    }

    everywhere fn kill_refuses_an_unknown_signal(world) {
        world.up_waiting();
        world.kill("NOSUCH").assert_fails_with("unknown signal \"NOSUCH\"");
        assert_eq!(world.status(), "running");
    }

    everywhere fn kill_reaches_all_without_a_pid_namespace(world) {
        world.without_namespace("pid").probe(&["fork", "fork", "echo", "ready", "pause"]);
        let created = world.up();
        created.wait_for("ready");
        let children: Vec<i64> = created.answers().iter().filter_map(|answer| answer["value"].as_i64()).collect();
        assert_eq!(children.len(), 2);
        // runc 1.1 kills the whole cgroup only with --all; HEAD does it for SIGKILL by itself.
        let flags: &[&str] = if world.is_runc() { &["kill", "--all"] } else { &["kill"] };
        world.call(&[flags, &[&world.id, "KILL"]].concat()).assert_ok();
        world.wait_status("stopped");
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn kill_all_is_accepted(world) {
        world.up_waiting();
        world.call(&["kill", "--all", &world.id, "KILL"]).assert_ok();
        world.wait_status("stopped");
    }

    everywhere fn delete_of_an_unknown_container_is_refused(world) {
        world.delete().assert_fails_with(UNKNOWN);
    }

    everywhere fn forced_delete_of_an_unknown_container_succeeds(world) {
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn delete_of_a_running_container_is_refused(world) {
        world.up_waiting();
        let text = format!("cannot delete container {} that is not stopped: running", world.id);
        world.delete().assert_fails_with(&text);
        assert_eq!(world.status(), "running");
    }

    everywhere fn delete_removes_a_created_container(world) {
        world.create().assert_ok();
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn forced_delete_ends_a_running_container(world) {
        world.up_waiting();
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn forced_delete_removes_a_state_directory_without_state(world) {
        std::fs::create_dir_all(world.state_dir()).expect("an empty state directory");
        world.hand_over();
        world.delete_force().assert_ok();
        assert!(!world.state_dir().exists());
    }

    not_runc_v2("runc 1.1 leaves the cgroup there")
    fn delete_kills_what_shares_the_pid_namespace(world) {
        world.without_namespace("pid").probe(&["fork", "block", "echo", "ready", "wait"]);
        let created = world.up();
        created.wait_for("ready");
        world.kill("TERM").assert_ok();
        world.wait_status("stopped");
        assert!(!leftovers::processes(&world.id).is_empty(), "the child should outlive the init");
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn run_detached_returns_while_the_program_runs(world) {
        world.probe(&["block", "echo", "ready", "wait"]);
        world.run_with(&["--detach"]).assert_ok();
        assert_eq!(world.status(), "running");
        world.stop();
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    knarr("runc 1.1 has no --keep") fn run_keep_leaves_a_stopped_container(world) {
        world.probe(&["echo", "done"]);
        world.run_with(&["--keep"]).assert_ok();
        assert_eq!(world.status(), "stopped");
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn pause_and_resume(world) {
        world.up_waiting();
        world.call(&["pause", &world.id]).assert_ok();
        assert_eq!(world.status(), "paused");
        world.start().assert_fails_with_any(&["cannot start a container in the paused state",
            "cannot start an already running container", "cannot start a paused container"]);
        world.call(&["resume", &world.id]).assert_ok();
        assert_eq!(world.status(), "running");
    }

    everywhere fn resume_of_a_running_container_is_refused(world) {
        world.up_waiting();
        world.call(&["resume", &world.id]).assert_fails_with("container not paused");
    }

    everywhere fn pause_of_a_stopped_container_is_refused(world) {
        world.up_waiting();
        world.stop();
        world.call(&["pause", &world.id]).assert_fails_with("container not running");
    }

    everywhere fn forced_delete_ends_a_paused_container(world) {
        world.up_waiting();
        world.call(&["pause", &world.id]).assert_ok();
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn a_paused_container_can_be_killed(world) {
        world.up_waiting();
        let pid = world.pid();
        world.call(&["pause", &world.id]).assert_ok();
        world.kill("KILL").assert_ok();
        if world.is_v1() && world.is_runc() {
            // runc 1.1 leaves the freezer frozen when it kills one process.
            world.call(&["resume", &world.id]);
        }
        assert!(knarr_integration::wait::gone_within(pid, Duration::from_secs(10)), "still there");
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn run_forwards_signals(world) {
        world.probe(&["block", "echo", "ready", "wait", "wait", "exit", "7"]);
        world.write_config();
        let mut run = world.begin(world.command(&["run", &world.id]));
        run.wait_for("ready");
        run.signal(libc::SIGUSR1);
        run.wait_for("\"value\":10");
        run.signal(libc::SIGTERM);
        let answer = run.end().assert_code(7);
        assert_eq!(answer.act(3)["value"], 15, "{answer}");
        world.assert_nothing_left();
    }

    everywhere fn run_reaps_orphans_of_the_container_without_a_pid_namespace(world) {
        // A grandchild whose parent ends belongs to the nearest subreaper: the runtime, while it runs.
        world.without_namespace("pid");
        world.args(&["/bin/sh", "-c", "(sleep 0.1 & echo $! ; exit 0); sleep 0.3; exit 3"]);
        world.run().assert_code(3);
        world.assert_nothing_left();
    }

    everywhere fn run_without_subreaper_is_accepted(world) {
        world.probe(&["exit", "5"]);
        world.run_with(&["--no-subreaper"]).assert_code(5);
    }

    everywhere fn a_pid_file_has_the_pid_and_no_newline(world) {
        world.probe(&["block", "wait"]);
        let file = world.dir.join("pid");
        world.create_with(&["--pid-file", file.to_str().expect("utf-8")]).assert_ok();
        let text = std::fs::read_to_string(&file).expect("a pid file");
        assert_eq!(text, world.pid().to_string());
        let beside = std::fs::read_dir(&world.dir).expect("the world").flatten();
        let temporary: Vec<_> = beside.filter(|e| e.file_name().to_string_lossy().starts_with('.')).collect();
        assert!(temporary.is_empty(), "{temporary:?}");
    }

    everywhere fn a_pid_file_is_where_the_caller_is(world) {
        world.probe(&["block", "wait"]);
        world.write_config();
        let mut command = world.command(&["create", "--pid-file", "pid", "--bundle"]);
        command.arg(world.bundle()).arg(&world.id).current_dir(&world.dir);
        world.finish(command).assert_ok();
        let text = std::fs::read_to_string(world.dir.join("pid")).expect("a pid file");
        assert_eq!(text, world.pid().to_string());
    }

    everywhere fn a_pid_file_that_cannot_be_written_fails_create(world) {
        let answer = world.create_with(&["--pid-file", "/nonexistent/pid"]).answer;
        answer.assert_fails_with("no such file or directory");
        world.assert_nothing_left();
    }

    everywhere fn two_containers_live_side_by_side(world) {
        world.up_waiting();
        let second = format!("{}-b", world.id);
        world.set("/linux/cgroupsPath", world.second_place());
        world.write_config();
        world.call(&["run", "--detach", &second]).assert_ok();
        world.call(&["delete", "--force", &second]).assert_ok();
        assert_eq!(world.status(), "running");
    }

    everywhere fn the_same_bundle_runs_again(world) {
        world.probe(&["exit", "0"]);
        for _ in 0..3 {
            world.run().assert_ok();
        }
        world.assert_nothing_left();
    }

    everywhere fn standard_input_reaches_the_program(world) {
        world.probe(&["stdin"]);
        world.write_config();
        let mut command = world.command(&["run", &world.id]);
        let text = world.file("input", "a line\n");
        command.stdin(std::fs::File::open(text).expect("input"));
        let answer = world.finish(command).assert_ok();
        assert_eq!(answer.act(0)["value"], "a line\n");
    }

    everywhere fn standard_error_stays_apart(world) {
        world.probe(&["stderr", "to the other side", "echo", "this side"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.err, "to the other side\n");
    }

    everywhere fn delete_while_the_pid_was_reused_does_not_kill_a_stranger(world) {
        world.up_waiting();
        world.stop();
        // The state of a stopped container names a pid that may be someone else's by now.
        let state = world.state_dir().join("state.json");
        let text = std::fs::read_to_string(&state).expect("state.json");
        let mut json: knarr_integration::Value = serde_json::from_str(&text).expect("JSON");
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().expect("a stranger");
        json["init_process_pid"] = stranger.id().into();
        std::fs::write(&state, json.to_string()).expect("write state.json");
        assert_eq!(world.status(), "stopped", "the start time does not fit");
        world.delete().assert_ok();
        let alive = stranger.try_wait().expect("look at the stranger").is_none();
        stranger.kill().and_then(|()| stranger.wait()).expect("end the stranger");
        assert!(alive, "a stranger was killed");
    }
}
