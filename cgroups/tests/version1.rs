//! Limits that bite on version 1. Where it is not mounted there is nothing to test here, and the tests say so.

#![allow(clippy::unwrap_used)]

mod world;

use knarr_cgroups::{Cgroup, DeviceRules, Hierarchies, Mode, OomNotice};
use world::{World, eventually, text};

/// Whether version 1's controller is mounted.
fn has(controller: &str) -> bool {
    let hierarchies = Hierarchies::discover().unwrap();
    let mounted = hierarchies.mode() != Mode::Unified
        && hierarchies.iter().any(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller));
    if !mounted {
        eprintln!("skipped: the {controller} controller of cgroup v1 is not mounted here");
    }
    mounted
}

#[test]
fn the_memory_limit_kills() {
    if !has("memory") {
        return;
    }
    let mut world = World::made(r#"{"memory":{"limit":16777216,"swap":16777216}}"#);
    let output = world.run("head -c 100000000 /dev/zero | tail -c 100000000 | wc -c");
    assert_eq!(output.stdout, b"0\n", "tail must hold all of it before it writes");
    assert_eq!(world.cgroup.oom_kills().unwrap(), 1);
}

#[test]
fn the_end_of_memory_and_of_the_cgroup_are_told() {
    if !has("memory") {
        return;
    }
    let mut world = World::made(r#"{"memory":{"limit":16777216,"swap":16777216}}"#);
    let watched = Cgroup::from_paths(world.cgroup.paths());
    let watch = watched.watch_oom().unwrap();
    world.run("head -c 100000000 /dev/zero | tail -c 100000000 | wc -c");
    assert_eq!(watch.read().unwrap(), OomNotice::Oom);
    world.cgroup.delete().unwrap();
    assert_eq!(watch.read().unwrap(), OomNotice::Gone);
}

#[test]
fn statistics_are_what_was_used() {
    if !has("memory") || !has("cpuacct") || !has("pids") {
        return;
    }
    let mut world = World::made(r#"{"memory":{"limit":67108864},"pids":{"limit":20}}"#);
    world.shell("head -c 20000000 /dev/zero | tail -c 20000000 | sleep 1000");
    world.go();
    eventually("20 MB are in use", || world.cgroup.stats().unwrap().memory.usage.usage >= 20_000_000);
    let stats = world.cgroup.stats().unwrap();
    assert_eq!(stats.memory.usage.limit, 67_108_864);
    assert!(stats.memory.usage.max >= stats.memory.usage.usage, "{stats:?}");
    assert!(stats.memory.raw["rss"] >= 16_000_000, "{stats:?}");
    assert_eq!(stats.pids.limit, 20);
    assert!((2..=4).contains(&stats.pids.current), "{stats:?}");
    assert!(stats.cpu.usage.percpu.iter().sum::<u64>() >= stats.cpu.usage.total, "{stats:?}");
    assert_eq!(stats.cpu.usage.percpu_user.len(), stats.cpu.usage.percpu.len());
    assert!(!stats.cpuset.cpus.is_empty(), "{stats:?}");
    assert_eq!(stats.cpuset.sched_relax_domain_level, -1);
}

#[test]
fn memory_limits_move_up_and_down_together() {
    if !has("memory") {
        return;
    }
    let world = World::made(r#"{"memory":{"limit":16777216,"swap":16777216}}"#);
    for (limit, swap) in
        [(33_554_432, 67_108_864), (8_388_608, 8_388_608), (67_108_864, 67_108_864), (4_194_304, 33_554_432)]
    {
        let json = format!(r#"{{"memory":{{"limit":{limit},"swap":{swap}}}}}"#);
        world.cgroup.apply(&world.limits_with(&json, DeviceRules::Keep)).unwrap();
        assert_eq!(world.read("memory", "memory.limit_in_bytes"), limit.to_string());
        assert_eq!(world.read("memory", "memory.memsw.limit_in_bytes"), swap.to_string());
    }
    world.cgroup.apply(&world.limits_with(r#"{"memory":{"limit":-1}}"#, DeviceRules::Keep)).unwrap();
    assert!(world.read("memory", "memory.limit_in_bytes").parse::<u64>().unwrap() > 1 << 60);
}

#[test]
fn a_memory_limit_below_what_is_used_is_refused_and_the_old_one_kept() {
    if !has("memory") {
        return;
    }
    let mut world = World::made(r#"{"memory":{"limit":67108864,"swap":67108864}}"#);
    world.shell("head -c 20000000 /dev/zero | tail -c 20000000 | sleep 1000");
    world.go();
    eventually("20 MB are in use", || world.cgroup.stats().unwrap().memory.usage.usage >= 20_000_000);
    let error = world
        .cgroup
        .apply(&world.limits_with(r#"{"memory":{"limit":1048576}}"#, DeviceRules::Keep))
        .unwrap_err();
    assert!(
        text(&error).starts_with("unable to set memory limit to 1048576 (current usage: "),
        "{}",
        text(&error)
    );
    assert_eq!(world.read("memory", "memory.limit_in_bytes"), "67108864");
}

#[test]
fn an_update_that_fails_half_way_changes_nothing() {
    if !has("memory") || !has("cpu") || !has("pids") {
        return;
    }
    let world = World::made(
        r#"{"memory":{"limit":67108864,"swap":67108864},"cpu":{"shares":512},"pids":{"limit":9}}"#,
    );
    // The shares are out of the kernel's range: they are found out after the memory limits are written.
    let json = r#"{"memory":{"limit":134217728,"swap":134217728},"cpu":{"shares":1},"pids":{"limit":5}}"#;
    let error = world.cgroup.update(&world.limits_with(json, DeviceRules::Keep)).unwrap_err();
    assert_eq!(text(&error), "the minimum allowed cpu-shares is 2");
    assert_eq!(world.read("memory", "memory.limit_in_bytes"), "67108864");
    assert_eq!(world.read("memory", "memory.memsw.limit_in_bytes"), "67108864");
    assert_eq!(world.read("cpu", "cpu.shares"), "512");
    assert_eq!(world.read("pids", "pids.max"), "9");
    let json = r#"{"memory":{"limit":134217728,"swap":134217728},"cpu":{"shares":1024},"pids":{"limit":5}}"#;
    world.cgroup.update(&world.limits_with(json, DeviceRules::Keep)).unwrap();
    assert_eq!(world.read("memory", "memory.limit_in_bytes"), "134217728");
    assert_eq!(world.read("pids", "pids.max"), "5");
}

#[test]
fn the_pids_limit_stops_forks() {
    if !has("pids") {
        return;
    }
    let mut world = World::made(r#"{"pids":{"limit":3}}"#);
    assert_eq!(world.read("pids", "pids.max"), "3");
    let output = world.run("sleep 1 & sleep 1 & sleep 1 & wait");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("fork"), "{stderr}");
    world.cgroup.apply(&world.limits_with(r#"{"pids":{"limit":-1}}"#, DeviceRules::Keep)).unwrap();
    assert_eq!(world.read("pids", "pids.max"), "max");
}

#[test]
fn cpu_limits_are_set_in_either_order_and_throttle() {
    if !has("cpu") {
        return;
    }
    let mut world = World::made(r#"{"cpu":{"shares":512,"quota":10000,"period":100000}}"#);
    assert_eq!(world.read("cpu", "cpu.shares"), "512");
    // A period below the quota's minimum ratio comes first, the quota that makes it valid second.
    world
        .cgroup
        .apply(&world.limits_with(r#"{"cpu":{"quota":1000,"period":5000}}"#, DeviceRules::Keep))
        .unwrap();
    assert_eq!(world.read("cpu", "cpu.cfs_quota_us"), "1000");
    assert_eq!(world.read("cpu", "cpu.cfs_period_us"), "5000");
    world.run("i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done");
    let stat = world.read("cpu", "cpu.stat");
    let throttled = stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")).unwrap();
    assert_ne!(throttled, "0", "{stat}");
}

#[test]
fn shares_that_the_kernel_clamps_are_refused() {
    if !has("cpu") {
        return;
    }
    let world = World::made("{}");
    let error =
        world.cgroup.apply(&world.limits_with(r#"{"cpu":{"shares":1}}"#, DeviceRules::Keep)).unwrap_err();
    assert_eq!(text(&error), "the minimum allowed cpu-shares is 2");
}

#[test]
fn an_empty_cpuset_is_filled_from_the_nearest_ancestor() {
    if !has("cpuset") {
        return;
    }
    let mut world = World::below("a/b");
    let limits = world.limits(r#"{"cpu":{"cpus":"0"}}"#);
    world.cgroup.create(&limits).unwrap();
    assert_eq!(world.read("cpuset", "cpuset.cpus"), "0");
    let root = std::fs::read_to_string("/sys/fs/cgroup/cpuset/cpuset.mems").unwrap();
    assert_eq!(world.read("cpuset", "cpuset.mems"), root.trim());
    let parent = world.path("cpuset").parent().unwrap().join("cpuset.mems");
    assert_eq!(std::fs::read_to_string(parent).unwrap(), root);
    world.delete_with_parents();
}

#[test]
fn real_time_is_had_in_nested_cgroups_too() {
    if !has("cpu") {
        return;
    }
    let mut world = World::below("a/b");
    if !world.path("cpu").ancestors().nth(3).unwrap().join("cpu.rt_runtime_us").exists() {
        eprintln!("skipped: this kernel has no real-time groups");
        return;
    }
    let limits = world.limits(r#"{"cpu":{"realtimeRuntime":2000,"realtimePeriod":500000}}"#);
    world.cgroup.create(&limits).unwrap();
    let above = world.path("cpu").parent().unwrap().join("cpu.rt_runtime_us");
    assert_eq!(std::fs::read_to_string(above).unwrap(), "2000\n");
    assert_eq!(world.read("cpu", "cpu.rt_runtime_us"), "2000");
    assert_eq!(world.read("cpu", "cpu.rt_period_us"), "500000");
    world.delete_with_parents();
}

#[test]
fn devices_not_listed_cannot_be_opened() {
    if !has("devices") {
        return;
    }
    let mut world = World::made("{}");
    let probe = "head -c1 /dev/zero >/dev/null && { : </dev/kmsg; } 2>/dev/null && echo open";
    assert_eq!(world.run(probe).stdout, b"");
    let allow = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#;
    world.cgroup.apply(&world.limits(allow)).unwrap();
    assert!(world.read("devices", "devices.list").lines().any(|line| line == "c 1:11 r"));
    assert_eq!(world.run(probe).stdout, b"open\n");
    world.cgroup.apply(&world.limits("{}")).unwrap();
    assert_eq!(world.run(probe).stdout, b"");
    world.cgroup.apply(&world.limits(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#)).unwrap();
    assert_eq!(world.read("devices", "devices.list"), "a *:* rwm");
    assert_eq!(world.run(probe).stdout, b"open\n");
}

#[test]
fn a_controller_that_is_not_mounted_is_missed_only_when_needed() {
    let mut world = World::new();
    if world.hierarchies.mode() == Mode::Unified || has("net_cls") {
        eprintln!("skipped: net_cls of cgroup v1 is mounted, or version 1 is not in use");
        return;
    }
    let limits = world.limits(r#"{"network":{"classID":1}}"#);
    world.cgroup.create(&limits).unwrap();
    assert_eq!(
        text(&world.cgroup.apply(&limits).unwrap_err()),
        "cannot set net_cls limit: container could not join or create cgroup"
    );
}
