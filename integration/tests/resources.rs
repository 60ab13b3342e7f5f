//! Every field of `linux.resources`, and what the files of the cgroup say then: config-linux.md of the runtime
//! specification on one side, `cgroup-v1/` and `cgroup-v2.rst` of the kernel's admin-guide on the other.
//!
//! That the limits bite is tested beside what they limit; devices have a file of their own.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;

use knarr_integration::{Loop, Value, World, cases, json, layout};

const UNLIMITED: &str = "9223372036854771712";

/// Runs a container with `linux.resources.FIELD` set and looks for each `file=line` in its cgroup; on v1 the
/// controller stands before the file: `controller/file=line`.
#[track_caller]
fn sets(world: &mut World, field: &str, value: &Value, v1: &[&str], v2: &[&str]) {
    let expected = if world.is_v1() { v1 } else { v2 };
    assert!(!expected.is_empty(), "{field}: nothing to look for");
    world.set("/linux/resources", json!({"devices": [{"allow": false, "access": "rwm"}]}));
    world.set(&format!("/linux/resources/{field}"), value.clone()).up_waiting();
    for entry in expected {
        let (place, line) = entry.split_once('=').expect("file=line");
        let (controller, file) = place.split_once('/').unwrap_or(("", place));
        let path = world.cgroup_dir(controller).join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.lines().any(|one| one == line), "{field} {value}: {place} says {text:?}, not {line:?}");
    }
    world.delete_force().assert_ok();
    world.assert_nothing_left();
}

/// Mounts what the machine has not, in this test's mount namespace. An error: cgroup2 holds a controller, and lets it go
/// when the last of its cgroups is gone.
fn mount_v1(world: &mut World, controllers: &[&str]) -> std::io::Result<()> {
    layout::mount_again(&world.dir.join("cgroup"));
    let mounted = controllers.iter().try_for_each(|controller| layout::mount_v1(controller));
    world.accept_mounts();
    mounted
}

cases! {
    limits fn memory(world) {
        let bytes = |mebibytes: i64| mebibytes << 20;
        sets(world, "memory", &json!({"limit": bytes(64)}),
            &["memory/memory.limit_in_bytes=67108864"], &["memory.max=67108864", "memory.swap.max=max"]);
        sets(world, "memory", &json!({"limit": bytes(64), "reservation": bytes(32), "swap": bytes(96)}),
            &["memory/memory.limit_in_bytes=67108864", "memory/memory.soft_limit_in_bytes=33554432",
                "memory/memory.memsw.limit_in_bytes=100663296"],
            &["memory.max=67108864", "memory.low=33554432", "memory.swap.max=33554432"]);
        sets(world, "memory", &json!({"limit": bytes(64), "swap": bytes(64), "checkBeforeUpdate": true}),
            &["memory/memory.memsw.limit_in_bytes=67108864"], &["memory.swap.max=0"]);
        sets(world, "memory", &json!({"limit": bytes(64), "swap": -1}),
            &[&format!("memory/memory.memsw.limit_in_bytes={UNLIMITED}")], &["memory.swap.max=max"]);
        sets(world, "memory", &json!({"limit": -1}),
            &[&format!("memory/memory.limit_in_bytes={UNLIMITED}"),
                &format!("memory/memory.memsw.limit_in_bytes={UNLIMITED}")],
            &["memory.max=max", "memory.swap.max=max"]);
    }

    v1 fn memory_of_v1_alone(world) {
        sets(world, "memory", &json!({"swappiness": 17}), &["memory/memory.swappiness=17"], &[]);
        sets(world, "memory", &json!({"disableOOMKiller": true}), &["memory/memory.oom_control=oom_kill_disable 1"], &[]);
        sets(world, "memory", &json!({"disableOOMKiller": false}), &["memory/memory.oom_control=oom_kill_disable 0"], &[]);
        sets(world, "memory", &json!({"useHierarchy": true}), &["memory/memory.use_hierarchy=1"], &[]);
    }

    limits fn cpu_quota_and_period(world) {
        sets(world, "cpu", &json!({"quota": 20_000, "period": 50_000}),
            &["cpu/cpu.cfs_quota_us=20000", "cpu/cpu.cfs_period_us=50000"], &["cpu.max=20000 50000"]);
        sets(world, "cpu", &json!({"quota": 20_000}),
            &["cpu/cpu.cfs_quota_us=20000", "cpu/cpu.cfs_period_us=100000"], &["cpu.max=20000 100000"]);
        sets(world, "cpu", &json!({"quota": -1, "period": 50_000}),
            &["cpu/cpu.cfs_quota_us=-1", "cpu/cpu.cfs_period_us=50000"], &["cpu.max=max 50000"]);
    }

    not_runc_v2_limits("runc 1.1 has another curve") fn cpu_shares(world) {
        for (shares, weight) in [(2, 1), (321, 41), (1024, 100), (262_144, 10_000)] {
            sets(world, "cpu", &json!({"shares": shares}),
                &[&format!("cpu/cpu.shares={shares}")], &[&format!("cpu.weight={weight}")]);
        }
    }

    knarr_limits("runc 1.1 does not know these") fn cpu_burst_and_idle(world) {
        sets(world, "cpu", &json!({"quota": 20_000, "period": 50_000, "burst": 10_000}),
            &["cpu/cpu.cfs_burst_us=10000", "cpu/cpu.cfs_quota_us=20000"], &["cpu.max.burst=10000", "cpu.max=20000 50000"]);
        sets(world, "cpu", &json!({"idle": 1}), &["cpu/cpu.idle=1"], &["cpu.idle=1"]);
    }

    v1 fn cpu_realtime(world) {
        if !world.layout.directory("cpu", "").join("cpu.rt_runtime_us").exists() {
            world.skip("this kernel has no real-time groups");
        }
        sets(world, "cpu", &json!({"realtimeRuntime": 5_000, "realtimePeriod": 500_000}),
            &["cpu/cpu.rt_runtime_us=5000", "cpu/cpu.rt_period_us=500000"], &[]);
    }

    limits fn cpu_sets(world) {
        sets(world, "cpu", &json!({"cpus": "0", "mems": "0"}),
            &["cpuset/cpuset.cpus=0", "cpuset/cpuset.mems=0"], &["cpuset.cpus=0", "cpuset.mems=0"]);
    }

    limits fn pids(world) {
        sets(world, "pids", &json!({"limit": 20}), &["pids/pids.max=20"], &["pids.max=20"]);
        sets(world, "pids", &json!({"limit": -1}), &["pids/pids.max=max"], &["pids.max=max"]);
    }

    limits fn block_io_weight(world) {
        let weight = json!({"weight": 300});
        sets(world, "blockIO", &weight, &["blkio/blkio.bfq.weight=300"], &["io.weight=default 2930"]);
    }

    v1 fn block_io_weight_of_a_device(world) {
        let device = Loop::new(world);
        device.schedule_by_bfq();
        let weight = json!([{"major": 7, "minor": device.minor(), "weight": 400}]);
        let line = format!("blkio/blkio.bfq.weight_device=7:{} 400", device.minor());
        sets(world, "blockIO", &json!({"weightDevice": weight}), &[&line], &[]);
    }

    v1 fn block_io_leaf_weights_are_gone_from_the_kernel(world) {
        world.set("/linux/resources/blockIO", json!({"leafWeight": 300}));
        world.run().assert_fails_with("blkio.leaf_weight");
        world.assert_nothing_left();
    }

    limits fn block_io_rates(world) {
        let device = Loop::new(world);
        let number = format!("7:{}", device.minor());
        let rate = |rate: u64| json!([{"major": 7, "minor": device.minor(), "rate": rate}]);
        let line = |file: &str, rate: u64| format!("blkio/blkio.throttle.{file}_device={number} {rate}");
        let v1 = [line("read_bps", 4_194_304), line("write_bps", 2_097_152), line("read_iops", 400), line("write_iops", 200)];
        let rates = json!({
            "throttleReadBpsDevice": rate(4_194_304), "throttleWriteBpsDevice": rate(2_097_152),
            "throttleReadIOPSDevice": rate(400), "throttleWriteIOPSDevice": rate(200),
        });
        sets(world, "blockIO", &rates, &v1.each_ref().map(String::as_str),
            &[&format!("io.max={number} rbps=4194304 wbps=2097152 riops=400 wiops=200")]);
    }

    v1 fn huge_pages_of_v1(world) {
        let limits = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
        if mount_v1(world, &["hugetlb"]).is_err() {
            world.set("/linux/resources/hugepageLimits", limits);
            let text = "cannot set hugetlb limit: container could not join or create cgroup";
            world.run().assert_code(1).assert_fails_with(text);
            return world.assert_nothing_left();
        }
        sets(world, "hugepageLimits", &limits,
            &["hugetlb/hugetlb.2MB.limit_in_bytes=4194304", "hugetlb/hugetlb.2MB.rsvd.limit_in_bytes=4194304"], &[]);
    }

    v2_limits fn huge_pages_of_v2(world) {
        // runc 1.1 leaves reservations alone.
        let files = if world.is_runc() { 1 } else { 2 };
        sets(world, "hugepageLimits", &json!([{"pageSize": "2MB", "limit": 4 << 20}]), &[],
            &["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304"][..files]);
    }

    v1 fn network(world) {
        mount_v1(world, &["net_cls", "net_prio"]).expect("controllers that nobody else mounts");
        let network = json!({"classID": 0x0010_0001, "priorities": [{"name": "lo", "priority": 5}]});
        sets(world, "network", &network, &["net_cls/net_cls.classid=1048577", "net_prio/net_prio.ifpriomap=lo 5"], &[]);
    }

    v2_limits fn unified(world) {
        let files = json!({"memory.high": "50331648", "pids.max": "9", "cgroup.max.depth": "3"});
        sets(world, "unified", &files, &[], &["memory.high=50331648", "pids.max=9", "cgroup.max.depth=3"]);
    }

    v2_limits fn unified_has_the_last_word(world) {
        world.set("/linux/resources/pids", json!({"limit": 20}));
        world.set("/linux/resources/unified", json!({"pids.max": "9"})).up_waiting();
        assert_eq!(fs::read_to_string(world.cgroup_dir("").join("pids.max")).expect("its limit"), "9\n");
    }
}
