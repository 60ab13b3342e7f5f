//! What needs a machine of its own: cgroup v2 with every controller, systemd, and the session of a user without rights.
//! `make test-vm` runs these there; elsewhere they are ignored.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

mod service;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use knarr_integration::layout::SESSION;
use knarr_integration::{Answer, Layout, Loop, Runtime, World, eventually, json, leftovers::MARK, play};

/// Each case runs with both runtimes, in the layout that it names.
macro_rules! cases {
    ($($layout:ident fn $name:ident($world:ident) $body:block)*) => {$(
        mod $name {
            use super::*;
            fn case($world: &mut World) $body
            #[test]
            #[ignore = "run by make test-vm"]
            fn knarr() {
                play(concat!(module_path!(), "::knarr"), Runtime::Knarr, Layout::$layout, case);
            }
            #[test]
            #[ignore = "run by make test-vm"]
            fn runc() {
                play(concat!(module_path!(), "::runc"), Runtime::Runc, Layout::$layout, case);
            }
        }
    )*};
}

/// The content of a file of the container's cgroup.
#[track_caller]
fn value(world: &World, file: &str) -> String {
    let path = world.cgroup_dir("").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// The number behind `key` in a flat keyed file of the container's cgroup.
#[track_caller]
fn count(world: &World, file: &str, key: &str) -> u64 {
    let text = value(world, file);
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {key} in {file}: {text}"))
}

/// What a tool of the machine prints.
#[track_caller]
fn tool(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().expect("start a tool");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("utf-8")
}

/// The name of the unit that systemd is asked for.
fn scope(world: &World) -> String {
    format!("knarr-{}.scope", world.id)
}

/// `run` by the user, from a delegated service of the user's own systemd.
fn run_as_user(world: &World, flags: &[&str]) -> Answer {
    world.write_config();
    world.give_to_user(&world.dir);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups", "systemd-run", "--user", "--quiet"]);
    command.args(["--wait", "--pipe", "--collect", "--property=Delegate=yes"]);
    command.arg(format!("--working-directory={}", world.bundle().display()));
    command.arg(format!("--setenv={MARK}={}", world.id));
    command.arg("--setenv=XDG_RUNTIME_DIR=/run/user/1000");
    command.arg(world.program()).arg("--root").arg(world.root()).args(flags).args(["run", &world.id]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("XDG_RUNTIME_DIR", "/run/user/1000");
    command.env(MARK, &world.id);
    world.finish(command)
}

/// A link of the dummy driver; gone when dropped, with the namespace it is in or here.
struct Dummy(String);

impl Dummy {
    fn new(world: &World) -> Self {
        // An interface's name has 15 bytes at most.
        let name = format!("kt{}", world.id.trim_start_matches("knarr-test-").replace('-', "x"));
        tool(&["ip", "link", "add", &name, "address", "00:11:22:33:44:55", "mtu", "1789", "type", "dummy"]);
        tool(&["ip", "address", "add", "169.254.169.77/32", "dev", &name]);
        Self(name)
    }

    fn is_here(&self) -> bool {
        fs::exists(format!("/sys/class/net/{}", self.0)).unwrap_or(false)
    }
}

impl Drop for Dummy {
    fn drop(&mut self) {
        if self.is_here() {
            tool(&["ip", "link", "delete", &self.0]);
        }
    }
}

/// What `ip` says of a link in the container's network namespace.
fn link_in_container(world: &World, name: &str) -> String {
    let network = format!("--net=/proc/{}/ns/net", world.pid());
    tool(&["nsenter", &network, "ip", "address", "show", "dev", name])
}

cases! {
    Unified fn a_memory_limit_kills(world) {
        world.set("/linux/resources/memory", json!({"limit": 24 << 20})).up_waiting();
        world.exec_probe(&[], &["touch-memory", "200"]);
        assert!(count(world, "memory.events", "oom_kill ") > 0);
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    Unified fn a_pids_limit_stops_forks(world) {
        world.set("/linux/resources/pids", json!({"limit": 10})).probe(&["fork-many", "20"]);
        let made = world.run().assert_ok().act(0)["value"].as_u64().expect("a count");
        assert_eq!(made, 9, "the program itself and nine more");
        world.assert_nothing_left();
    }

    Unified fn a_cpu_quota_throttles(world) {
        world.set("/linux/resources/cpu", json!({"quota": 5_000, "period": 50_000}));
        world.args(&["/bin/sh", "-c", "while :; do :; done"]).up();
        assert_eq!(value(world, "cpu.max"), "5000 50000");
        eventually("throttled periods", || (count(world, "cpu.stat", "nr_throttled ") > 2).then_some(()));
    }

    Unified fn a_cpu_set_is_the_affinity(world) {
        world.set("/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
        assert_eq!(world.run_facts()["affinity"], "0");
    }

    Unified fn a_write_limit_slows_a_device(world) {
        let device = Loop::new(world);
        let (path, minor) = (device.path(), device.minor());
        world.push("/linux/devices", json!({"path": path, "type": "b", "major": 7, "minor": minor}));
        let allow = json!({"allow": true, "type": "b", "major": 7, "minor": minor, "access": "rw"});
        world.push("/linux/resources/devices", allow);
        let rate = json!([{"major": 7, "minor": minor, "rate": 256 << 10}]);
        world.set("/linux/resources/blockIO/throttleWriteBpsDevice", rate).up_waiting();
        let line = format!("7:{minor} rbps=max wbps=262144 riops=max wiops=max");
        assert_eq!(value(world, "io.max"), line);
        let begin = Instant::now();
        let output = format!("of={path}");
        let dd = ["/bin/busybox", "dd", "if=/dev/zero", &output, "bs=64k", "count=12", "oflag=direct"];
        world.exec(&[], &dd).assert_ok();
        assert!(begin.elapsed() > Duration::from_secs(2), "768 KiB took {:?}", begin.elapsed());
        world.delete_force().assert_ok();
    }

    Systemd fn systemd_makes_the_scope_and_knows_the_limits(world) {
        world.set("/linux/resources/memory", json!({"limit": 64 << 20}));
        world.set("/linux/resources/pids", json!({"limit": 20}));
        world.up_waiting();
        let pid = world.pid().to_string();
        assert_eq!(value(world, "cgroup.procs"), pid);
        assert_eq!((value(world, "memory.max"), value(world, "pids.max")), ("67108864".into(), "20".into()));
        let shown = tool(&["systemctl", "show", &scope(world), "--property=MemoryMax,TasksMax,Delegate,Slice"]);
        for line in ["MemoryMax=67108864", "TasksMax=20", "Delegate=yes", "Slice=system.slice"] {
            assert!(shown.lines().any(|other| other == line), "{line} is not in {shown}");
        }
        world.stop();
        world.delete().assert_ok();
        world.assert_nothing_left();
        let state = tool(&["systemctl", "show", &scope(world), "--property=LoadState"]);
        assert_eq!(state, "LoadState=not-found\n");
    }

    Systemd fn systemd_keeps_the_device_rules_after_a_reload(world) {
        // Anybody may open it whom the rules let.
        world.push("/linux/devices", json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}));
        let allow = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"});
        world.push("/linux/resources/devices", allow);
        world.up_waiting();
        let verbs = ["open-read", "/dev/fuse", "open-write", "/dev/fuse", "open-write", "/dev/null"];
        for _ in 0..2 {
            let answer = world.exec_probe(&[], &verbs).assert_ok();
            let allowed = [0, 1, 2].map(|index| answer.act(index)["ok"] == true);
            assert_eq!(allowed, [true, false, true], "{answer}");
            tool(&["systemctl", "daemon-reload"]);
        }
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    Systemd fn systemd_ends_idleness_for_a_weight(world) {
        if world.is_runc() {
            return; // runc 1.1 knows no idleness
        }
        world.up_waiting();
        let update = |flags: &[&str]| world.call(&[&["update"], flags, &[world.id.as_str()]].concat()).assert_ok();
        let told = update(&["--cpu-share", "200", "--cpu-idle", "1"]).said();
        assert!(told.contains("unable to apply both CPUWeight and CpuIdle to systemd"), "{told}");
        assert_eq!(value(world, "cpu.idle"), "1");
        update(&["--cpu-share", "2048"]);
        assert_eq!((value(world, "cpu.idle").as_str(), value(world, "cpu.weight").as_str()), ("0", "174"));
    }

    Systemd fn systemd_counts_what_exec_starts(world) {
        world.up_waiting();
        let facts = world.exec_probe(&[], &["facts"]).assert_ok().facts();
        assert_eq!(facts["cgroup"], format!("0::{}\n", world.cgroup));
    }

    Systemd fn systemd_stops_a_container_with_its_unit(world) {
        world.up_waiting();
        tool(&["systemctl", "stop", &scope(world)]);
        world.wait_status("stopped");
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    Unified fn a_user_has_limits_in_a_delegated_cgroup(world) {
        world.rootless().namespace("cgroup", None);
        world.cgroup = format!("{SESSION}/app.slice/{}", world.id);
        world.set("/linux/cgroupsPath", world.cgroup.clone());
        world.set("/linux/resources/pids", json!({"limit": 10}));
        world.probe(&["read", "/sys/fs/cgroup/pids.max", "fork-many", "20"]);
        let answer = run_as_user(world, &[]).assert_ok();
        assert_eq!(answer.act(0)["value"], "10\n", "{answer}");
        assert_eq!(answer.act(1)["value"], 9, "{answer}");
        world.assert_nothing_left();
    }

    Unified fn a_user_has_limits_from_the_own_systemd(world) {
        world.rootless().namespace("cgroup", None);
        let (path, cgroup) = Layout::User.place(&world.id);
        world.set("/linux/cgroupsPath", path);
        world.cgroup = cgroup;
        world.set("/linux/resources/memory", json!({"limit": 48 << 20}));
        world.probe(&["read", "/sys/fs/cgroup/memory.max", "read", "/proc/self/uid_map"]);
        let answer = run_as_user(world, &["--systemd-cgroup"]).assert_ok();
        assert_eq!(answer.act(0)["value"], "50331648\n", "{answer}");
        world.assert_nothing_left();
    }

    Unified fn a_user_without_a_cgroup_is_refused_limits(world) {
        world.rootless().namespace("cgroup", None);
        world.set("/linux/resources/pids", json!({"limit": 10}));
        let answer = run_as_user(world, &[]);
        assert!(!answer.status.success(), "{answer}");
        assert!(answer.said().contains("permission denied") || answer.said().contains("rootless needs"), "{answer}");
        world.assert_nothing_left();
    }
}

knarr_integration::cases! {
    knarr_machine("runc 1.1 has no network devices") fn a_network_device_moves_in_with_its_addresses(world) {
        let dummy = Dummy::new(world);
        // The first of cgroup2 gives the host's other options.
        world.without_mount("/sys/fs/cgroup");
        world.set(&format!("/linux/netDevices/{}", dummy.0), json!({"name": "eth7"})).up_waiting();
        assert!(!dummy.is_here());
        let shown = link_in_container(world, "eth7");
        for text in ["mtu 1789", "link/ether 00:11:22:33:44:55", "inet 169.254.169.77/32", "UP"] {
            assert!(shown.contains(text), "{text} is not in {shown}");
        }
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }
}
