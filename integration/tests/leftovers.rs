//! Nothing stays behind: after each kind of failure, after kill -9 of the runtime, after races.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::time::Duration;

use knarr_integration::console::Receiver;
use knarr_integration::{World, cases, json, leftovers, wait};

/// Rounds of killing the runtime; the delays between them cover the whole of a create.
const ROUNDS: u32 = 30;

/// Kills `create` after a delay that grows round by round, then deletes by force: nothing may be left.
fn kill_create_at_many_moments(world: &mut World) {
    world.probe(&["block", "wait"]).write_config();
    let whole = std::time::Instant::now();
    world.call(&["create", &world.id]).assert_ok();
    let whole = whole.elapsed();
    world.delete_force().assert_ok();
    for round in 0..ROUNDS {
        let mut create = world.begin(world.command(&["create", &world.id]));
        // The moment is the point of this test: there is no event to wait for.
        std::thread::sleep(whole * round / ROUNDS);
        create.child.kill().and_then(|()| create.child.wait()).expect("kill it");
        world.delete_force().assert_ok();
        let left = leftovers::processes(&world.id);
        let gone = left.iter().all(|pid| wait::gone_within(*pid, Duration::from_secs(5)));
        assert!(gone, "round {round}: processes {left:?} are left");
        world.assert_nothing_left();
    }
}

cases! {
    knarr("runc 1.1 leaves its init when it is killed early") fn create_killed_at_many_moments(world) {
        kill_create_at_many_moments(world);
    }

    knarr("runc 1.1 leaves its init when it is killed early") fn create_killed_in_a_user_namespace(world) {
        world.user_namespace(100_000);
        kill_create_at_many_moments(world);
    }

    /// Init hears of no message then, and a change of ids has made the kernel forget whose death it follows.
    knarr("runc 1.1 leaves its init when it is killed early") fn create_killed_during_a_hook_in_a_user_namespace(world) {
        world.user_namespace(100_000);
        let reached = world.dir.join("reached");
        world.file("reached", "");
        std::fs::set_permissions(&reached, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("chmod");
        std::fs::set_permissions(&world.dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        let script = format!("echo here > {}; exec sleep 60", reached.display());
        world.push("/hooks/createContainer", json!({"path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["PATH=/usr/bin:/bin"]}));
        world.write_config();
        let mut create = world.begin(world.command(&["create", &world.id]));
        wait::eventually("the hook", || std::fs::read_to_string(&reached).ok().filter(|text| !text.is_empty()));
        let left = leftovers::processes(&world.id);
        create.child.kill().and_then(|()| create.child.wait()).expect("kill it");
        let gone = left.iter().all(|pid| wait::gone_within(*pid, Duration::from_secs(5)));
        assert!(!left.is_empty() && gone, "processes {left:?} are left");
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn run_killed_while_the_program_runs(world) {
        world.probe(&["block", "echo", "ready", "wait"]).write_config();
        let mut run = world.begin(world.command(&["run", &world.id]));
        run.wait_for("ready");
        run.child.kill().and_then(|()| run.child.wait()).expect("kill it");
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn exec_killed_while_its_program_runs(world) {
        world.up_waiting();
        let mut exec = world.begin(world.command(&["exec", &world.id, "/bin/probe", "echo", "ready", "wait"]));
        exec.wait_for("ready");
        exec.child.kill().and_then(|()| exec.child.wait()).expect("kill it");
        assert_eq!(world.status(), "running");
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    /// A `start` that was killed when the program ran already and the gate was still there.
    knarr("runc looks whether the file is there") fn a_gate_left_behind_by_start(world) {
        world.up_waiting();
        let gate = world.state_dir().join("exec.fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &gate, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("mkfifo");
        assert_eq!(world.status(), "running");
        world.delete().assert_fails_with("that is not stopped: running");
        world.start().assert_fails_with("cannot start an already running container");
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn the_init_killed_before_start(world) {
        world.create().assert_ok();
        let pid = world.pid();
        knarr_integration::sys::kill(pid, libc::SIGKILL).expect("kill it");
        assert!(wait::gone_within(pid, wait::PATIENCE));
        assert_eq!(world.status(), "stopped");
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn a_mount_that_fails_late(world) {
        world.mount("/mnt", "tmpfs", "tmpfs", &[]).mount("/tmp", "nosuchfs", "x", &[]);
        world.run().assert_fails_with("no such device");
        world.assert_nothing_left();
        world.create().assert_fails_with("no such device");
        world.assert_nothing_left();
    }

    everywhere fn a_program_that_is_missing(world) {
        world.args(&["/no/such/program"]);
        for _ in 0..3 {
            world.create().assert_fails_with("no such file or directory");
            world.assert_nothing_left();
        }
    }

    everywhere fn a_failure_in_a_user_namespace(world) {
        world.user_namespace(100_000).args(&["/no/such/program"]);
        world.create().assert_fails_with("no such file or directory");
        world.assert_nothing_left();
    }

    everywhere fn a_failure_after_the_console_was_sent(world) {
        world.set("/process/terminal", true).args(&["/no/such/program"]);
        let receiver = Receiver::listen(&world.dir.join("console"));
        world.create_with(&["--console-socket", receiver.path.to_str().expect("utf-8")])
            .assert_fails_with("no such file or directory");
        world.assert_nothing_left();
    }

    everywhere fn a_failing_hook_after_the_mounts(world) {
        world.push("/hooks/createContainer", json!({"path": "/bin/false"}));
        world.create().assert_fails_with("exit status 1");
        world.assert_nothing_left();
    }

    everywhere fn a_failing_limit(world) {
        world.set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]));
        world.create().assert_fails_with("limit");
        world.assert_nothing_left();
    }

    everywhere fn a_failing_sysctl(world) {
        world.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "many"}));
        world.create().assert_fails_with("invalid argument");
        world.assert_nothing_left();
    }

    everywhere fn a_failed_create_can_be_repeated_with_success(world) {
        world.args(&["/no/such/program"]);
        world.create().assert_fails_with("no such file or directory");
        world.probe(&["echo", "hello"]);
        world.run().assert_ok();
        world.assert_nothing_left();
    }

    knarr("with runc 1.1 the loser may destroy the winner") fn of_two_creates_with_one_id_one_wins(world) {
        world.probe(&["block", "wait"]).write_config();
        let mut both: Vec<_> = (0..2).map(|_| world.begin(world.command(&["create", &world.id]))).collect();
        let won = both.iter_mut().filter_map(|create| create.end().status.success().then_some(())).count();
        assert_eq!(won, 1);
        assert_eq!(world.status(), "created");
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn two_deletes_at_once(world) {
        world.up_waiting();
        let mut both: Vec<_> = (0..2).map(|_| world.begin(world.command(&["delete", "--force", &world.id]))).collect();
        let done = both.iter_mut().filter_map(|delete| delete.end().status.success().then_some(())).count();
        assert!(done >= 1);
        world.assert_nothing_left();
    }

    everywhere fn many_containers_at_once(world) {
        world.probe(&["exit", "3"]);
        let mut all: Vec<_> = (0..6).map(|number| {
            let cgroup = format!("{}/{number}", world.cgroup);
            world.set("/linux/cgroupsPath", cgroup);
            let bundle = world.folder(&format!("bundle-{number}"));
            let mut config = world.config.clone();
            config["root"]["path"] = json!(world.rootfs());
            std::fs::write(bundle.join("config.json"), config.to_string()).expect("a config");
            let id = format!("{}-{number}", world.id);
            world.begin(world.command(&["run", "--bundle", bundle.to_str().expect("utf-8"), &id]))
        }).collect();
        for run in &mut all {
            run.end().assert_code(3);
        }
        assert_eq!(std::fs::read_dir(world.root()).expect("the state root").count(), 0);
        assert_eq!(leftovers::processes(&world.id), Vec::<i32>::new());
    }

    everywhere fn descriptors_of_the_runtime_do_not_stay_in_the_init(world) {
        // Once it speaks: for a moment of execve the program is the new one, and the descriptors are the old ones.
        world.up_waiting();
        let open = std::fs::read_dir(format!("/proc/{}/fd", world.pid())).expect("its descriptors").count();
        assert_eq!(open, 3);
    }
}
