//! `update`: limits raised and lowered while the container runs, all of those given or none.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::process::Stdio;

use knarr_integration::{Answer, Value, World, cases, json};

const MIB: u64 = 1 << 20;

/// A file of the container's cgroup: of `controller` on v1, of the same name without a list of names on v2.
#[track_caller]
fn value(world: &World, controller: &str, [v1, v2]: [&str; 2]) -> String {
    let path = world.cgroup_dir(controller).join(if world.is_v1() { v1 } else { v2 });
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn memory(world: &World) -> String {
    value(world, "memory", ["memory.limit_in_bytes", "memory.max"])
}

/// Memory and swap together, which v2 counts apart.
fn memory_and_swap(world: &World) -> u64 {
    let number = |text: String| text.parse::<u64>().expect("a number");
    let swap = number(value(world, "memory", ["memory.memsw.limit_in_bytes", "memory.swap.max"]));
    if world.is_v1() { swap } else { swap + number(memory(world)) }
}

fn pids(world: &World) -> String {
    value(world, "pids", ["pids.max", "pids.max"])
}

/// `quota period`, with `-1` as on v1.
fn quota(world: &World) -> String {
    if world.is_v1() {
        let file = |name| value(world, "cpu", [name, name]);
        return format!("{} {}", file("cpu.cfs_quota_us"), file("cpu.cfs_period_us"));
    }
    value(world, "cpu", ["", "cpu.max"]).replace("max", "-1")
}

fn update(world: &World, flags: &[&str]) -> Answer {
    world.call(&[&["update"], flags, &[world.id.as_str()]].concat())
}

/// `update --resources FILE`.
fn update_to(world: &World, resources: &Value) -> Answer {
    let file = world.file("resources.json", &resources.to_string());
    update(world, &["--resources", &file.to_string_lossy()])
}

/// The limits on record.
fn recorded(world: &World) -> Value {
    let config = fs::read(world.state_dir().join("config.json")).expect("the recorded configuration");
    let config: Value = serde_json::from_slice(&config).expect("JSON");
    config["linux"]["resources"].clone()
}

cases! {
    limits fn memory_is_raised_and_lowered(world) {
        world.set("/linux/resources/memory", json!({"limit": 32 * MIB, "reservation": 16 * MIB})).up_waiting();
        update(world, &["--memory", "67108864"]).assert_ok();
        assert_eq!(memory(world), (64 * MIB).to_string());
        update(world, &["--memory", "50M", "--memory-reservation", "24m"]).assert_ok();
        assert_eq!(memory(world), (50 * MIB).to_string());
        let reservation = value(world, "memory", ["memory.soft_limit_in_bytes", "memory.low"]);
        assert_eq!(reservation, (24 * MIB).to_string());
        update(world, &["--memory", "-1"]).assert_ok();
        let unlimited = memory(world);
        assert!(unlimited == "max" || unlimited.parse::<u64>().is_ok_and(|limit| limit > 1 << 50), "{unlimited}");
    }

    limits fn memory_with_swap_goes_either_way(world) {
        world.set("/linux/resources/memory", json!({"limit": 32 * MIB})).up_waiting();
        for (memory_limit, both) in [(30, 50), (60, 80), (20, 40)] {
            let flags = ["--memory", &format!("{memory_limit}M"), "--memory-swap", &format!("{both}M")];
            update(world, &flags).assert_ok();
            assert_eq!(memory(world), (memory_limit * MIB).to_string());
            assert_eq!(memory_and_swap(world), both * MIB);
        }
    }

    limits fn more_memory_lets_a_program_live(world) {
        world.set("/linux/resources/memory", json!({"limit": 32 * MIB})).up_waiting();
        world.exec_probe(&[], &["touch-memory", "100"]).assert_code(137);
        update(world, &["--memory", "256M"]).assert_ok();
        world.exec_probe(&[], &["touch-memory", "100"]).assert_ok();
    }

    v1 fn a_memory_limit_below_what_is_in_use_is_refused(world) {
        world.set("/linux/resources/memory", json!({"limit": 64 * MIB, "swap": 64 * MIB})).up_waiting();
        world.exec(&[], &["sh", "-c", "for n in 1 2 3 4; do cat /bin/busybox; done >/dev/shm/held"]).assert_ok();
        update(world, &["--memory", "1M"]).assert_fails_with("unable to set memory limit to 1048576 (current usage: ");
        assert_eq!(memory(world), (64 * MIB).to_string());
        assert_eq!(world.status(), "running");
    }

    knarr_v2_limits("runc 1.1 does not know it") fn checked_before_the_update_it_is_refused_on_v2_too(world) {
        world.set("/linux/resources/memory", json!({"limit": 64 * MIB})).up_waiting();
        update_to(world, &json!({"memory": {"limit": 1024, "checkBeforeUpdate": true}}))
            .assert_fails_with("rejecting memory limit");
        update_to(world, &json!({"memory": {"limit": 1024, "swap": 2048, "checkBeforeUpdate": true}}))
            .assert_fails_with("rejecting memory+swap limit");
        assert_eq!(memory(world), (64 * MIB).to_string());
    }

    knarr_limits("runc waits for the processes that exec leaves behind") fn a_limit_of_processes_bites_as_it_is_now(world) {
        world.set("/linux/resources/pids", json!({"limit": 20})).up_waiting();
        let made = |world: &World| world.exec_probe(&[], &["fork-many", "10"]).assert_ok().act(0)["value"].clone();
        update(world, &["--pids-limit", "4"]).assert_ok();
        assert_eq!(made(world), 2, "the first process, the one asked, and two more");
        update(world, &["--pids-limit", "8"]).assert_ok();
        assert_eq!(made(world), 4);
        update(world, &["--pids-limit", "-1"]).assert_ok();
        assert_eq!(pids(world), "max");
    }

    knarr_limits("runc 1.1 takes 0 for no limit") fn a_pids_limit_of_zero_is_one(world) {
        world.up_waiting();
        update(world, &["--pids-limit", "0"]).assert_ok();
        assert_eq!(pids(world), "1");
    }

    limits fn quota_and_period_each_know_the_other(world) {
        world.set("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000})).up_waiting();
        for (flags, expected) in [
            (vec!["--cpu-period", "90000"], "50000 90000"),
            (vec!["--cpu-quota", "60000"], "60000 90000"),
            (vec!["--cpu-period", "10000", "--cpu-quota", "3000"], "3000 10000"),
            (vec!["--cpu-quota", "-1"], "-1 10000"),
            (vec!["--cpu-quota", "20000", "--cpu-period", "100000"], "20000 100000"),
        ] {
            update(world, &flags).assert_ok();
            assert_eq!(quota(world), expected, "{flags:?}");
        }
    }

    limits fn a_quota_without_any_before(world) {
        world.up_waiting();
        update(world, &["--cpu-period", "50000"]).assert_ok();
        assert_eq!(quota(world), "-1 50000");
        update(world, &["--cpu-quota", "30000"]).assert_ok();
        assert_eq!(quota(world), "30000 50000");
    }

    not_runc_v2_limits("runc 1.1 forgets the quota there") fn another_update_in_between_changes_nothing(world) {
        world.set("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000, "shares": 300}));
        world.set("/linux/resources/memory", json!({"limit": 64 * MIB})).up_waiting();
        let by_hand = world.cgroup_dir("memory").join(if world.is_v1() { "memory.limit_in_bytes" } else { "memory.max" });
        fs::write(by_hand, (48 * MIB).to_string()).expect("somebody else's limit");
        update(world, &["--pids-limit", "30"]).assert_ok();
        assert_eq!(quota(world), "50000 100000");
        assert_eq!(memory(world), (48 * MIB).to_string(), "nobody asked for the old one");
        update(world, &["--cpu-period", "50000"]).assert_ok();
        assert_eq!(quota(world), "50000 50000");
        if world.is_runc() {
            return; // it keeps another record
        }
        let cpu = json!({"quota": 50_000, "period": 50_000, "shares": 300});
        let memory = json!({"limit": 64 * MIB});
        let rest = json!([{"allow": false, "access": "rwm"}]);
        assert_eq!(recorded(world), json!({"cpu": cpu, "memory": memory, "pids": {"limit": 30}, "devices": rest}));
    }

    v1 fn shares(world) {
        world.set("/linux/resources/cpu", json!({"shares": 100})).up_waiting();
        update(world, &["--cpu-share", "200"]).assert_ok();
        assert_eq!(value(world, "cpu", ["cpu.shares", ""]), "200");
    }

    knarr_v2_limits("runc 1.1 has another formula") fn shares_become_weights(world) {
        world.set("/linux/resources/cpu", json!({"shares": 512})).up_waiting();
        assert_eq!(value(world, "cpu", ["", "cpu.weight"]), "59");
        update(world, &["--cpu-share", "2048"]).assert_ok();
        assert_eq!(value(world, "cpu", ["", "cpu.weight"]), "174");
    }

    knarr_limits("runc 1.1 does not know these") fn burst_and_idle(world) {
        world.up_waiting();
        update(world, &["--cpu-period", "90000", "--cpu-quota", "60000", "--cpu-burst", "50000"]).assert_ok();
        assert_eq!(value(world, "cpu", ["cpu.cfs_burst_us", "cpu.max.burst"]), "50000");
        for idle in ["1", "0", "1"] {
            update(world, &["--cpu-idle", idle]).assert_ok();
            assert_eq!(value(world, "cpu", ["cpu.idle", "cpu.idle"]), idle);
        }
        for wrong in ["-1", "2"] {
            update(world, &["--cpu-idle", wrong]).assert_fails_with("invalid argument");
            assert_eq!(value(world, "cpu", ["cpu.idle", "cpu.idle"]), "1");
        }
        update(world, &["--cpu-period", "80000"]).assert_ok();
        assert_eq!(value(world, "cpu", ["cpu.idle", "cpu.idle"]), "1");
    }

    limits fn cpus_and_memory_nodes(world) {
        world.up_waiting();
        update(world, &["--cpuset-cpus", "0", "--cpuset-mems", "0"]).assert_ok();
        assert_eq!(world.exec_probe(&[], &["facts"]).assert_ok().facts()["affinity"], "0");
        assert_eq!(value(world, "cpuset", ["cpuset.mems", "cpuset.mems"]), "0");
        let answer = update(world, &["--cpuset-cpus", "4000"]);
        assert!(!answer.status.success(), "{answer}");
        assert_eq!(value(world, "cpuset", ["cpuset.cpus", "cpuset.cpus"]), "0");
    }

    knarr_v1("runc 1.1 leaves block devices alone") fn block_devices_are_added_and_replaced(world) {
        let number = fs::read_dir("/sys/block").expect("block devices").flatten().find_map(|device| {
            let held = fs::read_dir(device.path().join("holders")).is_ok_and(|mut holders| holders.next().is_some());
            let number = fs::read_to_string(device.path().join("dev")).ok()?;
            (!held).then(|| number.trim().to_owned())
        });
        let number = number.expect("a block device");
        let (major, minor) = number.split_once(':').expect("a number");
        let (major, minor): (u32, u32) = (major.parse().expect("a number"), minor.parse().expect("a number"));
        let device = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
        world.set("/linux/resources/blockIO", json!({"throttleReadBpsDevice": device(485_760)})).up_waiting();
        update_to(world, &json!({"blockIO": {
            "throttleReadBpsDevice": device(10_485_760), "throttleWriteBpsDevice": device(9_437_184),
            "throttleReadIOPSDevice": device(1000), "throttleWriteIOPSDevice": device(900),
        }})).assert_ok();
        for (file, rate) in [("read_bps", 10_485_760), ("write_bps", 9_437_184), ("read_iops", 1000), ("write_iops", 900)] {
            let file = format!("blkio.throttle.{file}_device");
            assert_eq!(value(world, "blkio", [&file, ""]), format!("{number} {rate}"), "{file}");
        }
    }

    limits fn resources_from_standard_input(world) {
        world.up_waiting();
        let file = world.file("given.json", r#"{"pids": {"limit": 17}, "memory": {"limit": 67108864}, "cpu": {"quota": 40000}}"#);
        let mut command = world.command(&["update", "--resources=-", &world.id]);
        command.stdin(Stdio::from(fs::File::open(file).expect("the resources")));
        world.finish(command).assert_ok();
        assert_eq!((pids(world), memory(world)), ("17".to_owned(), (64 * MIB).to_string()));
        assert_eq!(quota(world), "40000 100000");
    }

    not_runc_v2_limits("runc 1.1 leaves the new limit of processes there") fn a_failure_takes_everything_back(world) {
        world.set("/linux/resources/pids", json!({"limit": 20}));
        world.set("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000})).up_waiting();
        // The kernel wants a quota of at least a millisecond.
        update(world, &["--pids-limit", "7", "--cpu-quota", "5"]).assert_fails_with("invalid argument");
        assert_eq!(pids(world), "20");
        assert_eq!(quota(world), "50000 100000");
        if !world.is_runc() {
            assert_eq!(recorded(world)["pids"]["limit"], 20);
            assert_eq!(recorded(world)["cpu"]["quota"], 50_000);
        }
        update(world, &["--cpu-period", "200000"]).assert_ok();
        assert_eq!(quota(world), "50000 200000");
    }

    v1 fn device_rules_stay_as_they_are(world) {
        world.up_waiting();
        let devices = world.cgroup_dir("devices");
        fs::write(devices.join("devices.allow"), "c 10:229 rw").expect("somebody else's rule");
        let before = fs::read_to_string(devices.join("devices.list")).expect("the rules");
        assert!(before.contains("c 10:229 rw"), "{before}");
        update_to(world, &json!({"pids": {"limit": 30}, "devices": [{"allow": true, "access": "rwm"}]})).assert_ok();
        assert_eq!(fs::read_to_string(devices.join("devices.list")).expect("the rules"), before);
    }

    everywhere fn unified_is_refused_on_v1_and_written_on_v2(world) {
        world.up_waiting();
        let answer = update_to(world, &json!({"unified": {"cgroup.max.descendants": "9"}}));
        if world.is_v1() {
            answer.assert_fails_with("invalid configuration: cannot use unified on cgroup v1");
            return;
        }
        answer.assert_ok();
        assert_eq!(value(world, "", ["", "cgroup.max.descendants"]), "9");
        update_to(world, &json!({"unified": {"../cgroup.max.depth": "9"}})).assert_fails_with("no slashes");
    }

    limits fn a_paused_container_stays_paused(world) {
        world.up_waiting();
        world.call(&["pause", &world.id]).assert_ok();
        update(world, &["--pids-limit", "30"]).assert_ok();
        assert_eq!((pids(world).as_str(), world.status().as_str()), ("30", "paused"));
        world.call(&["resume", &world.id]).assert_ok();
    }

    limits fn a_created_container_starts_with_the_new_limit(world) {
        world.probe(&["fork-many", "20"]);
        let created = world.create().assert_ok();
        update(world, &["--pids-limit", "6"]).assert_ok();
        world.start().assert_ok();
        created.wait_for("fork-many");
        assert!(created.output().contains("\"value\":5"), "{}", created.output());
    }

    everywhere fn without_a_container_that_runs_there_is_nothing_to_update(world) {
        update(world, &["--pids-limit", "5"]).assert_fails_with("container does not exist");
        world.up_waiting();
        world.stop();
        update(world, &["--pids-limit", "5"]).assert_fails_with("container not running");
    }

    everywhere fn bad_values_are_refused(world) {
        world.up_waiting();
        for (flags, text) in [
            (["--memory", "12q"], "invalid value for memory: invalid s"),
            (["--memory-swap", "-5"], "invalid value for memory-swap: invalid size: '-5'"),
            (["--cpu-quota", "1e3"], "invalid value for cpu-quota: "),
            (["--cpu-share", "-1"], "invalid value for cpu-share: "),
            (["--resources", "/no/such/file"], "open /no/such/file: no such file or directory"),
            (["--l3-cache-schema", "L3:0=f"], "Intel RDT/CAT: l3 cache schema is not enabled"),
            (["--mem-bw-schema", "MB:0=20"], "Intel RDT/MBA: memory bandwidth schema is not enabled"),
        ] {
            update(world, &flags).assert_fails_with(text);
        }
        let answer = update_to(world, &json!({"memory": {"limit": "much"}}));
        assert!(!answer.status.success(), "{answer}");
    }

    knarr("runc 1.1 checks neither") fn numbers_out_of_range_are_refused(world) {
        world.up_waiting();
        for (flags, text) in [
            (["--blkio-weight", "5"], "linux.resources.blockIO.weight: 5 is not in the range 10-1000"),
            (["--blkio-weight", "70000"], "invalid value \"70000\" for flag -blkio-weight: "),
            (["--pids-limit", "many"], "invalid value \"many\" for flag -pids-limit: "),
        ] {
            update(world, &flags).assert_fails_with(text);
        }
    }

    limits fn kernel_memory_is_ignored_with_a_warning(world) {
        world.up_waiting();
        let answer = update(world, &["--kernel-memory", "1M"]).assert_ok();
        assert!(answer.err.contains("Kernel memory settings are ignored and will be removed"), "{answer}");
    }
}
