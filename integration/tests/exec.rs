//! `exec`: a second process in a container, and every flag of it.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::os::fd::OwnedFd;

use knarr_integration::{cases_with_systemd, eventually, json, namespace_of, sys, wait};

cases_with_systemd! {
    everywhere fn it_runs_inside_and_returns_the_code(world) {
        world.up_waiting();
        let answer = world.exec_probe(&[], &["facts", "exit", "33"]).assert_code(33);
        let facts = answer.facts();
        for kind in ["mnt", "net", "pid", "ipc", "uts", "user", "cgroup"] {
            assert_eq!(facts["ns"][kind], namespace_of(world.pid(), kind), "{kind}");
        }
        assert_ne!(facts["pid"], 1);
        assert_eq!(facts["hostname"], "knarr-test");
    }

    everywhere fn it_is_in_the_cgroup_of_the_container(world) {
        world.up_waiting();
        let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", world.pid())).expect("its cgroup");
        assert_eq!(world.exec_probe(&[], &["facts"]).assert_ok().facts()["cgroup"], cgroup);
    }

    everywhere fn a_signal_is_128_more(world) {
        world.up_waiting();
        world.exec_probe(&[], &["signal", "9"]).assert_code(137);
        world.exec_probe(&[], &["signal", "15"]).assert_code(143);
    }

    everywhere fn options_end_at_the_id(world) {
        world.up_waiting();
        let answer = world.exec(&[], &["/bin/busybox", "ls", "-d", "--", "/bin"]).assert_ok();
        assert_eq!(answer.out, "/bin\n");
    }

    everywhere fn environment_is_added_and_the_last_wins(world) {
        world.set("/process/env", json!(["PATH=/bin", "A=1", "B=2"])).up_waiting();
        let answer = world.exec_probe(&["-e", "A=3", "-e", "C=a,b"], &["facts"]).assert_ok();
        let env = answer.facts()["env"].clone();
        assert_eq!(env["B"], "2");
        assert_eq!(env["C"], "a,b", "a comma does not split");
        let list = answer.facts()["env_list"].to_string();
        assert!(list.contains("A=3"), "{list}");
    }

    knarr("runc 1.1 keeps duplicates") fn environment_has_no_duplicates(world) {
        world.set("/process/env", json!(["PATH=/bin", "A=1"])).up_waiting();
        let list = world.exec_probe(&["-e", "A=3"], &["facts"]).assert_ok().facts()["env_list"].to_string();
        assert!(!list.contains("A=1"), "{list}");
    }

    everywhere fn user_and_group(world) {
        world.up_waiting();
        let facts = world.exec_probe(&["--user", "1000:1001"], &["facts"]).assert_ok().facts();
        assert_eq!((&facts["uid"][0], &facts["gid"][0]), (&json!(1000), &json!(1001)));
        assert_eq!(facts["caps"]["effective"], json!([]));
    }

    everywhere fn user_alone_keeps_the_group(world) {
        world.up_waiting();
        let facts = world.exec_probe(&["-u", "1000"], &["facts"]).assert_ok().facts();
        assert_eq!((&facts["uid"][0], &facts["gid"][0]), (&json!(1000), &json!(0)));
        assert_eq!(facts["env"]["HOME"], "/home/user");
    }

    everywhere fn additional_groups(world) {
        world.up_waiting();
        let facts = world.exec_probe(&["-g", "5", "-g", "27"], &["facts"]).assert_ok().facts();
        assert_eq!(facts["groups"], json!([5, 27]));
    }

    everywhere fn a_user_that_is_no_number_is_refused(world) {
        world.up_waiting();
        for user in ["root", "1000x", "1000:", "-1"] {
            let answer = world.exec_probe(&["--user", user], &["facts"]);
            assert_eq!((answer.code(), answer.out.as_str()), (255, ""), "{user}: {answer}");
        }
    }

    everywhere fn working_directory(world) {
        world.up_waiting();
        assert_eq!(world.exec_probe(&["--cwd", "/tmp"], &["facts"]).assert_ok().facts()["cwd"], "/tmp");
    }

    everywhere fn a_process_file(world) {
        world.up_waiting();
        let process = json!({
            "terminal": false, "user": {"uid": 1000, "gid": 1000, "additionalGids": [27]},
            "args": ["/bin/probe", "facts"], "env": ["PATH=/bin", "ONLY=this"], "cwd": "/tmp",
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 77, "hard": 88}],
        });
        let file = world.file("process.json", &process.to_string());
        let facts = world.call(&["exec", "--process", file.to_str().expect("utf-8"), &world.id]).assert_ok().facts();
        assert_eq!(facts["uid"][0], 1000);
        assert_eq!(facts["groups"], json!([27]));
        assert_eq!(facts["cwd"], "/tmp");
        assert_eq!(facts["env"], json!({"PATH": "/bin", "ONLY": "this", "HOME": "/home/user"}));
        assert_eq!(facts["rlimits"]["RLIMIT_CORE"], json!([77, 88]));
        assert_eq!(facts["no_new_privs"], 0, "false in the file is false");
    }

    knarr("runc 1.1 takes those of the caller") fn a_process_file_without_limits_has_those_of_the_config(world) {
        world.up_waiting();
        let process = json!({
            "user": {"uid": 0, "gid": 0}, "args": ["/bin/probe", "facts"], "env": ["PATH=/bin"], "cwd": "/",
        });
        let file = world.file("process.json", &process.to_string());
        let facts = world.call(&["exec", "-p", file.to_str().expect("utf-8"), &world.id]).assert_ok().facts();
        assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!([1024, 1024]));
        assert_eq!(facts["caps"]["bounding"].as_array().map(Vec::len), Some(3));
    }

    everywhere fn a_missing_process_file_is_255(world) {
        world.up_waiting();
        world.call(&["exec", "--process", "/no/such/file", &world.id]).assert_code(255)
            .assert_fails_with("no such file or directory");
    }

    everywhere fn a_bad_process_file_is_255(world) {
        world.up_waiting();
        let file = world.file("process.json", "{\"args\": [");
        world.call(&["exec", "--process", file.to_str().expect("utf-8"), &world.id]).assert_code(255);
        let file = world.file("process.json", "{\"args\": [], \"cwd\": \"/\"}");
        world.call(&["exec", "--process", file.to_str().expect("utf-8"), &world.id]).assert_code(255)
            .assert_fails_with("args");
        let file = world.file("process.json", "{\"args\": [\"a\"], \"cwd\": \"relative\"}");
        world.call(&["exec", "--process", file.to_str().expect("utf-8"), &world.id]).assert_code(255)
            .assert_fails_with("Cwd must be an absolute path");
    }

    everywhere fn without_arguments_is_an_error(world) {
        world.up_waiting();
        let answer = world.exec(&[], &[]);
        assert!(!answer.status.success(), "{answer}");
    }

    everywhere fn a_program_that_is_not_found_is_255(world) {
        world.up_waiting();
        world.exec(&[], &["no-such-program"]).assert_code(255)
            .assert_fails_with("exec: \"no-such-program\": executable file not found in $PATH")
            .assert_fails_with("exec failed: ");
        world.exec(&[], &["/no/such/program"]).assert_code(255).assert_fails_with("no such file or directory");
        world.exec(&[], &["/etc/passwd"]).assert_code(255).assert_fails_with("permission denied");
        assert_eq!(world.status(), "running");
    }

    everywhere fn into_a_stopped_container_is_255(world) {
        world.up_waiting();
        world.stop();
        world.exec_probe(&[], &["facts"]).assert_code(255)
            .assert_fails_with("cannot exec in a stopped container");
    }

    everywhere fn into_an_unknown_container_is_255(world) {
        world.exec_probe(&[], &["facts"]).assert_code(255).assert_fails_with("container does not exist");
    }

    everywhere fn into_a_created_container(world) {
        world.create().assert_ok();
        assert_ne!(world.exec_probe(&[], &["facts"]).assert_ok().facts()["pid"], 1);
        assert_eq!(world.status(), "created");
    }

    everywhere fn into_a_paused_container_is_refused(world) {
        world.up_waiting();
        world.call(&["pause", &world.id]).assert_ok();
        world.exec_probe(&[], &["facts"]).assert_code(255).assert_fails_with("cannot exec in a paused container");
        world.call(&["resume", &world.id]).assert_ok();
    }

    everywhere fn into_a_paused_container_with_the_flag_waits(world) {
        world.up_waiting();
        world.call(&["pause", &world.id]).assert_ok();
        let args = ["exec", "--ignore-paused", &world.id, "/bin/probe", "exit", "4"];
        let mut exec = world.begin(world.command(&args));
        assert!(!exec.ends_within(std::time::Duration::from_millis(150)), "ran in a frozen cgroup");
        world.call(&["resume", &world.id]).assert_ok();
        exec.end().assert_code(4);
    }

    everywhere fn detached_with_a_pid_file(world) {
        world.up_waiting();
        let file = world.dir.join("pid");
        let flags = ["--detach", "--pid-file", file.to_str().expect("utf-8")];
        world.exec_probe(&flags, &["wait"]).assert_ok();
        let pid: i32 = std::fs::read_to_string(&file).expect("a pid file").parse().expect("a number");
        assert_eq!(namespace_of(pid, "pid"), namespace_of(world.pid(), "pid"));
        sys::kill(pid, libc::SIGKILL).expect("kill it");
        assert!(wait::gone_within(pid, wait::PATIENCE));
        assert_eq!(world.status(), "running");
    }

    everywhere fn it_ends_with_the_container(world) {
        world.up_waiting();
        let mut exec = world.begin(world.command(&["exec", &world.id, "/bin/probe", "echo", "ready", "wait"]));
        exec.wait_for("ready");
        world.stop();
        exec.end().assert_code(137);
    }

    everywhere fn signals_are_forwarded(world) {
        world.up_waiting();
        let args = ["exec", &world.id, "/bin/probe", "block", "echo", "ready", "wait", "exit", "3"];
        let mut exec = world.begin(world.command(&args));
        exec.wait_for("ready");
        exec.signal(libc::SIGUSR2);
        let answer = exec.end().assert_code(3);
        assert_eq!(answer.act(2)["value"], libc::SIGUSR2);
    }

    everywhere fn no_descriptor_leaks(world) {
        world.up_waiting();
        let mut command = world.command(&["exec", &world.id, "/bin/probe", "facts"]);
        let file = std::fs::File::open(world.file("secret", "s")).expect("a file");
        sys::pass_descriptors(&mut command, vec![OwnedFd::from(file)]);
        let facts = world.finish(command).assert_ok().facts();
        assert_eq!(facts["fds"].as_object().map(serde_json::Map::len), Some(3), "{}", facts["fds"]);
    }

    everywhere fn preserved_descriptors_come_along(world) {
        world.up_waiting();
        let mut command =
            world.command(&["exec", "--preserve-fds", "1", &world.id, "/bin/probe", "read", "/proc/self/fd/3"]);
        let file = std::fs::File::open(world.file("three", "three")).expect("a file");
        sys::pass_descriptors(&mut command, vec![OwnedFd::from(file)]);
        assert_eq!(world.finish(command).assert_ok().act(0)["value"], "three");
    }

    everywhere fn no_new_privileges_can_be_turned_on(world) {
        world.set("/process/noNewPrivileges", false).up_waiting();
        assert_eq!(world.exec_probe(&[], &["facts"]).assert_ok().facts()["no_new_privs"], 0);
        assert_eq!(world.exec_probe(&["--no-new-privs"], &["facts"]).assert_ok().facts()["no_new_privs"], 1);
    }

    knarr("runc 1.1 sets 0022") fn the_umask_of_the_container(world) {
        world.set("/process/user/umask", 0o027).up_waiting();
        assert_eq!(world.exec_probe(&[], &["facts"]).assert_ok().facts()["umask"], 0o027);
    }

    everywhere fn the_config_is_read_from_the_bundle_again(world) {
        world.up_waiting();
        world.set("/process/env", json!(["PATH=/bin", "LATER=yes"]));
        world.write_config();
        let env = world.exec_probe(&[], &["facts"]).assert_ok().facts()["env"].clone();
        assert_eq!(env["LATER"], "yes");
    }

    v1 fn a_sub_cgroup_per_controller(world) {
        world.up_waiting();
        std::fs::create_dir(world.cgroup_dir("pids").join("sub")).expect("a sub-cgroup");
        let facts = world.exec_probe(&["--cgroup", "pids:sub"], &["facts"]).assert_ok().facts();
        let cgroup = facts["cgroup"].as_str().expect("cgroups").to_owned();
        assert!(cgroup.contains(&format!(":pids:{}/sub\n", world.cgroup)), "{cgroup}");
        assert!(cgroup.contains(&format!(":memory:{}\n", world.cgroup)), "{cgroup}");
    }

    v2 fn a_sub_cgroup(world) {
        world.up_waiting();
        std::fs::create_dir(world.cgroup_dir("").join("sub")).expect("a sub-cgroup");
        world.hand_over();
        let facts = world.exec_probe(&["--cgroup", "/sub"], &["facts"]).assert_ok().facts();
        let cgroup = facts["cgroup"].as_str().expect("cgroups").to_owned();
        assert!(cgroup.contains(&format!("0::{}/sub\n", world.cgroup)), "{cgroup}");
    }

    everywhere fn a_sub_cgroup_outside_is_refused(world) {
        world.up_waiting();
        world.exec_probe(&["--cgroup", "../other"], &["facts"]).assert_code(255)
            .assert_fails_with(world.pick("bad sub cgroup path: ", "is not a sub cgroup path"));
    }

    v1 fn an_unknown_controller_is_refused(world) {
        world.up_waiting();
        world.exec_probe(&["--cgroup", "luck:/sub"], &["facts"]).assert_code(255)
            .assert_fails_with("unknown controller ");
    }

    everywhere fn a_missing_sub_cgroup_fails(world) {
        world.up_waiting();
        world.exec_probe(&["--cgroup", "/missing"], &["facts"]).assert_code(255)
            .assert_fails_with("no such file or directory");
    }

    everywhere fn many_at_once(world) {
        world.up_waiting();
        let mut all: Vec<_> = (0..8).map(|number| {
            world.begin(world.command(&["exec", &world.id, "/bin/probe", "exit", &number.to_string()]))
        }).collect();
        for (number, exec) in all.iter_mut().enumerate() {
            exec.end().assert_code(i32::try_from(number).expect("small"));
        }
    }

    everywhere fn what_it_leaves_is_reaped_with_the_container(world) {
        world.up_waiting();
        world.exec_probe(&["--detach"], &["fork", "create", "/tmp/forked"]).assert_ok();
        let forked = world.rootfs().join("tmp/forked");
        eventually("the fork", || forked.exists().then_some(()));
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    knarr("runc 1.1 has no execCPUAffinity") fn the_cpu_affinity(world) {
        world.up_waiting();
        let process = json!({
            "user": {"uid": 0, "gid": 0}, "args": ["/bin/probe", "facts"], "env": ["PATH=/bin"], "cwd": "/",
            "execCPUAffinity": {"initial": "0", "final": "0"},
        });
        let file = world.file("process.json", &process.to_string());
        let facts = world.call(&["exec", "-p", file.to_str().expect("utf-8"), &world.id]).assert_ok().facts();
        assert_eq!(facts["affinity"], "0");
    }

    knarr("runc 1.1 keeps the caller's") fn the_cpu_affinity_of_the_caller_is_not_kept(world) {
        world.up_waiting();
        let all = world.exec_probe(&[], &["facts"]).assert_ok().facts()["affinity"].clone();
        let mut command = world.command(&["exec", &world.id, "/bin/probe", "facts"]);
        sys::pin_to_cpu(&mut command, 0);
        assert_eq!(world.finish(command).assert_ok().facts()["affinity"], all);
    }

    knarr("runc 1.1 has no execCPUAffinity") fn a_bad_cpu_affinity_is_refused(world) {
        world.set("/process/execCPUAffinity", json!({"initial": "one"}));
        world.run().assert_fails_with("CPUAffinity");
        world.assert_nothing_left();
    }
}
