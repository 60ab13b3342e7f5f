//! Bad input: one clear line, a status that is not zero, and nothing left.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::os::unix::fs::PermissionsExt;

use knarr_integration::{Answer, Value, World, cases, json, leftovers};

/// The log's lines of level error.
fn errors(answer: &Answer) -> Vec<&str> {
    answer.err.lines().filter(|line| line.contains("level=error")).collect()
}

/// One line of error that says `text`; nothing on stdout; nothing left.
#[track_caller]
fn assert_one_line(world: &World, answer: Answer, text: &str) {
    let answer = answer.assert_fails_with(text);
    assert_eq!(errors(&answer).len(), 1, "{answer}");
    if !world.is_runc() {
        assert_eq!(answer.err.trim_end().lines().count(), 1, "{answer}");
        assert!(answer.err.starts_with("time=\""), "{answer}");
        assert!(!answer.err.contains("os error"), "{answer}");
    }
    assert_eq!(answer.out, "");
    world.assert_nothing_left();
}

#[track_caller]
fn assert_refused(world: &mut World, pointer: &str, value: Value, text: &str) {
    world.set(pointer, value);
    assert_one_line(world, world.create().answer, text);
}

cases! {
    everywhere fn a_missing_config(world) {
        let answer = world.call(&["run", &world.id]);
        assert_one_line(world, answer, "JSON specification file config.json not found");
    }

    everywhere fn a_missing_bundle(world) {
        let answer = world.call(&["run", "--bundle", "/no/such/bundle", &world.id]);
        assert_one_line(world, answer, "no such file or directory");
    }

    everywhere fn a_config_that_is_not_json(world) {
        fs::write(world.bundle().join("config.json"), "{\"process\": nonsense}").expect("a config");
        let answer = world.call(&["run", &world.id]);
        assert_one_line(world, answer, "");
    }

    knarr("runc does not say where") fn the_position_of_the_mistake_is_told(world) {
        fs::write(world.bundle().join("config.json"), "{\n  \"ociVersion\": \"1.0.2\",\n  nonsense\n}").expect("a config");
        let answer = world.call(&["run", &world.id]);
        assert_one_line(world, answer, "line 3");
    }

    everywhere fn an_empty_config(world) {
        fs::write(world.bundle().join("config.json"), "").expect("a config");
        let answer = world.call(&["run", &world.id]);
        assert_one_line(world, answer, "");
    }

    everywhere fn a_config_that_is_a_list(world) {
        fs::write(world.bundle().join("config.json"), "[]").expect("a config");
        let answer = world.call(&["run", &world.id]);
        assert_one_line(world, answer, "");
    }

    everywhere fn a_config_that_is_null(world) {
        fs::write(world.bundle().join("config.json"), "null").expect("a config");
        let answer = world.call(&["run", &world.id]);
        assert!(!answer.status.success(), "{answer}");
        world.assert_nothing_left();
    }

    everywhere fn a_value_of_the_wrong_type(world) {
        assert_refused(world, "/process/user/uid", json!("root"), "uid");
    }

    everywhere fn a_number_out_of_range(world) {
        assert_refused(world, "/process/user/uid", json!(-1), "");
    }

    everywhere fn no_process(world) {
        world.unset("/process");
        assert_one_line(world, world.create().answer, "process property must not be empty");
    }

    everywhere fn no_arguments(world) {
        assert_refused(world, "/process/args", json!([]), "args must not be empty");
    }

    everywhere fn no_directory(world) {
        assert_refused(world, "/process/cwd", json!(""), "Cwd property must not be empty");
    }

    everywhere fn a_relative_directory(world) {
        assert_refused(world, "/process/cwd", json!("relative"), "Cwd must be an absolute path");
    }

    everywhere fn no_root(world) {
        world.unset("/root");
        let answer = world.create().answer;
        assert!(!answer.status.success(), "{answer}");
        world.assert_nothing_left();
    }

    everywhere fn a_root_that_is_missing(world) {
        assert_refused(world, "/root/path", json!("nowhere"), "no such file or directory");
    }

    everywhere fn a_root_that_is_a_file(world) {
        world.file("bundle/plain", "");
        assert_refused(world, "/root/path", json!("plain"), "not a directory");
    }

    everywhere fn an_absolute_root(world) {
        let rootfs = world.rootfs();
        world.set("/root/path", rootfs.to_str().expect("utf-8"));
        world.run().assert_ok();
    }

    everywhere fn a_root_that_is_a_symlink_is_followed_or_refused(world) {
        std::os::unix::fs::symlink("rootfs", world.bundle().join("link")).expect("a symlink");
        world.set("/root/path", "link");
        let answer = world.run();
        if answer.status.success() {
            assert!(answer.facts()["root_entries"].to_string().contains("bin"));
        } else {
            assert_one_line(world, answer, "invalid rootfs: not an absolute path, or a symlink");
        }
    }

    everywhere fn a_bad_id(world) {
        for id in ["a/b", "..", ".", "a b", "ü", "a\nb", "a:b"] {
            world.write_config();
            let answer = world.call(&["create", id]).assert_fails_with("invalid container ID format");
            assert_eq!(errors(&answer).len(), 1, "{answer}");
        }
        world.assert_nothing_left();
    }

    everywhere fn an_empty_id(world) {
        world.write_config();
        world.call(&["create", ""]).assert_fails_with("container id cannot be empty");
    }

    everywhere fn ids_that_are_good(world) {
        world.probe(&["exit", "0"]).write_config();
        for id in ["a", "A-b_c.d+e", "0", "-", "..."] {
            let id = format!("{}{id}", world.id);
            world.call(&["run", &id]).assert_ok();
        }
    }

    everywhere fn a_long_id(world) {
        world.probe(&["exit", "0"]).write_config();
        let id = format!("{}-{}", world.id, "x".repeat(150));
        world.call(&["run", &id]).assert_ok();
    }

    everywhere fn an_id_that_is_too_long(world) {
        world.write_config();
        let answer = world.call(&["run", &"x".repeat(1025)]);
        assert!(!answer.status.success(), "{answer}");
        world.assert_nothing_left();
    }

    everywhere fn an_unknown_field_is_ignored(world) {
        world.set("/process/favouriteColour", "blue").set("/linux/futureThing", json!({"a": 1}));
        world.set("/x-unknown", json!([1, 2]));
        world.run().assert_ok();
    }

    everywhere fn null_is_absent(world) {
        world.set("/hooks", json!(null)).set("/linux/seccomp", json!(null)).set("/annotations", json!(null));
        world.set("/process/rlimits", json!(null)).set("/linux/devices", json!(null));
        world.run().assert_ok();
    }

    everywhere fn any_version_of_the_specification(world) {
        for version in ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.0", "1.3.0"] {
            world.set("/ociVersion", version).probe(&["exit", "0"]);
            world.run().assert_ok();
        }
    }

    everywhere fn a_config_of_some_size(world) {
        let annotations: serde_json::Map<String, Value> =
            (0..5000).map(|number| (format!("org.example.key-{number}"), json!("v".repeat(200)))).collect();
        world.set("/annotations", Value::Object(annotations));
        world.run().assert_ok();
    }

    everywhere fn deep_nesting_does_not_crash(world) {
        let deep = format!("{{\"annotations\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        fs::write(world.bundle().join("config.json"), deep).expect("a config");
        let answer = world.call(&["run", &world.id]);
        assert_eq!(answer.code(), 1, "{answer}");
        world.assert_nothing_left();
    }

    knarr("refused until it is there; runc has it") fn resctrl_is_refused_by_name(world) {
        assert_refused(world, "/linux/intelRdt", json!({"closID": "a"}), "intelRdt");
    }

    everywhere fn a_mount_without_a_destination(world) {
        world.push("/mounts", json!({"type": "tmpfs", "source": "tmpfs"}));
        let answer = world.create().answer;
        assert!(!answer.status.success(), "{answer}");
        world.assert_nothing_left();
    }

    everywhere fn a_state_directory_that_cannot_be_made(world) {
        let file = world.file("plain", "");
        world.write_config();
        let mut command = world.bare_command();
        command.arg("--root").arg(file.join("state")).args(["create", &world.id]);
        world.finish(command).assert_fails_with("not a directory");
        world.assert_nothing_left();
    }

    everywhere fn a_caller_without_privileges(world) {
        // Nobody may make these namespaces without a user namespace.
        world.write_config();
        fs::set_permissions(&world.dir, fs::Permissions::from_mode(0o777)).expect("a mode");
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(world.program());
        command.arg("--root").arg(world.dir.join("state")).args(["run", &world.id]);
        command.current_dir(world.bundle()).env_clear().env(leftovers::MARK, &world.id);
        let answer = world.finish(command);
        assert!(!answer.status.success(), "{answer}");
        assert_eq!(errors(&answer).len(), 1, "{answer}");
        world.assert_nothing_left();
    }
}
