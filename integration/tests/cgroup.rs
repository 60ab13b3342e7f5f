//! The cgroup of a container: where it is, who is in it, its limits, and that it goes away.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::os::unix::fs::MetadataExt;

use knarr_integration::{World, cases, json, leftovers, sys};

/// The content of a file of the container's cgroup.
#[track_caller]
fn value(world: &World, controller: &str, file: &str) -> String {
    let path = world.cgroup_dir(controller).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// Gives the container as much memory as it holds when all that can be freed has been.
fn leave_no_memory(world: &World) {
    let set = |file: &str, value: &str| fs::write(world.cgroup_dir("memory").join(file), value);
    let (all, usage) = if world.is_v1() {
        (["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"].as_slice(), "memory.usage_in_bytes")
    } else {
        (["memory.max"].as_slice(), "memory.current")
    };
    // More than there is: the kernel frees what it can, and refuses.
    let refused = if world.is_v1() { set(all[0], "4096") } else { set("memory.reclaim", "64M") };
    assert!(refused.is_err(), "there is something in use");
    for file in all {
        set(file, &value(world, "memory", usage)).expect("a limit");
    }
}

/// What strace sees of a `run` in which each write takes as long as one to `cgroup.procs` may, and longer.
fn trace_with_slow_writes(world: &World) -> String {
    world.write_config();
    let run = world.command(&["run", &world.id]);
    let trace = world.dir.join("strace");
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-y", "-e", "trace=write,pivot_root", "-e", "inject=write:delay_enter=50000", "-o"]);
    command.arg(&trace).arg(run.get_program()).args(run.get_args()).current_dir(world.bundle());
    world.finish(command).assert_ok();
    fs::read_to_string(trace).expect("the trace")
}

/// `run` by a caller that is in the cgroup `/world/caller` of each hierarchy.
fn run_from_within(world: &World) -> knarr_integration::Answer {
    world.write_config();
    let mut command = world.command(&["run", &world.id]);
    let procs = world.layout.directories(&format!("{}/caller", world.cgroup)).into_iter().map(|directory| {
        fs::create_dir_all(&directory).expect("the caller's cgroup");
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let parents = [directory.parent().expect("a parent"), directory.as_path()];
            for cgroup in parents.into_iter().filter(|cgroup| cgroup.join(file).exists()) {
                let above = fs::read(cgroup.parent().expect("a parent").join(file)).expect("the parent's");
                fs::write(cgroup.join(file), above).expect("give it CPUs");
            }
        }
        directory.join("cgroup.procs")
    });
    let procs = procs.collect();
    sys::move_to_cgroup(&mut command, procs);
    world.finish(command)
}

cases! {
    everywhere fn the_program_is_in_it(world) {
        world.up_waiting();
        let pid = world.pid().to_string();
        let directories = world.layout.directories(&world.cgroup);
        assert!(!directories.is_empty());
        for directory in directories {
            let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            assert!(procs.lines().any(|line| line == pid), "{}: {procs}", directory.display());
        }
    }

    everywhere fn it_goes_away(world) {
        world.up_waiting();
        assert!(!leftovers::cgroups(world.layout, &world.cgroup).is_empty());
        world.stop();
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn sub_cgroups_of_the_container_go_away(world) {
        world.up_waiting();
        for directory in world.layout.directories(&world.cgroup) {
            if directory.is_dir() {
                fs::create_dir_all(directory.join("a/b")).expect("sub-cgroups");
            }
        }
        world.stop();
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn a_path_of_several_parts(world) {
        let deep = format!("{}/deep/down", world.cgroup);
        world.set("/linux/cgroupsPath", deep.as_str()).up_waiting();
        let procs = world.layout.directory("pids", &deep).join("cgroup.procs");
        assert!(fs::read_to_string(procs).expect("its cgroup").contains(&world.pid().to_string()));
        world.delete_force().assert_ok();
        assert!(!world.layout.directory("pids", &deep).exists());
    }

    everywhere fn dot_dots_in_the_path_do_not_escape(world) {
        let path = format!("/../../..{}/x", world.cgroup);
        world.set("/linux/cgroupsPath", path).up_waiting();
        let procs = world.layout.directory("pids", &format!("{}/x", world.cgroup)).join("cgroup.procs");
        assert!(procs.exists(), "{}", procs.display());
    }

    v1 fn a_relative_path_is_below_the_callers(world) {
        let id = world.id.clone();
        world.set("/linux/cgroupsPath", format!("rel-{id}"));
        let facts = run_from_within(world).assert_ok().facts();
        let cgroup = facts["cgroup"].as_str().expect("cgroups").to_owned();
        assert!(cgroup.contains(&format!(":pids:{}/caller/rel-{id}\n", world.cgroup)), "{cgroup}");
    }

    v1 fn no_path_is_the_id_below_the_callers(world) {
        world.unset("/linux/cgroupsPath");
        let facts = run_from_within(world).assert_ok().facts();
        let cgroup = facts["cgroup"].as_str().expect("cgroups").to_owned();
        assert!(cgroup.contains(&format!(":pids:{}/caller/{}\n", world.cgroup, world.id)), "{cgroup}");
    }

    v1 fn a_memory_limit_kills(world) {
        world.set("/linux/resources/memory", json!({"limit": 24 << 20}));
        world.probe(&["touch-memory", "200"]);
        world.run().assert_code(137);
        world.assert_nothing_left();
    }

    v1 fn a_pids_limit(world) {
        world.set("/linux/resources/pids", json!({"limit": 10}));
        world.probe(&["fork-many", "20"]);
        let made = world.run().assert_ok().act(0)["value"].as_u64().expect("a count");
        assert_eq!(made, 9, "the program itself and nine more");
    }

    knarr_v1("runc 1.1 leaves it unset") fn a_pids_limit_of_zero_is_one(world) {
        world.set("/linux/resources/pids", json!({"limit": 0})).probe(&["fork-many", "3"]);
        assert_eq!(world.run().assert_ok().act(0)["value"], 0);
    }

    v1 fn cpus_and_memory_nodes(world) {
        world.set("/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
        assert_eq!(world.run_facts()["affinity"], "0");
    }

    v1 fn a_bad_cpu_set_fails(world) {
        world.set("/linux/resources/cpu", json!({"cpus": "4000"}));
        let answer = world.run();
        assert!(!answer.status.success(), "{answer}");
        world.assert_nothing_left();
    }

    v1 fn a_quota_the_kernel_refuses_fails(world) {
        world.set("/linux/resources/cpu", json!({"quota": 5, "period": 50_000}));
        world.run().assert_fails_with("invalid argument");
        world.assert_nothing_left();
    }

    v1 fn unified_is_refused_on_v1(world) {
        world.set("/linux/resources/unified", json!({"memory.high": "max"}));
        let answer = world.run();
        if world.is_runc() {
            return; // runc 1.1 ignores it
        }
        answer.assert_fails_with("invalid configuration: cannot use unified on cgroup v1");
        world.assert_nothing_left();
    }

    v2 fn a_limit_without_its_controller_fails(world) {
        // The controllers of this machine stay with the v1 hierarchies.
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("controllers");
        if controllers.contains("memory") {
            world.skip("cgroup2 has the memory controller here");
        }
        world.set("/linux/resources/memory", json!({"limit": 64 << 20}));
        world.run().assert_fails_with("memory.max");
        world.assert_nothing_left();
    }

    v2 fn a_slash_in_a_unified_name_is_refused(world) {
        world.set("/linux/resources/unified", json!({}));
        world.config["linux"]["resources"]["unified"]["../memory.high"] = json!("max");
        world.run().assert_fails_with("must be a file name (no slashes)");
        world.assert_nothing_left();
    }

    v2 fn a_unified_file_is_written(world) {
        world.set("/linux/resources/unified", json!({"cgroup.max.descendants": "7"})).up_waiting();
        assert_eq!(value(world, "", "cgroup.max.descendants"), "7");
    }

    v2 fn a_cgroup_namespace_begins_there(world) {
        world.namespace("cgroup", None);
        let facts = world.run_facts();
        assert!(facts["cgroup"].as_str().is_some_and(|text| text.contains("0::/\n")), "{}", facts["cgroup"]);
    }

    v1 fn a_cgroup_namespace_begins_there_in_each_hierarchy(world) {
        world.namespace("cgroup", None);
        let facts = world.run_facts();
        for line in facts["cgroup"].as_str().expect("cgroups").lines().filter(|line| !line.starts_with("0:")) {
            assert!(line.ends_with(":/"), "{line}");
        }
    }

    everywhere fn a_cgroup_with_processes_is_refused(world) {
        world.up_waiting();
        world.write_config();
        let second = format!("{}-b", world.id);
        let text = world.pick("container's cgroup is not empty: 1 process(es) found",
            "container's cgroup is not empty");
        let answer = world.call(&["create", &second]);
        if world.is_runc() && answer.status.success() {
            return; // runc 1.1 warns
        }
        answer.assert_fails_with(text);
        assert_eq!(world.status(), "running");
    }

    everywhere fn a_frozen_cgroup_is_refused(world) {
        for directory in world.layout.directories(&world.cgroup) {
            fs::create_dir(&directory).expect("a cgroup");
        }
        let (file, frozen, thawed) =
            if world.is_v1() { ("freezer.state", "FROZEN", "THAWED") } else { ("cgroup.freeze", "1", "0") };
        let switch = world.cgroup_dir("freezer").join(file);
        fs::write(&switch, frozen).expect("freeze it");
        world.create().assert_fails_with("container's cgroup unexpectedly frozen");
        assert!(!world.state_dir().exists());
        fs::write(&switch, thawed).expect("thaw it");
    }

    knarr_v1("runc's init waits") fn the_file_system_is_built_while_hierarchies_are_joined(world) {
        world.probe(&["exit", "0"]);
        let trace = trace_with_slow_writes(world);
        let calls = |what: &str| trace.match_indices(what).map(|(at, _)| at).collect::<Vec<usize>>();
        let (joins, pivots) = (calls("/cgroup.procs>, "), calls("pivot_root("));
        assert!(joins.len() > 5, "a write for each hierarchy: {trace}");
        assert!(pivots[0] < joins[joins.len() - 1], "init waits to be moved: {trace}");
    }

    everywhere fn an_existing_empty_cgroup_is_used(world) {
        for directory in world.layout.directories(&world.cgroup) {
            fs::create_dir(&directory).expect("a cgroup");
        }
        world.up_waiting();
        assert!(value(world, "pids", "cgroup.procs").contains(&world.pid().to_string()));
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn the_callers_own_cgroup_is_not_changed(world) {
        let before = fs::read_to_string("/proc/thread-self/cgroup").expect("our cgroups");
        world.run().assert_ok();
        assert_eq!(fs::read_to_string("/proc/thread-self/cgroup").expect("our cgroups"), before);
    }

    knarr_v2("runc does it for systemd's cgroups alone") fn a_cgroup_that_may_be_written_belongs_to_the_programs_user(world) {
        world.user_namespace(100_000).namespace("cgroup", None);
        world.edit_mount("/sys/fs/cgroup", |mount| mount["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]));
        world.up_waiting();
        let owner = |file: &str| fs::metadata(world.cgroup_dir("").join(file)).expect("its cgroup").uid();
        assert_eq!((owner(""), owner("cgroup.procs")), (100_000, 100_000));
        assert_eq!(owner("cgroup.max.depth"), 0, "limits stay with the host");
    }

    knarr_v2("runc does it for systemd's cgroups alone") fn a_cgroup_that_is_read_only_stays_with_its_maker(world) {
        world.user_namespace(100_000).namespace("cgroup", None).up_waiting();
        assert_eq!(fs::metadata(world.cgroup_dir("")).expect("its cgroup").uid(), 0);
    }

    knarr_v1("runc 1.1 cannot set so little") fn an_init_without_memory_is_named(world) {
        world.set("/linux/resources/memory", json!({"limit": 8192, "swap": 8192}));
        world.run().assert_fails_with("container init was OOM-killed (memory limit too low?)");
        world.assert_nothing_left();
    }

    knarr_limits("runc reads less of it") fn a_process_that_exec_starts_without_memory_may_have_been_killed(world) {
        world.set("/linux/resources/memory", json!({"limit": 64 << 20, "swap": 64 << 20})).up_waiting();
        world.exec(&[], &["sh", "-c", "cat /bin/busybox >/dev/shm/held"]).assert_ok();
        leave_no_memory(world);
        // HOME is looked for in it: a line that needs memory to be read.
        let damaged = "x".repeat(3 << 20);
        fs::write(world.rootfs().join("etc/passwd"), damaged).expect("a file of users");
        let process = json!({
            "user": {"uid": 4711, "gid": 0}, "args": ["/bin/true"], "env": ["PATH=/bin"], "cwd": "/", "oomScoreAdj": 1000,
        });
        let file = world.file("process.json", &process.to_string());
        let answer = world.call(&["exec", "--process", file.to_str().expect("utf-8"), &world.id]);
        answer.assert_code(255).assert_fails_with(" (possibly OOM-killed)");
    }

    knarr("runc has another text") fn without_systemd_its_driver_is_refused_by_name(world) {
        world.set("/linux/cgroupsPath", "system.slice:knarr:test");
        world.write_config();
        let mut command = world.bare_command();
        command.args(["--systemd-cgroup", "--root"]).arg(world.root()).args(["run", &world.id]);
        world.finish(command).assert_fails_with("systemd");
        world.assert_nothing_left();
    }
}
