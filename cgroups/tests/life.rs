//! The life of a cgroup on whatever this machine has mounted: v1, hybrid or pure v2.

#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use knarr_cgroups::{Already, Cgroup, Limits, Mode, Request};
use rustix::process::{Pid, Signal};
use world::{World, cgroups_of, text, waiting_shell};

#[test]
fn a_process_joins_every_hierarchy_and_everything_is_deleted() {
    let mut world = World::made("{}");
    let pid = world.shell("exit 0");
    let cgroups = cgroups_of(pid);
    for controller in world.cgroup.paths().keys() {
        // Controllers that are mounted nowhere have lines as well.
        let line = cgroups
            .lines()
            .find(|line| line.split(':').nth(1).unwrap().split(',').any(|name| name == controller));
        assert!(line.is_some_and(|line| line.ends_with(&world.top)), "{controller} in {cgroups}");
    }
    assert_eq!(world.cgroup.processes().unwrap(), [pid]);
    assert_eq!(world.cgroup.all_processes().unwrap(), [pid]);
    world.go();
    assert!(world.wait().success());
    world.cgroup.delete().unwrap();
    world.assert_gone();
}

#[test]
fn the_state_files_paths_reopen_it() {
    let mut world = World::made("{}");
    let pid = world.shell("exit 0");
    let reopened = Cgroup::from_paths(world.cgroup.paths());
    assert_eq!(reopened.processes().unwrap(), [pid]);
    reopened.kill(Signal::KILL).unwrap();
    world.wait();
    reopened.delete().unwrap();
    world.assert_gone();
}

#[test]
fn a_spinner_stops_while_frozen() {
    World::made("{}").assert_freezes_a_spinner();
}

#[test]
fn a_frozen_cgroup_can_be_killed_and_deleted() {
    let mut world = World::made("{}");
    world.shell("sleep 1000");
    world.go();
    world.cgroup.freeze().unwrap();
    world.cgroup.kill(Signal::KILL).unwrap();
    assert!(!world.wait().success());
    world.cgroup.delete().unwrap();
    world.assert_gone();
}

#[test]
fn another_signal_leaves_a_frozen_cgroup_frozen() {
    let mut world = World::made("{}");
    world.shell("sleep 1000");
    world.cgroup.freeze().unwrap();
    world.cgroup.kill(Signal::TERM).unwrap();
    assert!(world.cgroup.is_frozen().unwrap());
    // Version 2 lets a frozen process die of what it does not handle.
    if world.hierarchies.mode() != Mode::Unified {
        assert_eq!(world.cgroup.processes().unwrap().len(), 1);
    }
    world.cgroup.thaw().unwrap();
    assert!(!world.wait().success());
}

#[test]
fn kill_reaches_those_that_fork_and_those_below() {
    let mut world = World::made("{}");
    let below =
        |world: &World| -> Vec<_> { world.cgroup.paths().values().map(|path| path.join("a/b")).collect() };
    for path in below(&world) {
        std::fs::create_dir_all(path).unwrap();
    }
    fill_cpusets(&world);
    let paths = world.cgroup.paths().iter().map(|(name, path)| (name.clone(), path.join("a/b"))).collect();
    let mut nested = waiting_shell("sleep 1000");
    Cgroup::from_paths(&paths).join(Pid::from_child(&nested), Already::Nowhere).unwrap();
    world.fork_without_end();
    let inner = Pid::from_child(&nested);
    assert!(world.cgroup.all_processes().unwrap().contains(&inner));
    assert!(!world.cgroup.processes().unwrap().contains(&inner));
    world.cgroup.kill(Signal::KILL).unwrap();
    // Deleted at once: the dying are waited for, the nested directories go first.
    world.cgroup.delete().unwrap();
    world.assert_gone();
    assert!(!nested.wait().unwrap().success());
}

/// Version 1 takes no process into an empty cpuset; whoever makes cgroups in a container has to know.
fn fill_cpusets(world: &World) {
    let Some(path) = world.cgroup.paths().get("cpuset") else {
        return;
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let value = std::fs::read_to_string(path.join(file)).unwrap();
        for below in ["a", "a/b"] {
            std::fs::write(path.join(below).join(file), &value).unwrap();
        }
    }
}

#[test]
fn ten_deletions_of_the_freshly_killed() {
    for _ in 0..10 {
        let mut world = World::made("{}");
        for _ in 0..5 {
            world.shell("sleep 1000");
        }
        world.cgroup.kill(Signal::KILL).unwrap();
        world.cgroup.delete().unwrap();
        world.assert_gone();
    }
}

#[test]
fn deleting_the_living_fails_within_its_deadline_and_says_which() {
    let mut world = World::made("{}");
    world.shell("sleep 1000");
    let begin = Instant::now();
    let error = world.cgroup.delete().unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(text(&error).ends_with("device or resource busy"), "{}", text(&error));
    assert!(text(&error).contains(&world.top), "{}", text(&error));
}

#[test]
fn nested_directories_are_made_and_usable() {
    let mut world = World::below("x/../y/z");
    world.cgroup.create(&Limits::default()).unwrap();
    assert!(world.path("devices").ends_with(format!("{}/y/z", &world.top[1..])));
    let pid = world.shell("exit 0");
    assert_eq!(world.cgroup.processes().unwrap(), [pid]);
    world.go();
    world.wait();
    world.delete_with_parents();
}

#[test]
fn joining_what_is_not_there_names_process_and_cgroup() {
    let world = World::made("{}");
    let child = world.cgroup.child(&BTreeMap::from([(String::new(), Path::new("no"))])).unwrap();
    let pid = rustix::process::getpid();
    let text = text(&child.join(pid, Already::Nowhere).unwrap_err());
    assert!(text.starts_with(&format!("error adding pid {} to cgroups /", pid.as_raw_nonzero())), "{text}");
    assert!(text.ends_with("/no/cgroup.procs: no such file or directory"), "{text}");
}

#[test]
fn a_disabled_cgroup_does_nothing() {
    let world = World::new();
    let request = Request { driver: knarr_cgroups::Driver::Disabled, ..Request::default() };
    let mut cgroup = Cgroup::locate(&world.hierarchies, &request).unwrap();
    let limits = world.limits(r#"{"pids":{"limit":5}}"#);
    cgroup.create(&limits).unwrap();
    cgroup.apply(&limits).unwrap();
    cgroup.join(rustix::process::getpid(), Already::Nowhere).unwrap();
    cgroup.freeze().unwrap();
    cgroup.thaw().unwrap();
    cgroup.kill(Signal::KILL).unwrap();
    cgroup.delete().unwrap();
    assert!(cgroup.paths().is_empty());
}
