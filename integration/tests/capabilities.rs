//! `process.capabilities`: the five sets, names nobody knows, and what a process may do with them.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use knarr_integration::{cases, json};

const ALL: [&str; 5] = ["bounding", "effective", "permitted", "inheritable", "ambient"];

cases! {
    everywhere fn each_set_is_as_given(world) {
        world.capabilities(&["bounding"], &["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]);
        world.capabilities(&["permitted"], &["CAP_CHOWN", "CAP_KILL"]);
        world.capabilities(&["effective"], &["CAP_CHOWN"]);
        world.capabilities(&["inheritable"], &["CAP_KILL"]);
        let facts = world.run_facts();
        assert_eq!(facts["caps"]["bounding"], json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]));
        // execve as root gives all of the inheritable and bounding sets, capabilities(7).
        assert_eq!(facts["caps"]["inheritable"], json!(["CAP_KILL"]));
        assert_eq!(facts["caps"]["ambient"], json!([]));
    }

    everywhere fn a_user_keeps_only_ambient_ones(world) {
        world.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        world.capabilities(&ALL, &["CAP_NET_BIND_SERVICE", "CAP_SYS_NICE"]);
        world.capabilities(&["ambient"], &["CAP_SYS_NICE"]);
        let caps = world.run_facts()["caps"].clone();
        assert_eq!(caps["ambient"], json!(["CAP_SYS_NICE"]));
        assert_eq!(caps["effective"], json!(["CAP_SYS_NICE"]));
        assert_eq!(caps["permitted"], json!(["CAP_SYS_NICE"]));
        assert_eq!(caps["inheritable"], json!(["CAP_NET_BIND_SERVICE", "CAP_SYS_NICE"]));
        assert_eq!(caps["bounding"], json!(["CAP_NET_BIND_SERVICE", "CAP_SYS_NICE"]));
    }

    everywhere fn a_user_without_ambient_has_none(world) {
        world.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let caps = world.run_facts()["caps"].clone();
        assert_eq!((&caps["effective"], &caps["permitted"]), (&json!([]), &json!([])));
        assert_eq!(caps["bounding"].as_array().map(Vec::len), Some(3));
    }

    everywhere fn the_inheritable_set_is_empty_by_default(world) {
        assert_eq!(world.run_facts()["caps"]["inheritable"], json!([]));
    }

    everywhere fn empty_sets(world) {
        world.capabilities(&ALL, &[]);
        let caps = world.run_facts()["caps"].clone();
        for set in ALL {
            assert_eq!(caps[set], json!([]), "{set}");
        }
    }

    everywhere fn all_capabilities(world) {
        let all = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_PERFMON", "CAP_BPF",
            "CAP_CHECKPOINT_RESTORE", "CAP_AUDIT_READ"];
        world.capabilities(&ALL, &all);
        let caps = world.run_facts()["caps"].clone();
        for set in ALL {
            let names = caps[set].as_array().expect("names");
            assert_eq!(names.len(), all.len(), "{set}");
            assert!(all.iter().all(|name| names.contains(&json!(name))), "{set}: {names:?}");
        }
    }

    everywhere fn a_missing_capability_denies(world) {
        world.set("/process/noNewPrivileges", false);
        world.probe(&["chown", "/tmp", "1", "mount", "x", "/mnt", "tmpfs", "mknod", "/tmp/n", "c", "1", "3"]);
        let answer = world.run().assert_ok();
        for act in answer.answers() {
            assert_eq!(act["errno"], libc::EPERM, "{act}");
        }
    }

    everywhere fn a_given_capability_allows(world) {
        world.capabilities(&["bounding", "effective", "permitted"], &["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_MKNOD"]);
        world.probe(&["chown", "/tmp", "1", "mount", "x", "/mnt", "tmpfs", "mknod", "/tmp/n", "c", "1", "3"]);
        let answer = world.run().assert_ok();
        for act in answer.answers() {
            assert_eq!(act["ok"], true, "{act}");
        }
    }

    everywhere fn an_unknown_capability_is_a_warning(world) {
        world.capabilities(&["bounding", "effective", "permitted"], &["CAP_KILL", "CAP_TIME_TRAVEL"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.facts()["caps"]["effective"], json!(["CAP_KILL"]));
        assert!(answer.err.contains("ignoring unknown or unavailable capabilities"), "{answer}");
        assert!(answer.err.contains("CAP_TIME_TRAVEL"), "{answer}");
    }

    everywhere fn an_ambient_capability_that_is_not_inheritable_is_a_warning(world) {
        world.capabilities(&["bounding", "effective", "permitted", "ambient"], &["CAP_CHOWN"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.facts()["caps"]["ambient"], json!([]));
    }

    knarr("runc 1.1 does not warn") fn the_warning_names_the_ambient_capability(world) {
        world.capabilities(&["bounding", "effective", "permitted", "ambient"], &["CAP_CHOWN"]);
        let answer = world.run().assert_ok();
        assert!(answer.err.contains("can't raise ambient capability CAP_CHOWN: "), "{answer}");
    }

    everywhere fn exec_has_the_sets_of_the_config(world) {
        world.up_waiting();
        let caps = world.exec_probe(&[], &["facts"]).assert_ok().facts()["caps"].clone();
        let three = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]);
        for set in ["bounding", "effective", "permitted"] {
            assert_eq!(caps[set], three, "{set}");
        }
        assert_eq!((&caps["inheritable"], &caps["ambient"]), (&json!([]), &json!([])));
    }

    everywhere fn exec_adds_capabilities(world) {
        world.up_waiting();
        let caps = world.exec_probe(&["--cap", "CAP_SYS_NICE", "--cap", "CAP_CHOWN"], &["facts"]);
        let caps = caps.assert_ok().facts()["caps"].clone();
        for set in ["bounding", "effective", "permitted"] {
            let names = caps[set].as_array().expect("names");
            assert!(names.contains(&json!("CAP_SYS_NICE")) && names.contains(&json!("CAP_CHOWN")), "{set}");
            assert_eq!(names.len(), 5, "{set}");
        }
        assert_eq!(caps["inheritable"], json!([]), "exec must not add inheritable ones");
    }
}
