//! `knarr doctor`: its report has one shape, and what is taken away shows in it.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use knarr_integration::{Answer, Value, World, bundle, cases, json, leftovers};
use rustix::mount::{MountFlags, mount, mount_remount};

/// What `doctor --format json` says, after its shape was looked at.
#[track_caller]
fn report(answer: &Answer) -> Value {
    let report: Value = serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error}: {answer}"));
    let checks = report["checks"].as_array().expect("checks");
    let mut names = BTreeSet::new();
    for check in checks {
        let fields: Vec<&str> = check.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(fields, ["advice", "effect", "found", "name", "status"], "{check}");
        let text = |key: &str| check[key].as_str().unwrap_or_else(|| panic!("{key} of {check}"));
        assert!(["ok", "fallback", "missing", "broken"].contains(&text("status")), "{check}");
        assert!(!text("found").is_empty() && names.insert(text("name")), "{check}");
        assert_eq!(text("effect").is_empty(), text("status") == "ok", "{check}");
    }
    let broken = checks.iter().any(|check| check["status"] == "broken");
    assert_eq!((report["able"].as_bool(), answer.code()), (Some(!broken), i32::from(broken)), "{answer}");
    report
}

#[track_caller]
fn check<'r>(report: &'r Value, name: &str) -> &'r Value {
    let found = report["checks"].as_array().into_iter().flatten().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name}: {report}"))
}

#[track_caller]
fn assert_check(report: &Value, name: &str, status: &str, part: &str) {
    let check = check(report, name);
    assert_eq!(check["status"], status, "{check}");
    assert!(check.to_string().contains(part), "`{part}` in {check}");
}

#[track_caller]
fn doctor(world: &World) -> Value {
    report(&world.call(&["doctor", "--format", "json"]))
}

/// The same behind other programs, which take something away first.
#[track_caller]
fn doctor_behind(world: &World, words: &[&str]) -> Value {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .arg(world.program())
        .arg("--root")
        .arg(world.root())
        .args(["doctor", "--format", "json"]);
    command.env(leftovers::MARK, &world.id);
    report(&world.finish(command))
}

cases! {
    knarr("the command is ours") fn a_machine_that_runs_these_tests_is_well(world) {
        let report = doctor(world);
        assert_eq!(report["able"], true, "{report}");
        for name in ["kernel", "namespaces", "user namespace", "pidfd", "mount interface", "mount_setattr", "openat2",
            "close_range", "cgroup layout", "cgroup of version 2", "state directory"] {
            assert_eq!(check(&report, name)["status"], "ok", "{report}");
        }
        let layout = if world.is_v1() { "version 1 with " } else { "version 2" };
        assert_check(&report, "cgroup layout", "ok", layout);
        world.assert_nothing_left();
    }

    knarr("the command is ours") fn the_table_ends_with_the_verdict(world) {
        let answer = world.call(&["doctor"]).assert_ok();
        assert!(answer.out.ends_with("\nContainers can be made.\n"), "{answer}");
        assert!(answer.out.starts_with("ok        kernel                  "), "{answer}");
        let again = world.call(&["doctor", "--format", "yaml"]);
        again.assert_fails_with("invalid format option");
    }

    knarr_v2("version 1 keeps the controllers of this machine") fn controllers_that_are_elsewhere(world) {
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("the list");
        let missing = !controllers.split_whitespace().any(|name| name == "pids");
        let report = doctor(world);
        assert_eq!(check(&report, "cgroup controllers")["status"] == "missing", missing, "{report}");
        assert_eq!(check(&report, "cgroup controllers")["advice"].as_str().expect("text").contains("pids"), missing);
    }

    knarr_v2("one mount is quickly made read-only") fn a_read_only_hierarchy(world) {
        mount_remount("/sys/fs/cgroup", MountFlags::BIND | MountFlags::RDONLY, "").expect("remount");
        world.accept_mounts();
        let report = doctor(world);
        assert_check(&report, "cgroup of version 2", "broken", "read-only file system");
        assert_eq!(report["able"], false);
    }

    knarr("the command is ours") fn nobody(world) {
        let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        let report = doctor_behind(world, &words);
        assert_check(&report, "state directory", "broken", "permission denied");
        fs::set_permissions(&world.dir, fs::Permissions::from_mode(0o777)).expect("a mode");
        let report = doctor_behind(world, &words);
        assert_eq!(report["able"], true, "{report}");
        assert_check(&report, "cgroup of version 2", "missing", "permission denied");
        assert_check(&report, "/etc/subuid", "missing", "usermod");
        assert_check(&report, "sealed executable", "fallback", "memfd");
    }

    knarr("the command is ours") fn without_the_helpers(world) {
        let report = doctor_behind(world, &["env", "PATH=/nowhere"]);
        assert_check(&report, "newuidmap", "missing", "package uidmap");
        assert_check(&report, "criu", "missing", "run criu: no such file or directory");
    }

    knarr("the command is ours") fn no_more_user_namespaces(world) {
        let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
        let report = doctor_behind(world, &["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]);
        assert_check(&report, "user namespace", "missing", "a limit on namespaces");
    }

    knarr("the command is ours") fn a_masked_proc(world) {
        mount("none", "/proc/fs", "tmpfs", MountFlags::empty(), None).expect("a mask");
        world.accept_mounts();
        let report = doctor(world);
        assert_check(&report, "proc in user namespace", "missing", "no masks over it");
        assert_check(&report, "user namespace", "ok", "made");
    }

    knarr("the command is ours") fn a_full_state_directory(world) {
        let root = world.folder("state");
        mount("tmpfs", &root, "tmpfs", MountFlags::empty(), Some(c"nr_inodes=1")).expect("a small one");
        world.accept_mounts();
        assert_check(&doctor(world), "state directory", "broken", "no space left on device");
    }

    /// In a container, behind a filter that knows not all calls, as on an old kernel.
    knarr("the command is ours") fn inside_a_container(world) {
        bundle::copy_program(world.program(), &world.rootfs().join("bin/knarr")).expect("copy");
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["openat2", "close_range"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["mount_setattr"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]});
        world.set("/linux/seccomp", filter).args(&["/bin/knarr", "doctor", "--format", "json"]);
        let report = report(&world.run());
        assert_check(&report, "openat2", "fallback", "function not implemented");
        assert_check(&report, "close_range", "fallback", "function not implemented");
        assert_check(&report, "namespaces", "broken", "namespaces may not be made here");
        assert_check(&report, "mount_setattr", "broken", "operation not permitted");
        assert_eq!(report["able"], false);
    }
}
