//! User namespaces: maps, ownership, ids that are not mapped, and namespaces joined beside them.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::os::unix::fs::MetadataExt;

use knarr_integration::{Holder, cases, json, namespace_of};

const HOST: u32 = 100_000;

cases! {
    everywhere fn a_new_user_namespace_has_the_maps(world) {
        world.user_namespace(HOST);
        let facts = world.run_facts();
        for map in ["uid_map", "gid_map"] {
            let words: Vec<&str> = facts[map].as_str().expect("a map").split_whitespace().collect();
            assert_eq!(words, ["0", "100000", "65536"], "{map}");
        }
        assert_ne!(facts["ns"]["user"], namespace_of("thread-self", "user"));
        assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
        assert_eq!(facts["setgroups"], "allow\n");
        world.assert_nothing_left();
    }

    everywhere fn several_ranges(world) {
        world.user_namespace(HOST);
        let ranges = json!([
            {"containerID": 0, "hostID": HOST, "size": 1000},
            {"containerID": 1000, "hostID": 5000, "size": 1},
            {"containerID": 1001, "hostID": HOST + 1001, "size": 64000},
        ]);
        world.set("/linux/uidMappings", ranges.clone()).set("/linux/gidMappings", ranges);
        let facts = world.run_facts();
        assert_eq!(facts["uid_map"].as_str().expect("a map").lines().count(), 3);
    }

    everywhere fn files_belong_to_the_mapped_user(world) {
        world.user_namespace(HOST).set("/process/user", json!({"uid": 1000, "gid": 1000}));
        world.probe(&["create", "/tmp/new"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["ok"], true, "{answer}");
        let data = std::fs::metadata(world.rootfs().join("tmp/new")).expect("the new file");
        assert_eq!((data.uid(), data.gid()), (HOST + 1000, HOST + 1000));
    }

    everywhere fn the_process_outside_has_the_mapped_uid(world) {
        world.user_namespace(HOST).up_waiting();
        let owner = std::fs::metadata(format!("/proc/{}", world.pid())).expect("the init").uid();
        assert_eq!(owner, HOST);
    }

    everywhere fn host_files_belong_to_nobody(world) {
        world.user_namespace(HOST).probe(&["stat", "/bin/busybox", "write", "/etc/passwd", "x"]);
        // /etc is container root's, the file in it is not.
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"]["uid"], 65534);
        assert_eq!(answer.act(1)["errno"], libc::EACCES);
    }

    everywhere fn default_devices_work(world) {
        world.user_namespace(HOST);
        world.probe(&["write", "/dev/null", "x", "stat", "/dev/null", "open-read", "/dev/zero", "open-read",
            "/dev/urandom", "stat", "/dev/tty"]);
        let answer = world.run().assert_ok();
        for act in answer.answers() {
            assert_eq!(act["ok"], true, "{act}");
        }
        assert_eq!(answer.act(1)["value"]["major"], 1);
        assert_eq!(answer.act(1)["value"]["minor"], 3);
    }

    everywhere fn the_other_namespaces_belong_to_it(world) {
        world.user_namespace(HOST).namespace("cgroup", None);
        world.capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
        // Allowed only where the user namespace owns the namespace.
        world.probe(&["mount", "tmpfs", "/mnt", "tmpfs", "write", "/proc/sys/net/ipv4/ip_forward", "1"]);
        world.set("/linux/readonlyPaths", json!([]));
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["ok"], true, "{answer}");
        assert_eq!(answer.act(1)["ok"], true, "{answer}");
    }

    everywhere fn capabilities_hold_inside_alone(world) {
        world.user_namespace(HOST);
        world.capabilities(&["bounding", "effective", "permitted"], &["CAP_MKNOD", "CAP_SYS_ADMIN"]);
        world.probe(&["facts", "mknod", "/tmp/sda", "b", "8", "0", "write", "/proc/sysrq-trigger", "h"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.facts()["caps"]["effective"], json!(["CAP_SYS_ADMIN", "CAP_MKNOD"]));
        assert_eq!(answer.act(1)["errno"], libc::EPERM, "mknod");
        assert_eq!(answer.act(2)["ok"], false, "sysrq");
    }

    everywhere fn a_uid_that_is_not_mapped_is_refused(world) {
        world.user_namespace(HOST).set("/process/user/uid", 70000);
        world.run().assert_fails_with(world.pick(
            "cannot setuid to unmapped uid 70000 in user namespace", "unmapped user in user namespace"));
        world.assert_nothing_left();
    }

    everywhere fn a_gid_that_is_not_mapped_is_refused(world) {
        world.user_namespace(HOST).set("/process/user/gid", 70000);
        world.run().assert_fails_with(world.pick(
            "cannot setgid to unmapped gid 70000 in user namespace", "unmapped user in user namespace"));
        world.assert_nothing_left();
    }

    everywhere fn maps_without_root_are_refused(world) {
        world.user_namespace(HOST);
        let range = json!([{"containerID": 1, "hostID": HOST, "size": 10}]);
        world.set("/linux/uidMappings", range.clone()).set("/linux/gidMappings", range);
        world.run().assert_fails_with_any(&["user namespaces enabled, but no mapping found",
            "User namespaces enabled, but no user mapping found"]);
        world.assert_nothing_left();
    }

    knarr("runc 1.1 ignores them") fn maps_without_a_user_namespace_are_refused(world) {
        let range = json!([{"containerID": 0, "hostID": HOST, "size": 10}]);
        world.set("/linux/uidMappings", range.clone()).set("/linux/gidMappings", range);
        world.run().assert_fails_with(
            "user namespace mappings specified, but user namespace isn't enabled in the config");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 fails later and differently") fn a_user_namespace_without_maps_is_refused(world) {
        world.namespace("user", None);
        world.run().assert_fails_with(
            "user namespaces enabled, but no namespace path to join nor mappings to apply specified");
        world.assert_nothing_left();
    }

    everywhere fn overlapping_maps_fail(world) {
        world.user_namespace(HOST);
        let ranges = json!([
            {"containerID": 0, "hostID": HOST, "size": 10}, {"containerID": 5, "hostID": 5000, "size": 10},
        ]);
        world.set("/linux/uidMappings", ranges);
        world.run().assert_fails_with(world.pick("invalid argument", "Invalid argument"));
        world.assert_nothing_left();
    }

    everywhere fn a_network_namespace_of_the_host_is_joined_beside_it(world) {
        let holder = Holder::new(world, &["--net"]);
        world.user_namespace(HOST).namespace("network", Some(&holder.path("net"))).without_mount("/sys");
        world.without_mount("/sys/fs/cgroup");
        let facts = world.run_facts();
        assert_eq!(facts["ns"]["net"], holder.inode("net"));
        assert_ne!(facts["ns"]["user"], namespace_of("thread-self", "user"));
    }

    everywhere fn ipc_and_uts_namespaces_of_the_host_are_joined_beside_it(world) {
        let holder = Holder::new(world, &["--ipc", "--uts"]);
        world.user_namespace(HOST).without_mount("/dev/mqueue").unset("/hostname");
        world.namespace("ipc", Some(&holder.path("ipc"))).namespace("uts", Some(&holder.path("uts")));
        let facts = world.run_facts();
        assert_eq!(facts["ns"]["ipc"], holder.inode("ipc"));
        assert_eq!(facts["ns"]["uts"], holder.inode("uts"));
    }

    knarr("runc 1.1 wants mappings with a path") fn a_user_namespace_is_joined_by_path(world) {
        let holder = Holder::in_user_namespace(world, &[], HOST);
        world.user_namespace(HOST).unset("/linux/uidMappings").unset("/linux/gidMappings");
        world.namespace("user", Some(&holder.path("user")));
        let facts = world.run_facts();
        assert_eq!(facts["ns"]["user"], holder.inode("user"));
        assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
    }

    knarr("runc 1.1 wants mappings with a path") fn namespaces_of_a_joined_user_namespace_are_joined_too(world) {
        let holder = Holder::in_user_namespace(world, &["--net", "--ipc", "--uts"], HOST);
        world.user_namespace(HOST).unset("/linux/uidMappings").unset("/linux/gidMappings");
        for (kind, file) in [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            world.namespace(kind, Some(&holder.path(file)));
        }
        let facts = world.run_facts();
        for file in ["user", "net", "ipc", "uts"] {
            assert_eq!(facts["ns"][file], holder.inode(file), "{file}");
        }
    }

    everywhere fn exec_enters_it(world) {
        world.user_namespace(HOST).up_waiting();
        let facts = world.exec_probe(&[], &["facts"]).assert_ok().facts();
        assert_eq!(facts["ns"]["user"], namespace_of(world.pid(), "user"));
        assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
    }

    everywhere fn additional_groups_are_set(world) {
        world.user_namespace(HOST).set("/process/user/additionalGids", json!([5, 27]));
        assert_eq!(world.run_facts()["groups"], json!([5, 27]));
    }

    everywhere fn all_new_namespaces_together(world) {
        world.user_namespace(HOST).namespace("cgroup", None);
        let facts = world.run_facts();
        for kind in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
            assert_ne!(facts["ns"][kind], namespace_of("thread-self", kind), "{kind}");
        }
        world.assert_nothing_left();
    }

    knarr("runc 1.1 does not know time namespaces") fn a_time_namespace_beside_it(world) {
        world.user_namespace(HOST).namespace("time", None);
        world.set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000}}));
        let facts = world.run_facts();
        assert!(facts["timens_offsets"].as_str().is_some_and(|text| text.contains("1000000")), "{facts}");
    }

    everywhere fn the_oom_score_is_set(world) {
        world.user_namespace(HOST).set("/process/oomScoreAdj", 1000);
        assert_eq!(world.run_facts()["oom_score_adj"], 1000);
    }

    everywhere fn a_user_inside_has_no_capabilities(world) {
        world.user_namespace(HOST).set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let facts = world.run_facts();
        assert_eq!(facts["uid"], json!([1000, 1000, 1000, 1000]));
        assert_eq!(facts["caps"]["effective"], json!([]));
    }
}
