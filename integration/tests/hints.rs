//! What a failed command says beside its text: `errno`, `call`, `field` and `hint` of the JSON log, and the hint as a line
//! of its own on a terminal. Each hint is provoked on the real kernel.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use knarr_integration::{Answer, Value, World, cases, json};
use rustix::mount::{MountFlags, mount};

/// The one error line of a command that logs JSON on stderr.
#[track_caller]
fn error(answer: &Answer) -> Value {
    assert!(!answer.status.success(), "{answer}");
    let lines: Vec<Value> = answer.err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let errors: Vec<&Value> = lines.iter().filter(|line| line["level"] == "error").collect();
    assert_eq!(errors.len(), 1, "{answer}");
    errors[0].clone()
}

#[track_caller]
fn run_error(world: &World) -> Value {
    world.write_config();
    let told = error(&world.call(&["--log-format", "json", "run", &world.id]));
    world.assert_nothing_left();
    told
}

/// The error has this number and field, a call that begins so, and a hint that says so.
#[track_caller]
fn assert_told(told: &Value, errno: i32, field: Option<&str>, call: &str, hint: &str) {
    assert_eq!((told["errno"].as_i64(), told["field"].as_str()), (Some(errno.into()), field), "{told}");
    assert!(told["call"].as_str().unwrap_or_default().starts_with(call), "{told}");
    assert!(told["hint"].as_str().unwrap_or_default().contains(hint), "{told}");
}

/// A file of the container's root that may be executed.
fn program(world: &mut World, content: &[u8]) {
    let path = world.rootfs().join("bin/tool");
    fs::write(&path, content).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    world.args(&["/bin/tool"]);
}

const ARGS: Option<&str> = Some("/process/args/0");

/// The runtime behind other programs, which change what it may do: `words` come before it.
fn behind(world: &World, words: &[&str], args: &[&str]) -> Answer {
    world.write_config();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(world.program()).arg("--root").arg(world.root());
    command.args(["--log-format", "json"]).args(args).current_dir(world.bundle());
    command
        .env_clear()
        .env(knarr_integration::leftovers::MARK, &world.id)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    world.finish(command)
}

cases! {
    knarr("a hint is ours") fn a_script_without_its_interpreter(world) {
        program(world, b"#!/no/such/shell -e\n");
        let told = run_error(world);
        assert_told(&told, libc::ENOENT, ARGS, "exec /bin/tool", "\"/no/such/shell\" is not in the container's root");
        let text = told["msg"].as_str().expect("a text");
        assert!(text.ends_with("exec /bin/tool: no such file or directory"), "runc's text alone: {text}");
    }

    knarr("a hint is ours") fn a_script_from_another_system(world) {
        program(world, b"#!/bin/sh\r\nexit\r\n");
        assert_told(&run_error(world), libc::ENOENT, ARGS, "exec", "ends in a carriage return");
    }

    knarr("a hint is ours") fn a_program_without_its_loader(world) {
        let dynamic = fs::read("/usr/bin/runc").or_else(|_| fs::read("/usr/bin/podman")).expect("a dynamic program");
        program(world, &dynamic);
        assert_told(&run_error(world), libc::ENOENT, ARGS, "exec", "its interpreter \"/lib");
    }

    knarr("a hint is ours") fn a_program_for_another_machine(world) {
        let mut elf = fs::read(world.rootfs().join("bin/busybox")).expect("busybox");
        elf[18..20].copy_from_slice(&if cfg!(target_arch = "aarch64") { [62, 0] } else { [183, 0] });
        program(world, &elf);
        let name = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
        assert_told(&run_error(world), libc::ENOEXEC, ARGS, "exec", &format!("it is a program for {name}"));
    }

    knarr("a hint is ours") fn no_program_at_all(world) {
        program(world, b"echo hello\n");
        assert_told(&run_error(world), libc::ENOEXEC, ARGS, "exec", "no ELF program, and no script");
    }

    knarr("a hint is ours") fn a_mount_where_nothing_runs(world) {
        let source = world.rootfs().join("bin").display().to_string();
        world.mount("/mnt", "bind", &source, &["rbind", "noexec"]).args(&["/mnt/busybox"]);
        let told = run_error(world);
        assert_told(&told, libc::EACCES, ARGS, "", "the option noexec");
        assert!(told["msg"].as_str().is_some_and(|text| text.ends_with("exec: \"/mnt/busybox\": permission denied")));
    }

    knarr("a hint is ours") fn exec_has_them_too(world) {
        world.up_waiting();
        fs::write(world.rootfs().join("bin/tool"), "#!/no/such/shell\n").expect("write");
        fs::set_permissions(world.rootfs().join("bin/tool"), fs::Permissions::from_mode(0o755)).expect("chmod");
        let told = error(&world.call(&["--log-format", "json", "exec", &world.id, "/bin/tool"]));
        assert_told(&told, libc::ENOENT, ARGS, "exec", "\"/no/such/shell\" is not");
    }

    knarr("a hint is ours") fn a_mount_without_its_source(world) {
        world.mount("/mnt", "bind", "/no/such/place", &["rbind"]);
        let index = world.config["mounts"].as_array().map_or(0, Vec::len) - 1;
        let field = format!("/mounts/{index}");
        assert_told(&run_error(world), libc::ENOENT, Some(&field), "open_tree(\"/no/such/place\")", "does not exist on the host");
    }

    knarr("a hint is ours") fn an_unknown_filesystem_names_its_mount(world) {
        world.mount("/mnt", "nosuchfs", "x", &[]);
        let index = world.config["mounts"].as_array().map_or(0, Vec::len) - 1;
        let told = run_error(world);
        assert_eq!((told["errno"].as_i64(), told["field"].as_str()), (Some(19), Some(format!("/mounts/{index}").as_str())));
        assert_eq!((told["call"].as_str(), told.get("hint")), (Some("fsopen(\"nosuchfs\")"), None));
    }

    knarr("a hint is ours") fn proc_where_the_visible_one_has_masks(world) {
        mount("none", "/proc/fs", "tmpfs", MountFlags::empty(), None).expect("a mask");
        world.accept_mounts();
        world.user_namespace(100_000);
        let told = run_error(world);
        assert_told(&told, libc::EPERM, Some("/mounts/0"), "fsmount", "one without masks is visible");
    }

    knarr_v1("cgroup2 has no controllers here") fn processors_that_are_not_there(world) {
        world.set("/linux/resources/cpu", json!({"cpus": "60"}));
        let told = run_error(world);
        assert!(told["call"].as_str().is_some_and(|call| call.contains("cpuset.cpus")), "{told}");
        assert!(told["hint"].as_str().is_some_and(|hint| hint.contains("CPUs or memory nodes")), "{told}");
    }

    knarr_v1("cgroup2 has no controllers here") fn a_cgroup_without_processors(world) {
        world.up_waiting();
        fs::create_dir(world.cgroup_dir("cpuset").join("empty")).expect("a cgroup that nobody has filled");
        let told = error(&world.call(&["--log-format", "json", "exec", "--cgroup", "cpuset:empty", &world.id, "/bin/true"]));
        assert_told(&told, libc::ENOSPC, None, "error adding pid", "is empty: fill it");
    }

    knarr_v1("cgroup2 has no controllers here") fn a_memory_limit_below_what_is_used(world) {
        world.up_waiting();
        let told = error(&world.call(&["--log-format", "json", "update", "--memory", "4096", &world.id]));
        assert!(told["hint"].as_str().is_some_and(|hint| hint.contains("use more than that already")), "{told}");
    }

    knarr_v2("version 1 has all controllers") fn a_controller_that_is_not_delegated(world) {
        world.set("/linux/resources/pids", json!({"limit": 9}));
        let told = run_error(world);
        assert!(told["hint"].as_str().is_some_and(|hint| hint.contains("cgroup.subtree_control")), "{told}");
    }

    knarr("a hint is ours") fn a_limit_on_namespaces(world) {
        // In a user namespace of its own, whose limits are its own.
        let script = "echo 0 > /proc/sys/user/max_uts_namespaces; exec \"$@\"";
        let words = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"];
        let told = error(&behind(world, &words, &["run", &world.id]));
        assert_told(&told, libc::ENOSPC, None, "clone3(", "a limit on namespaces");
        world.assert_nothing_left();
    }

    knarr("a hint is ours") fn a_caller_who_may_make_no_namespaces(world) {
        let words = ["setpriv", "--bounding-set=-sys_admin"];
        let told = error(&behind(world, &words, &["run", &world.id]));
        assert_told(&told, libc::EPERM, None, "clone3(", "namespaces may not be made here");
        world.assert_nothing_left();
    }

    knarr("a hint is ours") fn a_user_without_a_user_namespace(world) {
        fs::set_permissions(&world.dir, fs::Permissions::from_mode(0o777)).expect("a mode");
        let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        let told = error(&behind(world, &words, &["run", &world.id]));
        assert!(told["hint"].as_str().is_some_and(|hint| hint.contains("knarr spec --rootless")), "{told}");
    }

    knarr("a hint is ours") fn ids_of_others_without_the_helpers(world) {
        fs::set_permissions(&world.dir, fs::Permissions::from_mode(0o777)).expect("a mode");
        world.user_namespace(100_000).unset("/linux/resources").unset("/linux/cgroupsPath");
        // An unprivileged user, whose PATH holds nothing.
        let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "PATH=/nowhere"];
        let told = error(&behind(world, &words, &["run", &world.id]));
        assert_told(&told, libc::ENOENT, None, "run newuidmap", "package uidmap");
        world.assert_nothing_left();
    }

    knarr("a hint is ours") fn a_resource_limit_above_the_caller_s(world) {
        let script = "ulimit -n 900; exec \"$@\"";
        let words = ["setpriv", "--bounding-set=-sys_resource", "sh", "-c", script, "sh"];
        let told = error(&behind(world, &words, &["run", &world.id]));
        assert_told(&told, libc::EPERM, None, "prlimit(", "process.rlimits");
        world.assert_nothing_left();
    }

    /// Each number lets `create` get a little further.
    knarr("a hint is ours") fn too_few_open_files(world) {
        world.probe(&["block", "wait"]).unset("/process/rlimits");
        let mut enough = false;
        for number in 4..40 {
            let script = format!("ulimit -n {number}; exec \"$@\"");
            let answer = behind(world, &["sh", "-c", &script, "sh"], &["create", &world.id]);
            enough = answer.status.success();
            if enough {
                world.delete_force().assert_ok();
            } else {
                let told = error(&answer);
                assert!(told["errno"] == libc::EMFILE && told["hint"].as_str().is_some_and(|hint| hint.contains("ulimit -n")),
                    "{number}: {told}");
            }
            world.assert_nothing_left();
        }
        assert!(enough, "no number is enough");
    }

    /// Each size lets `create` get a little further.
    knarr("a hint is ours") fn no_space_for_the_state(world) {
        world.write_config();
        let root = world.folder("state");
        for inodes in 2..6 {
            let options = std::ffi::CString::new(format!("size=4k,nr_inodes={inodes},mode=700")).expect("options");
            mount("tmpfs", &root, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).expect("a small one");
            let answer = world.call(&["--log-format", "json", "create", &world.id]);
            if answer.status.success() {
                world.delete_force().assert_ok();
            } else {
                let told = error(&answer);
                assert!(told["errno"] == libc::ENOSPC && told["hint"].as_str().is_some_and(|hint| hint.contains("is full")),
                    "{told}");
            }
            assert!(fs::read_dir(&root).expect("the root").next().is_none(), "{inodes}: something is left");
            assert!(inodes > 2 || !answer.status.success(), "two inodes were enough");
            rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH).expect("unmount");
            world.assert_nothing_left();
        }
    }

    knarr("a hint is ours") fn a_terminal_gets_it_and_a_pipe_does_not(world) {
        program(world, b"#!/no/such/shell\n");
        world.write_config();
        let piped = world.call(&["run", &world.id]);
        assert_eq!(piped.err.lines().count(), 1, "{piped}");
        let line = format!("'{}' --root '{}' run {}", world.program().display(), world.root().display(), world.id);
        let on_terminal = |line: &str| {
            let mut command = Command::new("script");
            command.args(["--quiet", "--return", "--command", line, "/dev/null"]).current_dir(world.bundle());
            world.finish(command)
        };
        let shown = on_terminal(&line).out;
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 2, "{shown}");
        assert!(lines[0].contains("level=error") && lines[0].trim_end().ends_with("no such file or directory\""), "{shown}");
        assert!(lines[1].starts_with("hint: its interpreter \"/no/such/shell\""), "{shown}");
        let shown = on_terminal(&line.replace(" run ", " --log-format json run ")).out;
        assert!(shown.lines().count() == 1 && serde_json::from_str::<Value>(shown.trim()).is_ok(), "{shown}");
        world.assert_nothing_left();
    }

    knarr("a hint is ours") fn an_error_without_a_hint_has_none(world) {
        world.set("/process/args", json!([]));
        let told = run_error(world);
        assert_eq!((told.get("hint"), told.get("errno"), told["field"].as_str()), (None, None, Some("/process/args")));
    }
}
