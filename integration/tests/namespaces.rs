//! Namespaces: new ones, joined ones, and what depends on them (host name, sysctls, time offsets).
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use knarr_integration::{Holder, World, cases, json, namespace_of};

/// The program is in another namespace than we are.
#[track_caller]
fn assert_new(world: &mut World, kind: &str, file: &str) {
    world.namespace(kind, None);
    let facts = world.run_facts();
    let inside = facts["ns"][file].as_u64();
    assert!(inside.is_some(), "no {file}: {facts}");
    assert_ne!(
        inside,
        Some(namespace_of("thread-self", file)),
        "the {kind} namespace is ours"
    );
}

/// Without an entry the program shares ours.
#[track_caller]
fn assert_shared(world: &mut World, kind: &str, file: &str) {
    world.without_namespace(kind);
    let facts = world.run_facts();
    assert_eq!(facts["ns"][file], namespace_of("thread-self", file));
}

/// The program is in the namespace that `holder` holds.
#[track_caller]
fn assert_joined(world: &mut World, holder: &Holder, kind: &str, file: &str) {
    world.namespace(kind, Some(&holder.path(file)));
    let facts = world.run_facts();
    assert_eq!(facts["ns"][file], holder.inode(file));
    assert_ne!(facts["ns"][file], namespace_of("thread-self", file));
}

/// The path of a namespace of ours.
fn ours(file: &str) -> String {
    format!("/proc/{}/ns/{file}", std::process::id())
}

/// For containers in the host's network: a sysfs of another network namespace cannot be mounted twice alike.
fn in_host_network(world: &mut World) -> &mut World {
    world.without_namespace("network")
}

cases! {
    everywhere fn new_pid_namespace(world) {
        assert_new(world, "pid", "pid");
    }

    everywhere fn new_network_namespace(world) {
        assert_new(world, "network", "net");
    }

    everywhere fn new_ipc_namespace(world) {
        assert_new(world, "ipc", "ipc");
    }

    everywhere fn new_uts_namespace(world) {
        assert_new(world, "uts", "uts");
    }

    everywhere fn new_mount_namespace(world) {
        assert_new(world, "mount", "mnt");
    }

    everywhere fn new_cgroup_namespace(world) {
        assert_new(world, "cgroup", "cgroup");
    }

    knarr("runc 1.1 does not know time namespaces") fn new_time_namespace(world) {
        assert_new(world, "time", "time");
    }

    everywhere fn shared_pid_namespace(world) {
        assert_shared(world, "pid", "pid");
    }

    everywhere fn shared_network_namespace(world) {
        assert_shared(world, "network", "net");
    }

    everywhere fn shared_ipc_namespace(world) {
        world.without_mount("/dev/mqueue");
        assert_shared(world, "ipc", "ipc");
    }

    everywhere fn shared_uts_namespace(world) {
        world.unset("/hostname");
        assert_shared(world, "uts", "uts");
    }

    everywhere fn shared_cgroup_namespace(world) {
        assert_shared(world, "cgroup", "cgroup");
    }

    everywhere fn shared_user_namespace(world) {
        assert_shared(world, "user", "user");
    }

    everywhere fn joined_network_namespace(world) {
        let holder = Holder::new(world, &["--net"]);
        assert_joined(world, &holder, "network", "net");
    }

    everywhere fn joined_ipc_namespace(world) {
        let holder = Holder::new(world, &["--ipc"]);
        assert_joined(world, &holder, "ipc", "ipc");
    }

    everywhere fn joined_uts_namespace(world) {
        let holder = Holder::new(world, &["--uts"]);
        assert_joined(world, &holder, "uts", "uts");
    }

    everywhere fn joined_cgroup_namespace(world) {
        let holder = Holder::new(world, &["--cgroup"]);
        assert_joined(world, &holder, "cgroup", "cgroup");
    }

    everywhere fn joined_mount_namespace(world) {
        let holder = Holder::new(world, &["--mount"]);
        assert_joined(world, &holder, "mount", "mnt");
    }

    everywhere fn joined_pid_namespace(world) {
        let holder = Holder::new(world, &["--pid"]);
        assert_joined(world, &holder, "pid", "pid");
        drop(holder);
        world.assert_nothing_left();
    }

    everywhere fn the_pid_in_a_joined_pid_namespace_is_not_one(world) {
        let holder = Holder::new(world, &["--pid"]);
        world.namespace("pid", Some(&holder.path("pid")));
        let pid = world.run_facts()["pid"].as_u64().unwrap_or_default();
        assert!((2..1000).contains(&pid), "pid {pid}: neither the init of that namespace nor ours");
    }

    knarr("runc 1.1 does not know time namespaces") fn joined_time_namespace(world) {
        let holder = Holder::new(world, &["--time"]);
        assert_joined(world, &holder, "time", "time");
    }

    everywhere fn several_joined_namespaces(world) {
        let holder = Holder::new(world, &["--net", "--ipc", "--uts", "--pid"]);
        for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
            world.namespace(kind, Some(&holder.path(file)));
        }
        let facts = world.run_facts();
        for file in ["net", "ipc", "uts", "pid"] {
            assert_eq!(facts["ns"][file], holder.inode(file), "{file}");
        }
    }

    everywhere fn a_second_container_joins_the_first(world) {
        world.up_waiting();
        let pid = world.pid();
        for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            world.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")));
        }
        let cgroup = format!("{}/b", world.cgroup);
        world.probe(&["facts"]).set("/linux/cgroupsPath", cgroup).unset("/hostname");
        world.write_config();
        let facts = world.call(&["run", &format!("{}-b", world.id)]).assert_ok().facts();
        assert_eq!(facts["ns"]["net"], namespace_of(pid, "net"));
        assert_eq!(facts["hostname"], "knarr-test");
        assert_ne!(facts["ns"]["pid"], namespace_of(pid, "pid"));
    }

    everywhere fn the_init_of_a_pid_namespace_is_pid_1_and_sees_itself_alone(world) {
        world.probe(&["facts", "list", "/proc"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.facts()["pid"], 1);
        assert_eq!(answer.facts()["ppid"], 0);
        let listed = answer.act(1);
        let names = listed["value"].as_array().expect("a listing of /proc");
        let pids: Vec<_> = names.iter().filter(|n| n.as_str().is_some_and(|n| n.parse::<u32>().is_ok())).collect();
        assert_eq!(pids, [&json!("1")]);
    }

    everywhere fn the_program_leads_a_session(world) {
        let facts = world.run_facts();
        assert_eq!(facts["sid"], facts["pid"]);
    }

    everywhere fn loopback_is_up_in_a_new_network_namespace(world) {
        world.probe(&["read", "/sys/class/net/lo/flags", "list", "/sys/class/net"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"], "0x9\n", "UP and LOOPBACK");
        assert_eq!(answer.act(1)["value"], json!(["lo"]));
    }

    everywhere fn the_host_name_is_set(world) {
        world.set("/hostname", "a.longer-name.example");
        assert_eq!(world.run_facts()["hostname"], "a.longer-name.example");
    }

    everywhere fn a_host_name_needs_a_uts_namespace(world) {
        world.without_namespace("uts");
        world.run().assert_fails_with("unable to set hostname without a private UTS namespace");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 does not know domainname") fn the_domain_name_is_set(world) {
        world.set("/domainname", "nis.example");
        let facts = world.run_facts();
        assert_eq!(facts["domainname"], "nis.example");
        assert_eq!(facts["hostname"], "knarr-test");
    }

    knarr("runc 1.1 does not know domainname") fn a_domain_name_needs_a_uts_namespace(world) {
        world.unset("/hostname").set("/domainname", "nis.example").without_namespace("uts");
        world.run().assert_fails_with("unable to set domainname without a private UTS namespace");
        world.assert_nothing_left();
    }

    everywhere fn no_host_name_leaves_the_name(world) {
        world.unset("/hostname");
        let ours = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert_eq!(world.run_facts()["hostname"], ours);
    }

    everywhere fn a_duplicate_namespace_is_refused(world) {
        world.push("/linux/namespaces", json!({"type": "pid"}));
        world.run().assert_fails_with("malformed spec file: duplicated ns");
        world.assert_nothing_left();
    }

    everywhere fn an_unknown_namespace_type_is_refused(world) {
        world.push("/linux/namespaces", json!({"type": "galaxy"}));
        world.run().assert_fails_with("galaxy");
        world.assert_nothing_left();
    }

    everywhere fn a_namespace_path_that_is_missing_is_refused(world) {
        world.namespace("network", Some(&ours("missing")));
        world.run().assert_fails_with(&ours("missing"));
        world.assert_nothing_left();
    }

    everywhere fn a_namespace_path_of_another_type_is_refused(world) {
        world.namespace("network", Some(&ours("ipc")));
        world.run().assert_fails_with("");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 does not say the path") fn a_namespace_path_of_another_type_is_named(world) {
        world.namespace("network", Some(&ours("ipc")));
        world.run().assert_fails_with(&ours("ipc"));
    }

    everywhere fn a_namespace_path_that_is_a_plain_file_is_refused(world) {
        let file = world.file("plain", "");
        world.namespace("ipc", Some(file.to_str().expect("utf-8")));
        world.run().assert_fails_with("");
        world.assert_nothing_left();
    }

    everywhere fn sysctls_of_the_network_namespace(world) {
        world.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
        world.probe(&["read", "/proc/sys/net/ipv4/ip_forward"]);
        assert_eq!(world.run().assert_ok().act(0)["value"], "1\n");
    }

    everywhere fn sysctls_with_slashes(world) {
        world.set("/linux/sysctl", json!({}));
        world.config["linux"]["sysctl"]["net/ipv4/ip_forward"] = json!("1");
        world.probe(&["read", "/proc/sys/net/ipv4/ip_forward"]);
        assert_eq!(world.run().assert_ok().act(0)["value"], "1\n");
    }

    everywhere fn sysctls_of_the_ipc_namespace(world) {
        world.set("/linux/sysctl", json!({"kernel.msgmax": "12345", "fs.mqueue.msg_max": "11"}));
        world.probe(&["read", "/proc/sys/kernel/msgmax", "read", "/proc/sys/fs/mqueue/msg_max"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"], "12345\n");
        assert_eq!(answer.act(1)["value"], "11\n");
    }

    everywhere fn sysctls_of_the_uts_namespace(world) {
        world.set("/linux/sysctl", json!({"kernel.domainname": "by.sysctl"}));
        assert_eq!(world.run_facts()["domainname"], "by.sysctl");
    }

    everywhere fn a_sysctl_outside_of_namespaces_is_refused(world) {
        world.set("/linux/sysctl", json!({"kernel.pid_max": "1000"}));
        world.run().assert_fails_with("sysctl \"kernel.pid_max\" is not in a separate kernel namespace");
        world.assert_nothing_left();
    }

    everywhere fn a_network_sysctl_needs_a_network_namespace(world) {
        in_host_network(world).set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
        world.run().assert_fails_with("sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace");
        world.assert_nothing_left();
    }

    everywhere fn a_network_sysctl_is_refused_for_the_path_of_the_hosts_namespace(world) {
        world.namespace("network", Some(&ours("net")));
        world.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
        world.run().assert_fails_with("not allowed in host network namespace");
    }

    everywhere fn an_ipc_sysctl_needs_an_ipc_namespace(world) {
        world.without_namespace("ipc").without_mount("/dev/mqueue");
        world.set("/linux/sysctl", json!({"kernel.shmmax": "1000000"}));
        world.run().assert_fails_with("sysctl \"kernel.shmmax\" is not allowed in the hosts ipc namespace");
        world.assert_nothing_left();
    }

    everywhere fn the_sysctl_of_the_host_name_is_refused(world) {
        world.set("/linux/sysctl", json!({"kernel.hostname": "x"}));
        world.run().assert_fails_with("sysctl \"kernel.hostname\" is not allowed as it conflicts with the OCI \"hostname\" field");
        world.assert_nothing_left();
    }

    everywhere fn a_sysctl_that_does_not_exist_fails(world) {
        world.set("/linux/sysctl", json!({"net.ipv4.no_such_thing": "1"}));
        world.run().assert_fails_with("no such file or directory");
        world.assert_nothing_left();
    }

    everywhere fn a_sysctl_value_the_kernel_refuses_fails(world) {
        world.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "many"}));
        world.run().assert_fails_with("invalid argument");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 does not know time namespaces") fn time_offsets_move_the_clocks(world) {
        world.namespace("time", None);
        world.set("/linux/timeOffsets", json!({
            "monotonic": {"secs": 86400, "nanosecs": 5}, "boottime": {"secs": 1_000_000},
        }));
        let facts = world.run_facts();
        let offsets = facts["timens_offsets"].as_str().expect("offsets");
        let words: Vec<&str> = offsets.split_whitespace().collect();
        assert_eq!(words, ["monotonic", "86400", "5", "boottime", "1000000", "0"]);
        let uptime = facts["uptime"].as_str().and_then(|t| t.split('.').next()?.parse::<u64>().ok());
        assert!(uptime.is_some_and(|uptime| uptime >= 1_000_000), "{uptime:?}");
    }

    knarr("runc 1.1 does not know time namespaces") fn negative_time_offsets(world) {
        world.namespace("time", None);
        world.set("/linux/timeOffsets", json!({"boottime": {"secs": -1}}));
        let facts = world.run_facts();
        let offsets = facts["timens_offsets"].as_str().expect("offsets");
        assert!(offsets.split_whitespace().any(|word| word == "-1"), "{offsets}");
    }

    knarr("runc 1.1 does not know time namespaces") fn time_offsets_need_a_time_namespace(world) {
        world.set("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}));
        world.run().assert_fails_with(
            "time namespace offsets specified, but time namespace isn't enabled in the config");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 does not know time namespaces") fn time_offsets_and_a_path_exclude_each_other(world) {
        world.namespace("time", Some(&ours("time")));
        world.set("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}));
        world.run().assert_fails_with(
            "time namespace enabled, but both namespace path and time offsets specified");
    }

    knarr("runc 1.1 does not know time namespaces") fn an_unknown_clock_is_refused(world) {
        world.namespace("time", None).set("/linux/timeOffsets", json!({"sundial": {"secs": 1}}));
        world.run().assert_fails_with("sundial");
        world.assert_nothing_left();
    }

    everywhere fn without_a_mount_namespace_masks_are_refused(world) {
        world.without_namespace("mount").set("/mounts", json!([]));
        world.run().assert_fails_with("unable to restrict sys entries without a private MNT namespace");
        world.assert_nothing_left();
    }

    knarr("a network device is moved since runc 1.4") fn a_network_device_needs_a_network_namespace(world) {
        in_host_network(world).set("/linux/netDevices", json!({"dummy-none": {}}));
        world.run().assert_fails_with("unable to move network devices without a NET namespace");
        world.assert_nothing_left();
    }

    knarr("a network device is moved since runc 1.4") fn a_bad_network_device_name_is_refused(world) {
        world.set("/linux/netDevices", json!({"dummy-none": {"name": "a/b"}}));
        world.run().assert_fails_with("invalid network device name");
        world.assert_nothing_left();
    }

    knarr("a network device is moved since runc 1.4") fn a_missing_network_device_fails(world) {
        world.set("/linux/netDevices", json!({"dummy-none": {}}));
        world.run().assert_fails_with("dummy-none");
        world.assert_nothing_left();
    }
}
