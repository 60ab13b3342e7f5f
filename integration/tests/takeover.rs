//! One runtime acts on the container of another: a node changes over without draining. Who made it, who acts, which
//! command; what each pair can and cannot do is what docs/switching.md says.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use knarr_integration::{Answer, Layout, Runtime, Value, World, bundle, eventually, json, play, wait};
use rustix::mount::{UnmountFlags, unmount};

/// Cases over containers that another runtime makes and `knarr` acts on: a test for each of them and each layout.
macro_rules! taken_over {
    ($(fn $name:ident($world:ident) $body:block)*) => {$(
        mod $name {
            use super::*;
            fn case($world: &mut World) {
                suit_maker($world);
                $body
            }
            taken_over!(@ runc_v1, Runc, Hybrid);
            taken_over!(@ runc_v2, Runc, Unified);
            taken_over!(@ crun_v1, Crun, Hybrid);
            taken_over!(@ crun_v2, Crun, Unified);
        }
    )*};
    (@ $test:ident, $maker:ident, $layout:ident) => {
        #[test]
        fn $test() {
            play(concat!(module_path!(), "::", stringify!($test)), Runtime::$maker, Layout::$layout, case);
        }
    };
}

/// Debian's crun refuses a hybrid, and device rules on version 2 where the memory lock limit may not be raised.
fn suit_maker(world: &mut World) {
    if world.runtime != Runtime::Crun {
        return;
    }
    if world.is_v1() {
        unmount("/sys/fs/cgroup/unified", UnmountFlags::DETACH).expect("put cgroup2 away");
        world.accept_mounts();
    }
    world.set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
}

/// `knarr ARGS` on the container that another runtime made.
fn knarr(world: &World, args: &[&str]) -> Answer {
    world.call_by(Runtime::Knarr, args)
}

#[track_caller]
fn state_by(world: &World, runtime: Runtime) -> Value {
    let answer = world.call_by(runtime, &["state", &world.id]).assert_ok();
    serde_json::from_str(&answer.out).expect("state is JSON")
}

#[track_caller]
fn status_by(world: &World, runtime: Runtime) -> String {
    state_by(world, runtime)["status"].as_str().expect("a status").to_owned()
}

#[track_caller]
fn knarr_status(world: &World) -> String {
    status_by(world, Runtime::Knarr)
}

/// Every regular file of the state directory.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("the state directory").flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files
        .map(|file| (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).expect("read")))
        .collect()
}

/// A hook that leaves its standard input in `name` of the world's directory.
fn leave_state(world: &mut World, stage: &str, name: &str) {
    let script = format!("cat > {}", world.dir.join(name).display());
    world.push(
        &format!("/hooks/{stage}"),
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 5}),
    );
}

#[track_caller]
fn left_state(world: &World, name: &str) -> Value {
    let text = fs::read_to_string(world.dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).expect("the hook got JSON")
}

/// crun makes plain folders where no hierarchy is mounted, and leaves them to its own `delete` too.
#[track_caller]
fn assert_nothing_left(world: &World) {
    let mounted = world.layout.directories(&world.cgroup);
    for place in world.layout.places(&world.cgroup).iter().filter(|place| !mounted.contains(place)) {
        assert!(world.runtime == Runtime::Crun || !place.exists(), "{}", place.display());
        fs::remove_dir_all(place)
            .or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
            .expect("remove a plain folder");
    }
    world.assert_nothing_left();
}

fn pids(json: &str) -> Vec<i32> {
    serde_json::from_str::<Option<Vec<i32>>>(json).expect("pids").unwrap_or_default()
}

taken_over! {
    fn state_and_list_say_what_the_maker_says(world) {
        world.set("/annotations", json!({"org.example.key": "a=b"})).up_waiting();
        let (theirs, ours) = (state_by(world, world.runtime), state_by(world, Runtime::Knarr));
        for key in ["id", "pid", "status", "bundle", "created", "annotations"] {
            assert_eq!(ours[key], theirs[key], "{key}");
        }
        assert_eq!(ours["rootfs"], world.rootfs().canonicalize().expect("a path").to_str().expect("utf-8"));
        assert!(ours["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.0.2")), "{ours}");
        let listed = knarr(world, &["list", "--format", "json"]).assert_ok();
        let listed: Value = serde_json::from_str(&listed.out).expect("a list");
        assert_eq!((listed[0]["id"].as_str(), listed[0]["pid"].clone()), (Some(world.id.as_str()), ours["pid"].clone()));
        assert_eq!(listed[0]["owner"], "root");
        assert_eq!(listed.as_array().map(Vec::len), Some(1));
    }

    fn what_the_maker_keeps_beside_containers_is_not_listed(world) {
        world.up_waiting();
        fs::create_dir(world.root().join(".cache")).expect("a directory");
        let answer = knarr(world, &["list", "--quiet"]).assert_ok();
        assert_eq!((answer.out.trim(), answer.err.as_str()), (world.id.as_str(), ""));
    }

    fn ps_kill_and_delete(world) {
        leave_state(world, "poststop", "stopped");
        world.up_waiting();
        let pid = world.pid();
        let answer = knarr(world, &["ps", "--format", "json", &world.id]).assert_ok();
        assert_eq!(pids(&answer.out), [pid]);
        let table = knarr(world, &["ps", &world.id]).assert_ok();
        assert!(table.out.contains(&pid.to_string()) && table.out.contains("probe"), "{table}");
        knarr(world, &["delete", &world.id]).assert_fails_with("that is not stopped: running");
        knarr(world, &["kill", &world.id, "KILL"]).assert_ok();
        assert!(wait::gone_within(pid, wait::PATIENCE));
        eventually("stopped", || (knarr_status(world) == "stopped").then_some(()));
        knarr(world, &["kill", &world.id, "KILL"]).assert_fails_with("container not running");
        knarr(world, &["exec", &world.id, "/bin/true"]).assert_fails_with("cannot exec in a stopped container");
        knarr(world, &["delete", &world.id]).assert_ok();
        assert_nothing_left(world);
        let told = left_state(world, "stopped");
        assert_eq!((&told["id"], &told["status"]), (&json!(world.id), &json!("stopped")));
        assert_eq!(told["bundle"], world.bundle().canonicalize().expect("a path").to_str().expect("utf-8"));
        knarr(world, &["delete", &world.id]).assert_fails_with("container does not exist");
    }

    fn delete_by_force(world) {
        leave_state(world, "poststop", "stopped");
        world.up_waiting();
        knarr(world, &["delete", "--force", &world.id]).assert_ok();
        assert_nothing_left(world);
        left_state(world, "stopped");
    }

    fn delete_kills_all_where_no_pid_namespace_does(world) {
        world.without_namespace("pid").probe(&["block", "echo", "ready", "wait"]);
        world.up().wait_for("ready");
        let pid = world.pid();
        knarr(world, &["kill", &world.id, "KILL"]).assert_ok();
        assert!(wait::gone_within(pid, wait::PATIENCE));
        knarr(world, &["delete", &world.id]).assert_ok();
        assert_nothing_left(world);
    }

    fn exec_enters_all_its_namespaces(world) {
        world.namespace("cgroup", None).set("/linux/seccomp", bundle::docker_profile()).up_waiting();
        let facts = knarr(world, &["exec", "--env", "A=b", &world.id, "/bin/probe", "facts"]).assert_ok().facts();
        let namespaces = facts["ns"].as_object().expect("namespaces");
        assert!(namespaces.len() >= 7, "all kinds");
        for (kind, inode) in namespaces {
            let link = fs::read_link(format!("/proc/{}/ns/{kind}", world.pid())).expect("a namespace");
            assert!(link.to_string_lossy().contains(&format!("[{inode}]")), "{kind}: {inode} is not {}", link.display());
        }
        assert_eq!(facts["seccomp"], 2, "the filter of the container is on");
        assert_eq!(facts["env"]["A"], "b");
        knarr(world, &["exec", &world.id, "/bin/sh", "-c", "exit 7"]).assert_code(7);
        let id = &world.id;
        knarr(world, &["exec", id, "/no/such/program"]).assert_code(255).assert_fails_with("no such file or directory");
    }

    fn exec_in_a_user_namespace(world) {
        world.user_namespace(100_000).up_waiting();
        let facts = knarr(world, &["exec", &world.id, "/bin/probe", "facts"]).assert_ok().facts();
        let link = fs::read_link(format!("/proc/{}/ns/user", world.pid())).expect("a namespace");
        assert!(link.to_string_lossy().contains(&format!("[{}]", facts["ns"]["user"])), "another user namespace");
    }

    fn pause_and_resume(world) {
        world.up_waiting();
        knarr(world, &["pause", &world.id]).assert_ok();
        assert_eq!((knarr_status(world).as_str(), world.status().as_str()), ("paused", "paused"));
        knarr(world, &["exec", &world.id, "/bin/true"]).assert_fails_with("cannot exec in a paused container");
        knarr(world, &["pause", &world.id]).assert_fails_with("container not running");
        knarr(world, &["resume", &world.id]).assert_ok();
        assert_eq!((knarr_status(world).as_str(), world.status().as_str()), ("running", "running"));
        world.call(&["pause", &world.id]).assert_ok();
        assert_eq!(knarr_status(world), "paused");
        knarr(world, &["delete", "--force", &world.id]).assert_ok();
        assert_nothing_left(world);
    }

    fn start_what_the_maker_created(world) {
        leave_state(world, "poststart", "started");
        world.probe(&["block", "echo", "ready", "wait"]);
        let created = world.create().assert_ok();
        assert_eq!(knarr_status(world), "created");
        // runc has run its hook by now; whoever starts the container must not run it again.
        let done = fs::remove_file(world.dir.join("started")).is_ok();
        assert_eq!(done, world.is_runc());
        knarr(world, &["start", &world.id]).assert_ok();
        created.wait_for("ready");
        assert_eq!((knarr_status(world).as_str(), world.status().as_str()), ("running", "running"));
        assert_eq!(world.dir.join("started").exists(), !world.is_runc());
        knarr(world, &["start", &world.id]).assert_fails_with("cannot start an already running container");
        assert!(!world.state_dir().join("exec.fifo").exists());
    }

    fn a_created_one_goes_at_once(world) {
        world.create().assert_ok();
        knarr(world, &["delete", &world.id]).assert_ok();
        assert_nothing_left(world);
    }

    fn one_that_died_before_start(world) {
        world.create().assert_ok();
        let pid = world.pid();
        knarr_integration::sys::kill(pid, libc::SIGKILL).expect("kill it");
        assert!(wait::gone_within(pid, wait::PATIENCE));
        assert_eq!(knarr_status(world), "stopped");
        knarr(world, &["start", &world.id]).assert_fails_with("cannot start a container that has stopped");
        knarr(world, &["delete", &world.id]).assert_ok();
        assert_nothing_left(world);
    }

    fn events_and_update(world) {
        world.up_waiting();
        let answer = knarr(world, &["events", "--stats", &world.id]).assert_ok();
        let stats: Value = serde_json::from_str(&answer.out).expect("JSON");
        assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!(world.id)));
        if world.is_v1() {
            assert_eq!(stats["data"]["pids"]["current"], 1, "{answer}");
            knarr(world, &["update", "--pids-limit", "77", &world.id]).assert_ok();
            let limit = fs::read_to_string(world.cgroup_dir("pids").join("pids.max")).expect("pids.max");
            assert_eq!(limit.trim(), "77");
        }
    }

    fn nothing_of_the_maker_s_is_written(world) {
        world.up_waiting();
        let before = files(&world.state_dir());
        let id = world.id.clone();
        for command in [&["state", &id][..], &["ps", &id], &["exec", &id, "/bin/true"], &["pause", &id],
            &["resume", &id], &["events", "--stats", &id]] {
            knarr(world, command).assert_ok();
        }
        if world.is_v1() {
            knarr(world, &["update", "--pids-limit", "77", &id]).assert_ok();
        }
        assert!(before == files(&world.state_dir()), "the state directory has changed");
        world.call(&["state", &id]).assert_ok();
        world.call(&["delete", "--force", &id]).assert_ok();
        assert_nothing_left(world);
    }

    fn an_id_in_use_is_taken(world) {
        world.up_waiting();
        knarr(world, &["create", &world.id]).assert_fails_with("container with given ID already exists");
    }
}

/// Containers in a scope of systemd's; crun puts their processes one cgroup further down.
mod by_systemd {
    use super::*;

    fn case(world: &mut World) {
        let scope = format!("knarr-{}.scope", world.id);
        world.set("/linux/cgroupsPath", format!("system.slice:knarr:{}", world.id));
        world.cgroup = format!("/system.slice/{scope}");
        world.probe(&["block", "echo", "ready", "wait"]).write_config();
        let mut running = world.begin(world.command(&["--systemd-cgroup", "create", &world.id]));
        running.end().assert_ok();
        // A container's mount of cgroup2 changes the options that all others show.
        world.accept_mounts();
        assert_eq!(knarr_status(world), "created");
        knarr(world, &["start", &world.id]).assert_ok();
        running.wait_for("ready");
        let id = world.id.clone();
        knarr(world, &["exec", &id, "/bin/sh", "-c", "exit 7"]).assert_code(7);
        knarr(world, &["pause", &id]).assert_ok();
        assert_eq!((knarr_status(world).as_str(), world.status().as_str()), ("paused", "paused"));
        knarr(world, &["resume", &id]).assert_ok();
        knarr(world, &["update", "--pids-limit", "77", &id]).assert_ok();
        let show = Command::new("systemctl")
            .args(["show", "--property=TasksMax", &scope])
            .output()
            .expect("systemctl");
        assert_eq!(String::from_utf8_lossy(&show.stdout).trim(), "TasksMax=77");
        knarr(world, &["delete", "--force", &id]).assert_ok();
        world.assert_nothing_left();
        let active = Command::new("systemctl").args(["is-active", &scope]).output().expect("systemctl");
        assert!(!active.status.success(), "the unit is left");
    }

    #[test]
    #[ignore = "run by make test-vm"]
    fn runc_v2() {
        play(concat!(module_path!(), "::runc"), Runtime::Runc, Layout::Unified, case);
    }

    #[test]
    #[ignore = "run by make test-vm"]
    fn crun_v2() {
        play(concat!(module_path!(), "::crun"), Runtime::Crun, Layout::Unified, case);
    }
}

/// The other way: containers of ours after going back to runc, which reads our state file.
mod back {
    use super::*;
    use knarr_integration::cases;

    fn runc(world: &World, args: &[&str]) -> Answer {
        world.call_by(Runtime::Runc, args)
    }

    cases! {
        knarr("it is about containers of ours") fn runc_takes_what_runs(world) {
            leave_state(world, "poststop", "stopped");
            world.set("/annotations", json!({"org.example.key": "a=b"})).up_waiting();
            let (ours, theirs) = (world.state(), state_by(world, Runtime::Runc));
            for key in ["id", "pid", "status", "bundle", "rootfs", "created", "annotations"] {
                assert_eq!(ours[key], theirs[key], "{key}");
            }
            assert_eq!(runc(world, &["list", "--quiet"]).assert_ok().out.trim(), world.id);
            assert_eq!(pids(&runc(world, &["ps", "--format", "json", &world.id]).assert_ok().out), [world.pid()]);
            runc(world, &["exec", &world.id, "/bin/sh", "-c", "exit 7"]).assert_code(7);
            runc(world, &["pause", &world.id]).assert_ok();
            assert_eq!(world.status(), "paused");
            runc(world, &["resume", &world.id]).assert_ok();
            assert_eq!(world.status(), "running");
            if world.is_v1() {
                runc(world, &["update", "--pids-limit", "77", &world.id]).assert_ok();
                let limit = fs::read_to_string(world.cgroup_dir("pids").join("pids.max")).expect("pids.max");
                assert_eq!(limit.trim(), "77");
                assert_eq!(world.exec(&[], &["/bin/sh", "-c", "exit 8"]).code(), 8);
            }
            runc(world, &["kill", &world.id, "KILL"]).assert_ok();
            world.wait_status("stopped");
            runc(world, &["delete", &world.id]).assert_ok();
            world.assert_nothing_left();
            assert_eq!(left_state(world, "stopped")["status"], "stopped");
        }

        knarr("it is about containers of ours") fn runc_removes_what_is_created(world) {
            world.create().assert_ok();
            assert_eq!(status_by(world, Runtime::Runc), "created");
            runc(world, &["delete", &world.id]).assert_ok();
            world.assert_nothing_left();
        }

        knarr("it is about containers of ours") fn crun_knows_nothing_of_them(world) {
            world.up_waiting();
            let answer = world.call_by(Runtime::Crun, &["state", &world.id]);
            answer.assert_fails_with("No such file or directory");
            assert_eq!(world.status(), "running");
        }
    }
}
