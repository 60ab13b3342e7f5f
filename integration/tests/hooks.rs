//! The six kinds of hooks: when, where, with what, and what their failure does; runtime-spec, "POSIX-platform Hooks".
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::path::PathBuf;

use knarr_integration::{Value, World, answer, bundle, cases, json, leftovers, namespace_of};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Where hooks write, as the host and as the container name it.
fn record(world: &World, kind: &str) -> (PathBuf, String) {
    let outside = world.rootfs().join("tmp/hooks");
    let path =
        if kind == "startContainer" { "/tmp/hooks".into() } else { outside.to_string_lossy().into_owned() };
    (outside, path)
}

/// The probe as a hook of this kind that records what it sees under `label`.
fn hook(world: &World, kind: &str, label: &str) -> Value {
    let (_, file) = record(world, kind);
    let program = if kind == "startContainer" { "/bin/probe".into() } else { bundle::probe() };
    json!({"path": program, "args": ["probe", "hook", file, "echo", label]})
}

fn add(world: &mut World, kind: &str) {
    let entry = hook(world, kind, kind);
    world.push(&format!("/hooks/{kind}"), entry);
}

/// A shell as a hook.
fn shell(world: &mut World, kind: &str, script: &str) {
    let program = if kind == "startContainer" {
        "/bin/sh".to_owned()
    } else {
        world.rootfs().join("bin/busybox").to_string_lossy().into_owned()
    };
    world.push(&format!("/hooks/{kind}"), json!({"path": program, "args": ["sh", "-c", script]}));
}

/// What the hooks recorded, in order.
fn seen(world: &World) -> Vec<Value> {
    answer::answers(&knarr_integration::world::read(&record(world, "").0))
}

/// What the hook of this kind recorded.
#[track_caller]
fn seen_by(world: &World, kind: &str) -> Value {
    let all = seen(world);
    let found = all.iter().find(|entry| label(entry) == kind);
    found.unwrap_or_else(|| panic!("hook {kind} did not run: {all:#?}")).clone()
}

fn label(entry: &Value) -> &str {
    entry["args"].as_array().and_then(|args| args.last()).and_then(Value::as_str).unwrap_or_default()
}

/// The whole life of a container with one hook of each kind.
#[track_caller]
fn live(world: &mut World) {
    for kind in KINDS {
        add(world, kind);
    }
    world.up_waiting();
    world.stop();
    world.delete().assert_ok();
}

/// A failing hook of `kind` stops `run`; nothing is left.
#[track_caller]
fn assert_failure_stops(world: &mut World, kind: &str) {
    shell(world, kind, "echo said; echo why >&2; exit 7");
    world.probe(&["create", "/tmp/started"]);
    let answer = world.run().assert_fails_with("hook #0:").assert_fails_with("exit status 7");
    if !world.is_runc() {
        answer
            .assert_fails_with(&format!("error running {kind} hook #0: exit status 7, stdout: said"))
            .assert_fails_with("stderr: why");
    }
    assert!(!world.rootfs().join("tmp/started").exists(), "the program ran all the same");
    world.assert_nothing_left();
}

cases! {
    everywhere fn each_runs_at_its_time(world) {
        for kind in KINDS {
            add(world, kind);
        }
        world.probe(&["block", "echo", "ready", "wait"]);
        let created = world.create().assert_ok();
        let labels = |world: &World| seen(world).iter().map(|entry| label(entry).to_owned()).collect::<Vec<_>>();
        let by_create = labels(world);
        assert_eq!(by_create[..3], ["prestart", "createRuntime", "createContainer"]);
        world.start().assert_ok();
        created.wait_for("ready");
        let by_start = labels(world);
        assert!(by_start.contains(&"startContainer".to_owned()) && by_start.contains(&"poststart".to_owned()));
        assert!(!by_start.contains(&"poststop".to_owned()));
        if !world.is_runc() {
            // runc 1.1 runs poststart before the program starts.
            assert_eq!(by_start[3..], ["startContainer", "poststart"]);
        }
        world.stop();
        assert!(!labels(world).contains(&"poststop".to_owned()), "before delete");
        world.delete().assert_ok();
        assert_eq!(labels(world).last().map(String::as_str), Some("poststop"));
        assert_eq!(labels(world).len(), 6);
    }

    everywhere fn hooks_of_a_kind_run_in_order(world) {
        for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
            for number in 0..3 {
                let entry = hook(world, kind, &format!("{kind}-{number}"));
                world.push(&format!("/hooks/{kind}"), entry);
            }
        }
        world.run().assert_ok();
        let labels: Vec<String> = seen(world).iter().map(|entry| label(entry).to_owned()).collect();
        let expected: Vec<String> = ["prestart", "createRuntime", "createContainer", "startContainer"].iter()
            .flat_map(|kind| (0..3).map(move |number| format!("{kind}-{number}"))).collect();
        assert_eq!(labels, expected);
    }

    everywhere fn each_gets_the_state_on_its_input(world) {
        world.set("/annotations", json!({"org.example.key": "value with \"quotes\""}));
        live(world);
        let bundle = world.bundle().canonicalize().expect("the bundle");
        let status = [("prestart", "creating"), ("createRuntime", "creating"), ("createContainer", "creating"),
            ("startContainer", "created"), ("poststart", "running"), ("poststop", "stopped")];
        for (kind, status) in status {
            let state = seen_by(world, kind)["state"].clone();
            assert_eq!(state["id"], world.id.as_str(), "{kind}: {state}");
            assert_eq!(state["bundle"], bundle.to_str().expect("utf-8"), "{kind}");
            assert_eq!(state["annotations"], json!({"org.example.key": "value with \"quotes\""}), "{kind}");
            assert!(state["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "{kind}");
            if !(world.is_runc() && kind == "poststart") {
                // runc 1.1 calls it created: it has not started the program then.
                assert_eq!(state["status"], status, "{kind}");
            }
        }
    }

    everywhere fn the_pid_of_the_state(world) {
        world.without_namespace("pid");
        for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
            add(world, kind);
        }
        world.up_waiting();
        let pid = world.pid();
        world.stop();
        world.delete().assert_ok();
        for kind in ["prestart", "createRuntime", "poststart"] {
            assert_eq!(seen_by(world, kind)["state"]["pid"], pid, "{kind}");
        }
    }

    everywhere fn those_of_the_runtime_are_in_its_namespaces(world) {
        live(world);
        for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
            let ns = seen_by(world, kind)["ns"].clone();
            for file in ["mnt", "net", "pid", "ipc", "uts", "user"] {
                assert_eq!(ns[file], namespace_of("thread-self", file), "{kind}: {file}");
            }
        }
    }

    everywhere fn those_of_the_container_are_in_its_namespaces(world) {
        for kind in ["createContainer", "startContainer"] {
            add(world, kind);
        }
        world.up_waiting();
        for kind in ["createContainer", "startContainer"] {
            let ns = seen_by(world, kind)["ns"].clone();
            for file in ["mnt", "net", "ipc", "uts"] {
                assert_eq!(ns[file], namespace_of(world.pid(), file), "{kind}: {file}");
            }
        }
    }

    everywhere fn create_container_is_before_the_new_root(world) {
        add(world, "createContainer");
        world.run().assert_ok();
        let entry = seen_by(world, "createContainer");
        let rootfs = world.rootfs().canonicalize().expect("the rootfs");
        assert_eq!(entry["cwd"], rootfs.to_str().expect("utf-8"));
        let host: Vec<Value> = std::fs::read_dir("/").expect("/").flatten()
            .map(|entry| json!(entry.file_name().to_string_lossy())).collect();
        assert_eq!(entry["root_entries"].as_array().map(Vec::len), Some(host.len()), "the host's paths are visible");
    }

    everywhere fn start_container_is_in_the_new_root(world) {
        add(world, "startContainer");
        world.run().assert_ok();
        let entry = seen_by(world, "startContainer");
        assert_eq!(entry["cwd"], "/");
        assert!(entry["root_entries"].to_string().contains("bin"));
        assert!(!std::path::Path::new("/tmp/hooks").exists());
    }

    everywhere fn the_mounts_are_done_before_create_runtime(world) {
        let seen = world.dir.join("mounts");
        let script = format!("cat /proc/$(sed -n 's/.*\"pid\":\\([0-9]*\\).*/\\1/p')/mountinfo > {}", seen.display());
        world.push("/hooks/createRuntime", json!({"path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["PATH=/usr/bin:/bin"]}));
        world.run().assert_ok();
        let text = std::fs::read_to_string(seen).expect("its mounts");
        assert!(text.contains("/rootfs/proc "), "{text}");
    }

    everywhere fn limits_are_set_before_create_runtime(world) {
        let seen = world.dir.join("cgroup");
        let script = format!("cat /proc/$(sed -n 's/.*\"pid\":\\([0-9]*\\).*/\\1/p')/cgroup > {}", seen.display());
        world.push("/hooks/createRuntime", json!({"path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["PATH=/usr/bin:/bin"]}));
        world.run().assert_ok();
        let text = std::fs::read_to_string(seen).expect("its cgroup");
        assert!(text.contains(&world.cgroup), "{text}");
    }

    everywhere fn arguments_and_environment_are_those_given(world) {
        let mut entry = hook(world, "createRuntime", "two words");
        entry["env"] = json!(["ONLY=this", "B="]);
        entry["args"][0] = json!("another-name");
        world.push("/hooks/createRuntime", entry);
        world.run().assert_ok();
        let entry = seen(world).remove(0);
        assert_eq!(entry["args"][0], "another-name");
        assert_eq!(label(&entry), "two words");
        assert_eq!(entry["env"], json!({"ONLY": "this", "B": ""}));
    }

    everywhere fn without_an_environment_it_is_the_runtimes(world) {
        add(world, "createRuntime");
        world.run().assert_ok();
        let env = seen_by(world, "createRuntime")["env"].clone();
        assert_eq!(env[leftovers::MARK], world.id.as_str());
    }

    everywhere fn start_container_has_the_environment_of_the_program(world) {
        world.push("/process/env", json!("OF=the-program"));
        add(world, "startContainer");
        world.run().assert_ok();
        assert_eq!(seen_by(world, "startContainer")["env"]["OF"], "the-program");
    }

    knarr("runc 1.1 gives it the runtime's") fn create_container_has_an_empty_environment(world) {
        add(world, "createContainer");
        world.run().assert_ok();
        assert_eq!(seen_by(world, "createContainer")["env"], json!({}));
    }

    everywhere fn the_directory_of_those_of_the_runtime_is_the_bundle(world) {
        add(world, "createRuntime");
        world.write_config();
        let bundle = world.bundle();
        let mut command = world.command(&["run", "--bundle", bundle.to_str().expect("utf-8"), &world.id]);
        command.current_dir("/");
        world.finish(command).assert_ok();
        assert_eq!(seen_by(world, "createRuntime")["cwd"], bundle.to_str().expect("utf-8"));
    }

    everywhere fn a_hook_that_does_not_read_its_input(world) {
        world.set("/annotations", json!({"large": "x".repeat(200_000)}));
        shell(world, "createRuntime", "exit 0");
        world.run().assert_ok();
    }

    knarr("runc 1.1 leaks some to createContainer") fn a_hook_gets_no_descriptor_of_the_runtime(world) {
        for kind in ["createRuntime", "createContainer", "startContainer"] {
            add(world, kind);
        }
        world.run().assert_ok();
        for entry in seen(world) {
            let fds = entry["fds"].as_object().expect("descriptors");
            let open: Vec<&String> = fds.keys().filter(|fd| fd.parse::<u32>().is_ok_and(|fd| fd > 2)).collect();
            assert!(open.is_empty(), "{}: {fds:?}", label(&entry));
        }
    }

    everywhere fn its_output_is_not_the_containers(world) {
        shell(world, "createRuntime", "echo noise; echo noise >&2");
        world.probe(&["echo", "x"]);
        let answer = world.run().assert_ok();
        assert!(!answer.out.contains("noise") && !answer.err.contains("noise"), "{answer}");
    }

    everywhere fn a_failing_prestart_hook(world) {
        assert_failure_stops(world, "prestart");
    }

    everywhere fn a_failing_create_runtime_hook(world) {
        assert_failure_stops(world, "createRuntime");
    }

    everywhere fn a_failing_create_container_hook(world) {
        assert_failure_stops(world, "createContainer");
    }

    everywhere fn a_failing_start_container_hook(world) {
        assert_failure_stops(world, "startContainer");
    }

    everywhere fn after_a_failure_the_next_ones_do_not_run(world) {
        shell(world, "createRuntime", "exit 1");
        add(world, "createRuntime");
        add(world, "createContainer");
        world.run().assert_fails_with("exit status 1");
        assert!(seen(world).is_empty());
        world.assert_nothing_left();
    }

    everywhere fn after_a_failed_create_poststop_runs(world) {
        shell(world, "createRuntime", "exit 1");
        add(world, "poststop");
        world.run().assert_fails_with("exit status 1");
        let ran = seen(world).len();
        assert!(ran <= 1, "at most once, ran {ran} times");
    }

    everywhere fn a_failing_poststart_hook_ends_the_container(world) {
        shell(world, "poststart", "exit 3");
        world.probe(&["block", "wait"]);
        world.run_with(&["--detach"]).assert_fails_with("exit status 3");
        assert!(leftovers::processes(&world.id).is_empty(), "the container lives on");
    }

    knarr("runc 1.1 gives up at the first") fn a_failing_poststop_hook_is_a_warning(world) {
        shell(world, "poststop", "exit 3");
        add(world, "poststop");
        world.up_waiting();
        world.stop();
        let answer = world.delete().assert_ok();
        assert!(answer.err.contains("level=warning"), "{answer}");
        assert_eq!(seen(world).len(), 1, "the next one runs");
        world.assert_nothing_left();
    }

    everywhere fn a_hook_that_is_missing_fails(world) {
        world.push("/hooks/createRuntime", json!({"path": "/no/such/hook"}));
        world.run().assert_fails_with("/no/such/hook").assert_fails_with("no such file or directory");
        world.assert_nothing_left();
    }

    everywhere fn a_hook_killed_by_a_signal_fails(world) {
        shell(world, "createRuntime", "kill -9 $$");
        world.run().assert_fails_with("signal: killed");
        world.assert_nothing_left();
    }

    everywhere fn a_hook_past_its_time_is_killed(world) {
        let program = world.rootfs().join("bin/busybox");
        world.push("/hooks/createRuntime", json!({"path": program, "args": ["sleep", "1000"], "timeout": 1}));
        let begun = std::time::Instant::now();
        world.run().assert_fails_with("hook ran past specified timeout of 1.0s");
        assert!(begun.elapsed().as_secs() < 10);
        world.assert_nothing_left();
    }

    everywhere fn a_hook_within_its_time_passes(world) {
        let mut entry = hook(world, "createRuntime", "in time");
        entry["timeout"] = json!(20);
        world.push("/hooks/createRuntime", entry);
        world.run().assert_ok();
        assert_eq!(seen(world).len(), 1);
    }

    knarr("runc does not look at it") fn a_timeout_of_zero_is_refused(world) {
        let mut entry = hook(world, "createRuntime", "never");
        entry["timeout"] = json!(0);
        world.push("/hooks/createRuntime", entry);
        world.run().assert_fails_with("timeout");
        world.assert_nothing_left();
    }

    knarr("runc's number of nanoseconds overflows") fn a_timeout_beyond_the_clock_is_none(world) {
        world.push("/hooks/createRuntime", json!({"path": "/bin/true", "timeout": i64::MAX}));
        world.run().assert_ok();
        world.assert_nothing_left();
    }

    knarr("runc does not look at it") fn a_relative_hook_is_refused(world) {
        world.push("/hooks/createRuntime", json!({"path": "bin/true"}));
        world.run().assert_fails_with("absolute");
        world.assert_nothing_left();
    }

    everywhere fn a_hook_may_add_a_mount_in_the_container(world) {
        let target = world.rootfs().join("mnt");
        let script = format!("mount -t tmpfs hooked {}", target.display());
        world.push("/hooks/createContainer", json!({"path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["PATH=/usr/bin:/bin"]}));
        let facts = world.run_facts();
        let mounts = facts["mounts"].as_array().expect("mounts");
        assert!(mounts.iter().any(|m| m["point"] == "/mnt" && m["source"] == "hooked"), "{mounts:#?}");
        world.assert_nothing_left();
    }

    everywhere fn hooks_in_a_user_namespace(world) {
        world.user_namespace(100_000);
        // Root makes the file, the container's root appends to it: not in a sticky folder, `fs.protected_regular`.
        let tmp = world.rootfs().join("tmp");
        std::fs::set_permissions(&tmp, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
        let (file, _) = record(world, "");
        std::fs::write(&file, "").expect("a file");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("a mode");
        for kind in ["createRuntime", "createContainer"] {
            add(world, kind);
        }
        world.run().assert_ok();
        assert_eq!(seen_by(world, "createRuntime")["ns"]["user"], namespace_of("thread-self", "user"));
        let entry = seen_by(world, "createContainer");
        assert_ne!(entry["ns"]["user"], namespace_of("thread-self", "user"));
        assert_eq!(entry["uid"], json!([0, 0, 0, 0]));
    }
}
