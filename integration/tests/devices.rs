//! Device nodes, the links of /dev, and device rules: v1 files and v2 programs.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use knarr_integration::{Value, World, cases, json};

/// Opening 240:7, of the range for experiments: the rules come before the search for a driver.
const NO_DRIVER: i32 = libc::ENXIO;

/// Lets the program make nodes, so that rules alone decide.
fn with_mknod(world: &mut World) -> &mut World {
    world.capabilities(&["bounding", "effective", "permitted"], &["CAP_MKNOD"])
}

fn rules(world: &mut World, rules: Value) -> &mut World {
    world.set("/linux/resources/devices", rules)
}

#[track_caller]
fn device(world: &mut World, entry: Value) -> Value {
    let path = entry["path"].as_str().expect("a path").to_owned();
    world.push("/linux/devices", entry).probe(&["stat", &path]);
    world.run().assert_ok().act(0)["value"].clone()
}

cases! {
    everywhere fn the_default_nodes(world) {
        let nodes = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
        let paths: Vec<String> = nodes.iter().map(|(name, ..)| format!("/dev/{name}")).collect();
        let verbs: Vec<&str> = paths.iter().flat_map(|path| ["stat", path.as_str()]).collect();
        world.probe(&verbs);
        let answer = world.run().assert_ok();
        for (index, (name, major, minor)) in nodes.into_iter().enumerate() {
            let stat = &answer.act(index)["value"];
            assert_eq!(stat["kind"], "char", "{name}: {stat}");
            assert_eq!((&stat["major"], &stat["minor"]), (&json!(major), &json!(minor)), "{name}");
            assert_eq!(stat["mode"], 0o666, "{name}");
            assert_eq!((&stat["uid"], &stat["gid"]), (&json!(0), &json!(0)), "{name}");
        }
    }

    everywhere fn the_links_of_dev(world) {
        world.probe(&["stat", "/dev/fd", "stat", "/dev/stdin", "stat", "/dev/stdout", "stat", "/dev/stderr",
            "stat", "/dev/ptmx", "open-read", "/dev/ptmx"]);
        let answer = world.run().assert_ok();
        let targets = ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"];
        for (index, target) in targets.into_iter().enumerate() {
            assert_eq!(answer.act(index)["value"]["target"], target);
        }
        assert_eq!(answer.act(5)["ok"], true, "{}", answer.act(5));
    }

    everywhere fn they_can_be_used(world) {
        world.probe(&["write", "/dev/null", "x", "read", "/dev/zero", "write", "/dev/full", "x", "open-read",
            "/dev/urandom"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["ok"], true);
        assert_eq!(answer.act(1)["value"].as_str().map(str::len), Some(65536));
        assert_eq!(answer.act(2)["errno"], libc::ENOSPC);
        assert_eq!(answer.act(3)["ok"], true);
    }

    everywhere fn a_character_device(world) {
        let stat = device(world, json!({
            "path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 11, "gid": 22,
        }));
        assert_eq!((&stat["kind"], &stat["major"], &stat["minor"]), (&json!("char"), &json!(1), &json!(5)));
        assert_eq!((&stat["mode"], &stat["uid"], &stat["gid"]), (&json!(0o640), &json!(11), &json!(22)));
    }

    everywhere fn an_unbuffered_device_is_a_character_device(world) {
        let stat = device(world, json!({"path": "/dev/mine", "type": "u", "major": 1, "minor": 5}));
        assert_eq!((&stat["kind"], &stat["major"]), (&json!("char"), &json!(1)));
    }

    everywhere fn a_block_device(world) {
        let stat = device(world, json!({"path": "/dev/disk", "type": "b", "major": 7, "minor": 200, "fileMode": 0o660}));
        assert_eq!((&stat["kind"], &stat["major"], &stat["minor"]), (&json!("block"), &json!(7), &json!(200)));
        assert_eq!(stat["mode"], 0o660);
    }

    everywhere fn a_fifo(world) {
        let stat = device(world, json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o600}));
        assert_eq!((&stat["kind"], &stat["mode"]), (&json!("fifo"), &json!(0o600)));
    }

    everywhere fn a_device_in_a_folder_that_is_made(world) {
        let stat = device(world, json!({"path": "/dev/of/mine/zero", "type": "c", "major": 1, "minor": 5}));
        assert_eq!(stat["kind"], "char");
    }

    everywhere fn a_file_mode_with_a_type_is_stripped(world) {
        let stat = device(world, json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o20600}));
        assert_eq!(stat["mode"], 0o600);
    }

    everywhere fn a_default_device_can_be_overridden(world) {
        let stat = device(world, json!({
            "path": "/dev/full", "type": "c", "major": 1, "minor": 7, "fileMode": 0o600, "uid": 5, "gid": 6,
        }));
        assert_eq!((&stat["mode"], &stat["uid"], &stat["gid"]), (&json!(0o600), &json!(5), &json!(6)));
    }

    everywhere fn the_umask_of_the_caller_does_not_matter(world) {
        world.push("/linux/devices", json!({"path": "/dev/a", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}));
        world.probe(&["stat", "/dev/a", "stat", "/dev/null"]);
        world.write_config();
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(world.program()).arg("--root").arg(world.root());
        command.args(["run", &world.id]).current_dir(world.bundle());
        let answer = world.finish(command).assert_ok();
        assert_eq!(answer.act(0)["value"]["mode"], 0o666);
        assert_eq!(answer.act(1)["value"]["mode"], 0o666);
    }

    everywhere fn an_unknown_device_type_is_refused(world) {
        world.push("/linux/devices", json!({"path": "/dev/a", "type": "q", "major": 1, "minor": 5}));
        world.run().assert_fails_with("q");
        world.assert_nothing_left();
    }

    everywhere fn a_device_is_bound_in_a_user_namespace(world) {
        world.user_namespace(100_000);
        world.push("/linux/devices", json!({"path": "/dev/full", "type": "c", "major": 1, "minor": 7}));
        // runc takes a default device that is listed again off the list of what is allowed.
        rules(world, json!([{"allow": true, "type": "c", "major": 1, "minor": 7, "access": "rwm"}]));
        world.probe(&["write", "/dev/full", "x"]);
        assert_eq!(world.run().assert_ok().act(0)["errno"], libc::ENOSPC);
    }

    everywhere fn everything_else_is_denied(world) {
        with_mknod(world).probe(&["mknod", "/tmp/dev", "c", "240", "7", "open-read", "/tmp/dev",
            "mknod", "/tmp/disk", "b", "7", "0", "open-read", "/tmp/disk"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["ok"], true, "making nodes is allowed: {}", answer.act(0));
        assert_eq!(answer.act(1)["errno"], libc::EPERM, "opening them is not");
        assert_eq!(answer.act(3)["errno"], libc::EPERM);
    }

    everywhere fn a_rule_allows(world) {
        rules(world, json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 240, "minor": 7, "access": "r"},
        ]));
        with_mknod(world).probe(&["mknod", "/tmp/dev", "c", "240", "7", "open-read", "/tmp/dev", "open-write",
            "/tmp/dev"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(1)["errno"], NO_DRIVER, "{}", answer.act(1));
        assert_eq!(answer.act(2)["errno"], libc::EPERM, "only reading is allowed");
    }

    everywhere fn the_last_rule_wins(world) {
        rules(world, json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 240, "minor": 7, "access": "rwm"},
            {"allow": false, "type": "c", "major": 240, "minor": 7, "access": "w"},
        ]));
        with_mknod(world).probe(&["mknod", "/tmp/dev", "c", "240", "7", "open-read", "/tmp/dev", "open-write",
            "/tmp/dev"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(1)["errno"], NO_DRIVER);
        assert_eq!(answer.act(2)["errno"], libc::EPERM);
    }

    everywhere fn a_rule_for_every_minor(world) {
        rules(world, json!([
            {"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 240, "access": "rwm"},
        ]));
        with_mknod(world).probe(&["mknod", "/tmp/dev", "c", "240", "7", "open-write", "/tmp/dev"]);
        assert_eq!(world.run().assert_ok().act(1)["errno"], NO_DRIVER);
    }

    everywhere fn the_default_devices_are_allowed_always(world) {
        with_mknod(world).probe(&["mknod", "/tmp/z", "c", "1", "5", "open-read", "/tmp/z", "mknod", "/tmp/u", "c", "1",
            "9", "open-read", "/tmp/u"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(1)["ok"], true);
        assert_eq!(answer.act(3)["ok"], true);
    }

    everywhere fn without_rules_hidden_devices_stay_denied(world) {
        world.unset("/linux/resources/devices");
        with_mknod(world).probe(&["mknod", "/tmp/z", "c", "1", "5", "open-read", "/tmp/z"]);
        assert_eq!(world.run().assert_ok().act(1)["ok"], true);
    }

    everywhere fn exec_is_under_the_rules_too(world) {
        with_mknod(world).up_waiting();
        let answer = world.exec_probe(&[], &["mknod", "/tmp/dev", "c", "240", "7", "open-read", "/tmp/dev"]);
        assert_eq!(answer.assert_ok().act(1)["errno"], libc::EPERM);
    }

    knarr("runc 1.1 takes it") fn a_rule_without_access_is_refused(world) {
        rules(world, json!([{"allow": true, "type": "c", "major": 240, "minor": 7}]));
        world.run().assert_fails_with("device access at 0 field cannot be empty");
        world.assert_nothing_left();
    }

    everywhere fn other_letters_in_a_rule_mean_nothing(world) {
        rules(world, json!([
            {"allow": true, "type": "c", "major": 240, "minor": 7, "access": "rax"},
            {"allow": false, "type": "c", "major": 240, "minor": 8, "access": "rwa"},
        ]));
        with_mknod(world).probe(&["mknod", "/tmp/dev", "c", "240", "7", "open-read", "/tmp/dev", "open-write",
            "/tmp/dev"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(1)["errno"], NO_DRIVER);
        assert_eq!(answer.act(2)["errno"], libc::EPERM);
    }
}
