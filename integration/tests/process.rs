//! `process`: arguments, environment, directory, user, umask, scheduling, the descriptors it gets.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use knarr_integration::bundle::copy_program;
use knarr_integration::leftovers::MARK;
use knarr_integration::runtime::{SYS_RESOURCE, we_hold};
use knarr_integration::{Runtime, World, cases, json, sys};

/// Sets the environment to PATH and these.
fn environment<'w>(world: &'w mut World, more: &[&str]) -> &'w mut World {
    let list: Vec<&str> = std::iter::once("PATH=/bin").chain(more.iter().copied()).collect();
    world.set("/process/env", list)
}

/// A program in /bin of the root filesystem with these permissions.
fn program(world: &World, name: &str, text: &str, mode: u32) {
    let path = world.rootfs().join("bin").join(name);
    std::fs::write(&path, text).expect("write a program");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set its mode");
}

/// `run` started by `shell` as systemd starts a service with one socket: descriptor 3 and `LISTEN_FDS`.
fn activated(world: &World, shell: &str) -> Command {
    world.write_config();
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", shell, "sh"])
        .arg(world.program())
        .arg("--root")
        .arg(world.root())
        .args(["run", &world.id]);
    command.current_dir(world.bundle()).env_clear().env(MARK, &world.id).env("LISTEN_FDS", "1");
    let file = std::fs::File::open(world.file("socket", "activated")).expect("a file");
    sys::pass_descriptors(&mut command, vec![OwnedFd::from(file)]);
    command
}

cases! {
    everywhere fn arguments_arrive_as_given(world) {
        world.probe(&["facts", "exit", "0", "two words", "", "*", "ü"]);
        let facts = world.run_facts();
        assert_eq!(facts["args"], json!(["/bin/probe", "facts", "exit", "0", "two words", "", "*", "ü"]));
        assert_eq!(facts["exe"], "/bin/probe");
    }

    everywhere fn a_bare_name_is_found_in_the_path_of_the_container(world) {
        world.args(&["probe", "facts"]);
        let facts = world.run_facts();
        assert_eq!(facts["args"][0], "probe", "argv[0] stays as given");
        assert_eq!(facts["exe"], "/bin/probe");
    }

    everywhere fn the_first_hit_in_the_path_wins(world) {
        std::fs::create_dir(world.rootfs().join("first")).expect("a folder");
        copy_program(&world.rootfs().join("bin/probe"), &world.rootfs().join("first/probe")).expect("a copy");
        world.set("/process/env", json!(["PATH=/none:/first:/bin"])).args(&["probe", "facts"]);
        assert_eq!(world.run_facts()["exe"], "/first/probe");
    }

    everywhere fn a_relative_program_starts_at_the_directory(world) {
        world.set("/process/cwd", "/bin").args(&["./probe", "facts"]);
        assert_eq!(world.run_facts()["exe"], "/bin/probe");
    }

    everywhere fn a_script_runs(world) {
        program(world, "script", "#!/bin/sh\nexec /bin/probe facts \"$@\"\n", 0o755);
        world.args(&["/bin/script", "exit", "0"]);
        assert_eq!(world.run_facts()["args"], json!(["/bin/probe", "facts", "exit", "0"]));
    }

    everywhere fn a_program_that_is_not_found_is_told_at_create(world) {
        world.args(&["no-such-program"]);
        world.create().assert_fails_with("exec: \"no-such-program\": executable file not found in $PATH");
        world.assert_nothing_left();
    }

    everywhere fn a_missing_path_is_told_at_create(world) {
        world.args(&["/no/such/program"]);
        world.create().assert_fails_with("no such file or directory");
        world.assert_nothing_left();
    }

    everywhere fn a_program_that_is_not_executable_is_refused(world) {
        program(world, "plain", "#!/bin/sh\n", 0o644);
        world.args(&["/bin/plain"]);
        world.create().assert_fails_with("permission denied");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 says permission denied") fn a_directory_is_no_program(world) {
        world.args(&["/bin"]);
        world.create().assert_fails_with("is a directory");
        world.assert_nothing_left();
    }

    everywhere fn a_missing_interpreter_is_one_line(world) {
        program(world, "script", "#!/no/such/interpreter\n", 0o755);
        world.args(&["/bin/script"]);
        let answer = world.run().assert_fails_with("no such file or directory");
        assert_eq!(answer.err.trim_end().lines().count(), 1, "{answer}");
        world.assert_nothing_left();
    }

    everywhere fn a_file_that_is_no_program_fails(world) {
        program(world, "noise", "\u{1}\u{2}noise", 0o755);
        world.args(&["/bin/noise"]);
        world.run().assert_fails_with("exec format error");
        world.assert_nothing_left();
    }

    everywhere fn the_environment_arrives_and_nothing_else(world) {
        environment(world, &["A=1", "EMPTY=", "WITH=a=b", "SPACE=a b"]);
        let facts = world.run_facts();
        assert_eq!(facts["env"], json!({
            "PATH": "/bin", "A": "1", "EMPTY": "", "WITH": "a=b", "SPACE": "a b", "HOME": "/root",
        }));
    }

    knarr("runc 1.1 keeps duplicates") fn the_last_of_equal_names_wins(world) {
        environment(world, &["A=1", "B=2", "A=3"]);
        let facts = world.run_facts();
        let list = facts["env_list"].as_array().expect("a list");
        let all: Vec<_> = list.iter().filter(|entry| entry.as_str().is_some_and(|e| e.starts_with("A="))).collect();
        assert_eq!(all, [&json!("A=3")]);
    }

    everywhere fn home_comes_from_the_password_file(world) {
        environment(world, &[]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
        assert_eq!(world.run_facts()["env"]["HOME"], "/home/user");
    }

    everywhere fn home_of_an_unknown_user_is_the_root(world) {
        environment(world, &[]).set("/process/user", json!({"uid": 4242, "gid": 4242}));
        assert_eq!(world.run_facts()["env"]["HOME"], "/");
    }

    everywhere fn home_of_the_config_stays(world) {
        environment(world, &["HOME=/elsewhere"]);
        assert_eq!(world.run_facts()["env"]["HOME"], "/elsewhere");
    }

    knarr("runc 1.1 keeps an empty HOME") fn an_empty_home_is_filled(world) {
        environment(world, &["HOME="]);
        assert_eq!(world.run_facts()["env"]["HOME"], "/root");
    }

    knarr("the text is newer than runc 1.1") fn an_environment_without_an_equals_sign_is_refused(world) {
        environment(world, &["NOTHING"]);
        world.run().assert_fails_with("invalid environment variable: missing '='");
        world.assert_nothing_left();
    }

    knarr("the text is newer than runc 1.1") fn an_environment_without_a_name_is_refused(world) {
        environment(world, &["=value"]);
        world.run().assert_fails_with("invalid environment variable: name cannot be empty");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 passes it on") fn an_environment_with_a_nul_is_refused(world) {
        environment(world, &["A=\0"]);
        world.run().assert_fails_with("contains nul byte");
        world.assert_nothing_left();
    }

    everywhere fn the_directory_is_entered(world) {
        world.set("/process/cwd", "/tmp");
        assert_eq!(world.run_facts()["cwd"], "/tmp");
    }

    everywhere fn a_missing_directory_is_made(world) {
        world.set("/process/cwd", "/made/for/it");
        assert_eq!(world.run_facts()["cwd"], "/made/for/it");
        let made = std::fs::metadata(world.rootfs().join("made/for/it")).expect("the directory");
        assert_eq!((made.mode() & 0o7777, made.uid()), (0o755, 0));
    }

    everywhere fn a_directory_through_a_symlink(world) {
        std::os::unix::fs::symlink("/tmp", world.rootfs().join("link")).expect("a symlink");
        world.set("/process/cwd", "/link");
        assert_eq!(world.run_facts()["cwd"], "/tmp");
    }

    everywhere fn a_directory_only_the_user_may_enter(world) {
        let path = world.rootfs().join("private");
        std::fs::create_dir(&path).expect("a folder");
        std::os::unix::fs::chown(&path, Some(1000), Some(1000)).expect("its owner");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("its mode");
        world.set("/process/cwd", "/private").set("/process/user", json!({"uid": 1000, "gid": 1000}));
        // Root without CAP_DAC_OVERRIDE may not enter: the second try, as the user, must do it.
        assert_eq!(world.run_facts()["cwd"], "/private");
    }

    everywhere fn a_directory_that_is_a_file_fails(world) {
        world.set("/process/cwd", "/etc/passwd");
        world.run().assert_fails_with("not a directory");
        world.assert_nothing_left();
    }

    everywhere fn user_and_groups(world) {
        world.set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 20, 27]}));
        let facts = world.run_facts();
        assert_eq!(facts["uid"], json!([1000, 1000, 1000, 1000]));
        assert_eq!(facts["gid"], json!([1001, 1001, 1001, 1001]));
        assert_eq!(facts["groups"], json!([5, 20, 27]));
    }

    everywhere fn no_groups_of_the_caller_come_along(world) {
        assert_eq!(world.run_facts()["groups"], json!([]));
    }

    everywhere fn the_umask_is_0022(world) {
        assert_eq!(world.run_facts()["umask"], 0o022);
    }

    everywhere fn the_umask_is_set(world) {
        world.set("/process/user/umask", 0o077).probe(&["facts", "create", "/tmp/new"]);
        assert_eq!(world.run_facts()["umask"], 0o077);
        let made = std::fs::metadata(world.rootfs().join("tmp/new")).expect("the file");
        assert_eq!(made.mode() & 0o777, 0o600);
    }

    everywhere fn no_new_privileges_is_set(world) {
        assert_eq!(world.run_facts()["no_new_privs"], 1);
    }

    everywhere fn no_new_privileges_is_not_set(world) {
        world.set("/process/noNewPrivileges", false);
        assert_eq!(world.run_facts()["no_new_privs"], 0);
    }

    everywhere fn without_seccomp_there_is_no_filter(world) {
        assert_eq!(world.run_facts()["seccomp"], 0);
    }

    everywhere fn the_oom_score_is_raised(world) {
        for score in [900, 1000] {
            world.set("/process/oomScoreAdj", score);
            assert_eq!(world.run_facts()["oom_score_adj"], score);
        }
    }

    everywhere fn the_oom_score_is_lowered_by_those_who_may(world) {
        world.set("/process/oomScoreAdj", -250);
        if we_hold(SYS_RESOURCE) {
            assert_eq!(world.run_facts()["oom_score_adj"], -250);
        } else {
            world.run().assert_fails_with(world.pick("permission denied", "Permission denied"));
            world.assert_nothing_left();
        }
    }

    everywhere fn without_an_oom_score_ours_stays(world) {
        let ours = std::fs::read_to_string("/proc/thread-self/oom_score_adj").expect("our score");
        assert_eq!(world.run_facts()["oom_score_adj"].to_string(), ours.trim());
    }

    knarr("runc 1.1 has no scheduler") fn the_scheduler_batch(world) {
        world.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 7}));
        let facts = world.run_facts();
        assert_eq!((&facts["scheduler"]["policy"], &facts["scheduler"]["nice"]), (&json!(3), &json!(7)));
    }

    knarr("runc 1.1 has no scheduler") fn the_scheduler_fifo(world) {
        if world.is_v1() && std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
            // Without a share of real time the kernel refuses such policies in a cgroup.
            world.set("/linux/resources/cpu", json!({"realtimeRuntime": 1000, "realtimePeriod": 1_000_000}));
        }
        world.set("/process/scheduler", json!({
            "policy": "SCHED_FIFO", "priority": 10, "flags": ["SCHED_FLAG_RESET_ON_FORK"],
        }));
        let facts = world.run_facts();
        assert_eq!(facts["scheduler"]["policy"], 1);
        assert_eq!(facts["scheduler"]["priority"], 10);
        assert_eq!(facts["scheduler"]["flags"], 1);
    }

    knarr("runc 1.1 has no scheduler") fn the_scheduler_idle_and_other(world) {
        world.set("/process/scheduler", json!({"policy": "SCHED_IDLE"}));
        assert_eq!(world.run_facts()["scheduler"]["policy"], 5);
        world.set("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": -3}));
        let facts = world.run_facts();
        assert_eq!((&facts["scheduler"]["policy"], &facts["scheduler"]["nice"]), (&json!(0), &json!(-3)));
    }

    knarr("runc 1.1 has no scheduler") fn the_scheduler_deadline(world) {
        world.set("/process/scheduler", json!({
            "policy": "SCHED_DEADLINE", "runtime": 42000, "deadline": 1_000_000, "period": 2_000_000,
        }));
        let facts = world.run_facts();
        assert_eq!(facts["scheduler"]["policy"], 6);
        assert_eq!(facts["scheduler"]["runtime"], 42000);
        assert_eq!(facts["scheduler"]["deadline"], 1_000_000);
        assert_eq!(facts["scheduler"]["period"], 2_000_000);
    }

    knarr("runc 1.1 has no scheduler") fn bad_schedulers_are_refused(world) {
        let bad = [
            (json!({"policy": "SCHED_OTHER", "nice": 20}), "invalid scheduler.nice: 20"),
            (json!({"policy": "SCHED_BATCH", "priority": 1}),
             "scheduler.priority can only be specified for SchedFIFO or SchedRR policy"),
            (json!({"policy": "SCHED_OTHER", "runtime": 1}),
             "scheduler runtime/deadline/period can only be specified for SchedDeadline policy"),
            (json!({"nice": 1}), "scheduler policy is required"),
            (json!({"policy": "SCHED_LOTTERY"}), "SCHED_LOTTERY"),
            (json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONE"]}), "SCHED_FLAG_NONE"),
        ];
        for (scheduler, text) in bad {
            world.set("/process/scheduler", scheduler);
            world.run().assert_fails_with(text);
        }
        world.assert_nothing_left();
    }

    knarr("runc 1.1 has no ioPriority") fn the_io_priority(world) {
        for (class, number) in [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)] {
            world.set("/process/ioPriority", json!({"class": class, "priority": 4}));
            let facts = world.run_facts();
            assert_eq!(facts["ioprio"], json!({"class": number, "level": 4}), "{class}");
        }
    }

    knarr("runc 1.1 has no ioPriority") fn bad_io_priorities_are_refused(world) {
        world.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8}));
        world.run().assert_fails_with("invalid ioPriority.Priority: 8");
        world.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_XX", "priority": 1}));
        world.run().assert_fails_with("invalid ioPriority.Class: \"IOPRIO_CLASS_XX\"");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 has no personality") fn the_personality_linux32(world) {
        world.set("/linux/personality", json!({"domain": "LINUX32"}));
        let facts = world.run_facts();
        assert_eq!(facts["personality"], 8);
        assert_ne!(facts["machine"], "x86_64");
    }

    knarr("runc 1.1 has no personality") fn the_personality_linux(world) {
        world.set("/linux/personality", json!({"domain": "LINUX"}));
        assert_eq!(world.run_facts()["personality"], 0);
    }

    knarr("runc 1.1 has no personality") fn an_unknown_personality_is_refused(world) {
        world.set("/linux/personality", json!({"domain": "MINIX"}));
        world.run().assert_fails_with("MINIX");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 has no memoryPolicy") fn the_memory_policy(world) {
        world.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
        assert_eq!(world.run_facts()["mempolicy"], json!({"mode": 2, "nodes": 1}));
        world.set("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL"}));
        assert_eq!(world.run_facts()["mempolicy"]["mode"], 4);
    }

    knarr("runc 1.1 has no memoryPolicy") fn bad_memory_policies_are_refused(world) {
        let bad = [
            (json!({"mode": "MPOL_NONE"}), "invalid memory policy mode"),
            (json!({"mode": "MPOL_DEFAULT", "nodes": "0"}), "mode requires 0 nodes but got 1"),
            (json!({"mode": "MPOL_BIND"}), "at least one node"),
            (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NONE"]}), "invalid memory policy flag"),
            (json!({"mode": "MPOL_BIND", "nodes": "a-b"}), "invalid memory policy nodes"),
        ];
        for (policy, text) in bad {
            world.set("/linux/memoryPolicy", policy);
            world.run().assert_fails_with(text);
        }
        world.assert_nothing_left();
    }

    everywhere fn only_the_three_standard_descriptors_are_open(world) {
        let facts = world.run_facts();
        let open: Vec<&String> = facts["fds"].as_object().expect("descriptors").keys().collect();
        assert_eq!(open, ["0", "1", "2"]);
    }

    everywhere fn descriptors_of_the_caller_do_not_leak(world) {
        world.write_config();
        let mut command = world.command(&["run", &world.id]);
        let secret = std::fs::File::open(world.file("secret", "s")).expect("a file");
        sys::pass_descriptors(&mut command, vec![OwnedFd::from(secret)]);
        let facts = world.finish(command).assert_ok().facts();
        assert_eq!(facts["fds"].as_object().expect("descriptors").len(), 3, "{}", facts["fds"]);
    }

    everywhere fn preserved_descriptors_come_along(world) {
        world.probe(&["facts", "read", "/proc/self/fd/3", "read", "/proc/self/fd/4"]);
        world.write_config();
        let mut command = world.command(&["run", "--preserve-fds", "2", &world.id]);
        let files = ["three", "four", "five"].map(|name| {
            OwnedFd::from(std::fs::File::open(world.file(name, name)).expect("a file"))
        });
        sys::pass_descriptors(&mut command, Vec::from(files));
        let answer = world.finish(command).assert_ok();
        assert_eq!(answer.act(1)["value"], "three");
        assert_eq!(answer.act(2)["value"], "four");
        let facts = answer.facts();
        let open: Vec<&String> = facts["fds"].as_object().expect("descriptors").keys().collect();
        assert_eq!(open, ["0", "1", "2", "3", "4"]);
    }

    knarr("runc 1.1 takes its own descriptors for them") fn a_missing_preserved_descriptor_is_refused(world) {
        world.run_with(&["--preserve-fds", "2"]).assert_fails_with("unable to stat preserved-fd");
        world.assert_nothing_left();
    }

    everywhere fn listen_fds_are_passed_on(world) {
        world.probe(&["facts", "read", "/proc/self/fd/3"]);
        let answer = world.finish(activated(world, "LISTEN_PID=$$ exec \"$@\"")).assert_ok();
        let facts = answer.facts();
        assert_eq!(facts["env"]["LISTEN_FDS"], "1");
        assert_eq!(facts["env"]["LISTEN_PID"], "1");
        assert_eq!(answer.act(1)["value"], "activated");
    }

    everywhere fn listen_fds_for_another_process_are_not_passed_on(world) {
        let facts = world.finish(activated(world, "LISTEN_PID=1 exec \"$@\"")).assert_ok().facts();
        assert_eq!(facts["env"]["LISTEN_FDS"], json!(null));
        assert_eq!(facts["fds"].as_object().map(serde_json::Map::len), Some(3), "{}", facts["fds"]);
    }

    everywhere fn the_standard_descriptors_belong_to_the_user(world) {
        world.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        // Opening the file anew needs ownership: it is root's, 0644.
        world.probe(&["write", "/proc/self/fd/2", "hello", "write", "/dev/stderr", "again"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["ok"], true, "{answer}");
        assert_eq!(answer.act(1)["ok"], true, "{answer}");
    }

    everywhere fn signals_are_neither_ignored_nor_blocked(world) {
        let facts = world.run_facts();
        assert_eq!(facts["signals_blocked"], "0000000000000000");
        // What we ignore is inherited, and the probe's own start-up ignores SIGPIPE.
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("our status");
        let ours = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a mask").trim();
        let ours = u64::from_str_radix(ours, 16).expect("hex");
        let bit = |signal: i32| 1_u64 << (signal - 1);
        let theirs = u64::from_str_radix(facts["signals_ignored"].as_str().expect("a mask"), 16).expect("hex");
        let expected = ours | bit(libc::SIGPIPE);
        // A program in Go takes these two back from who ignores them.
        let gos = if world.runtime == Runtime::Runc { bit(libc::SIGINT) | bit(libc::SIGQUIT) } else { 0 };
        assert_eq!(theirs & !gos, expected & !gos, "{theirs:x}, ours is {ours:x}");
    }

    everywhere fn the_session_keyring_is_the_containers(world) {
        let facts = world.run_facts();
        let keyring = facts["keyring"].as_str().expect("a keyring").to_owned();
        assert!(keyring.starts_with("keyring;0;0;"), "{keyring}");
        assert!(keyring.ends_with(&format!("_ses.{}", world.id)), "{keyring}");
    }

    everywhere fn no_new_keyring_keeps_the_callers(world) {
        world.write_config();
        let answer = world.call(&["run", "--no-new-keyring", &world.id]).assert_ok();
        let keyring = answer.facts()["keyring"].as_str().unwrap_or_default().to_owned();
        assert!(!keyring.contains("_ses.knarr"), "{keyring}");
    }

    everywhere fn the_notify_socket_is_forwarded(world) {
        let path = world.dir.join("notify");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a notify socket");
        socket.set_read_timeout(Some(knarr_integration::wait::PATIENCE)).expect("a timeout");
        let say = "printenv=$NOTIFY_SOCKET; test -S $NOTIFY_SOCKET && exec /bin/probe facts wait";
        world.args(&["/bin/sh", "-c", say]);
        world.write_config();
        let mut command = world.command(&["run", "--detach", &world.id]);
        command.env("NOTIFY_SOCKET", &path);
        let running = world.begin(command);
        // Detached, runc waits for READY=1; the program only proves that it has the socket.
        let shown = running.wait_for("\"facts\"");
        let facts = knarr_integration::answer::answers(&shown).remove(0);
        assert_eq!(facts["facts"]["env"]["NOTIFY_SOCKET"], "/run/notify/notify.sock");
        drop(running);
    }

    knarr("runc 1.1 says it in other words") fn apparmor_that_is_off_is_refused(world) {
        let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        if enabled.is_ok_and(|text| text.starts_with('Y')) {
            world.skip("AppArmor is on here");
        }
        world.set("/process/apparmorProfile", "some-profile");
        world.run().assert_fails_with("apparmor: config provided but apparmor not supported");
        world.assert_nothing_left();
    }

    everywhere fn selinux_that_is_off_is_refused(world) {
        if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
            world.skip("SELinux is on here");
        }
        world.set("/process/selinuxLabel", "system_u:system_r:container_t:s0");
        world.run().assert_fails_with(
            "selinux label is specified in config, but selinux is disabled or not supported");
        world.assert_nothing_left();
    }
}
