//! `linux.seccomp`: what a container's program meets. The notify side is in `seccomp_notify.rs`.
//!
//! Calls by number are x86-64's, and the other entries (int 0x80, x32) are that machine's.
#![allow(clippy::expect_used)] // a test ends where an expectation fails
#![allow(clippy::needless_pass_by_value)] // a case says json!(..), not &json!(..)
#![cfg(target_arch = "x86_64")]

use std::os::fd::OwnedFd;
use std::path::Path;

use knarr_integration::bundle::docker_profile;
use knarr_integration::{Answer, Value, World, cases, eventually, json};
use knarr_seccomp::default_profile::{Container, for_container};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

const X32: i64 = 0x4000_0000;
/// Free of memory arguments and of side effects, with two arguments that a filter can look at.
const CALL: i64 = libc::SYS_ioprio_get;
/// getppid for 32-bit programs.
const X86_GETPPID: i64 = 64;
/// An errno that no call under test has for itself.
const MARK: i64 = 77;

/// A filter that lets everything pass but what `rules` say.
fn filter(world: &mut World, rules: Value) {
    world.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
}

fn rule(names: &[&str], action: &str) -> Value {
    json!({"names": names, "action": action})
}

fn marking(name: &str, args: Value) -> Value {
    json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": MARK, "args": args})
}

/// Answer number `index` of the probe is a failure with `errno`.
#[track_caller]
fn assert_errno(answer: &Answer, index: usize, errno: i64) {
    assert_eq!(answer.act(index)["errno"], errno, "{answer}");
}

/// Answer number `index` of the probe is not the failure that the filter makes.
#[track_caller]
fn assert_unmarked(answer: &Answer, index: usize) {
    assert_ne!(answer.act(index)["errno"], MARK, "{answer}");
}

/// Runs the probe with one call for each list of arguments; whether the filter marked it.
fn marked(world: &mut World, calls: &[&str]) -> Vec<bool> {
    let number = CALL.to_string();
    let verbs: Vec<&str> = calls.iter().flat_map(|args| ["syscall", number.as_str(), args]).collect();
    let answer = world.probe(&verbs).run().assert_ok();
    (0..calls.len()).map(|index| answer.act(index)["errno"] == MARK).collect()
}

/// The number that the debug log tells.
fn told_flags(answer: &Answer) -> Option<u32> {
    let rest = answer.err.split("seccomp filter flags: ").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The kernel's audit records from now on, as AUDIT_NLGRP_READLOG of linux/audit.h tells them; `None` where they may not
/// be read. What the kernel prints of them is rate limited.
struct AuditLog(OwnedFd);

impl AuditLog {
    fn from_now() -> Option<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::AUDIT)).ok()?;
        bind(&socket, &SocketAddrNetlink::new(0, 1)).ok()?;
        Some(Self(socket))
    }

    /// Whether a record that has come has all of `words`.
    fn tells(&self, words: &[&str]) -> bool {
        let mut record = [0; 8192];
        while let Ok((length, _)) = recv(&self.0, &mut record[..], RecvFlags::empty()) {
            let text = String::from_utf8_lossy(&record[..length]);
            if words.iter().all(|word| text.contains(word)) {
                return true;
            }
        }
        false
    }
}

#[test]
fn docker_s_profile_is_the_one_of_the_crate() {
    let capabilities = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
    .map(|name| format!("CAP_{name}"));
    let made = for_container(Container { capabilities: &capabilities, kernel: (6, 1) });
    let made = serde_json::to_value(made).expect("JSON");
    assert_eq!(docker_profile(), made, "src/docker_profile.json should be:\n{made:#}");
}

cases! {
    everywhere fn a_denied_call_fails_with_eperm(world) {
        filter(world, json!([rule(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO")]));
        let answer = world.probe(&["facts", "mkdir", "/tmp/denied", "write", "/etc/group", "fine"]).run().assert_ok();
        assert_eq!(answer.facts()["seccomp"], 2, "{answer}");
        assert_errno(&answer, 1, i64::from(libc::EPERM));
        assert!(!world.rootfs().join("tmp/denied").exists());
        assert_eq!(answer.act(2)["ok"], true, "{answer}");
    }

    everywhere fn the_errno_of_a_rule(world) {
        filter(world, json!([marking("mkdir", json!([])), marking("mkdirat", json!([]))]));
        let answer = world.probe(&["mkdir", "/tmp/denied"]).run().assert_ok();
        assert_errno(&answer, 0, MARK);
    }

    everywhere fn the_errno_of_the_default(world) {
        let mut profile = docker_profile();
        profile["defaultErrnoRet"] = json!(MARK);
        world.set("/linux/seccomp", profile);
        let answer = world.probe(&["syscall", &libc::SYS_kexec_load.to_string(), "-"]).run().assert_ok();
        assert_errno(&answer, 0, MARK);
    }

    everywhere fn a_process_is_killed(world) {
        for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL", "SCMP_ACT_TRAP"] {
            filter(world, json!([rule(&["getppid"], action)]));
            let number = libc::SYS_getppid.to_string();
            let answer = world.probe(&["echo", "before", "syscall", &number, "-", "echo", "after"]).run();
            let answer = answer.assert_code(128 + libc::SIGSYS);
            assert_eq!(answer.answers().len(), 1, "{action}: {answer}");
        }
    }

    everywhere fn a_thread_is_killed_or_the_whole_process(world) {
        let number = libc::SYS_getppid.to_string();
        world.probe(&["syscall-in-thread", &number, "-", "echo", "alive"]);
        for action in ["SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL"] {
            filter(world, json!([rule(&["getppid"], action)]));
            let answer = world.run().assert_ok();
            assert_eq!((&answer.act(0)["value"], &answer.act(1)["value"]), (&json!(false), &json!("alive")), "{answer}");
        }
        filter(world, json!([rule(&["getppid"], "SCMP_ACT_KILL_PROCESS")]));
        assert!(world.run().assert_code(128 + libc::SIGSYS).answers().is_empty());
    }

    everywhere fn a_trap_is_a_signal_that_tells_the_call(world) {
        filter(world, json!([rule(&["getppid"], "SCMP_ACT_TRAP")]));
        let number = libc::SYS_getppid;
        let answer = world.probe(&["trapped-syscall", &number.to_string(), "-"]).run().assert_ok();
        assert_eq!(answer.act(0)["value"], json!({"number": number, "arch": 0xc000_003e_u32, "errno": 0}), "{answer}");
    }

    everywhere fn a_logged_call_is_done_and_on_record(world) {
        filter(world, json!([rule(&["mkdir", "mkdirat"], "SCMP_ACT_LOG")]));
        world.probe(&["mkdir", "/tmp/logged"]).create().assert_ok();
        let pid = format!(" pid={} ", world.pid());
        let log = AuditLog::from_now();
        world.start().assert_ok();
        world.wait_status("stopped");
        assert!(world.rootfs().join("tmp/logged").is_dir());
        let Some(log) = log else { world.skip("audit records may not be read") };
        // SECCOMP_RET_LOG.
        eventually("an audit record", || log.tells(&[&pid, " code=0x7ffc0000"]).then_some(()));
    }

    everywhere fn a_tracer_gets_the_message(world) {
        let number = libc::SYS_getppid.to_string();
        let mut traced = rule(&["getppid"], "SCMP_ACT_TRACE");
        traced["errnoRet"] = json!(MARK);
        filter(world, json!([traced]));
        let answer = world.probe(&["traced-syscall", &number, "-", "syscall", &number, "-"]).run().assert_ok();
        assert_eq!(answer.act(0)["value"], MARK, "{answer}");
        // Nobody traces the second one (seccomp(2)).
        assert_errno(&answer, 1, i64::from(libc::ENOSYS));
    }

    everywhere fn every_operator_compares_64_bits(world) {
        let big: u64 = 0x1_0000_0005;
        for (op, two, calls, expected) in [
            ("EQ", 0, ["0x100000005", "5", "0x200000005"], [true, false, false]),
            ("NE", 0, ["0x100000005", "5", "0x100000006"], [false, true, true]),
            ("LT", 0, ["0x100000004", "0x100000005", "0xffffffff"], [true, false, true]),
            ("LE", 0, ["0x100000005", "0x100000006", "6"], [true, false, true]),
            ("GE", 0, ["0x100000005", "0x100000004", "0x200000000"], [true, false, true]),
            ("GT", 0, ["0x100000006", "0x100000005", "0xffffffff"], [true, false, false]),
            // Of the argument's bits 32, 2 and 0, bits 32 and 0 alone are set.
            ("MASKED_EQ", 0x1_0000_0001_u64, ["0x1000000f1", "0x1000000f5", "0xf1"], [true, false, false]),
        ] {
            let arg = json!({"index": 0, "value": big, "valueTwo": two, "op": format!("SCMP_CMP_{op}")});
            filter(world, json!([marking("ioprio_get", json!([arg]))]));
            assert_eq!(marked(world, &calls), expected, "{op}");
        }
    }

    everywhere fn two_arguments_must_both_hold(world) {
        let args = json!([
            {"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 9, "op": "SCMP_CMP_GE"},
        ]);
        filter(world, json!([marking("ioprio_get", args)]));
        assert_eq!(marked(world, &["7,9", "7,8", "6,9", "7,0xffffffffffffffff"]), [true, false, false, true]);
    }

    everywhere fn two_conditions_on_one_argument_are_alternatives(world) {
        let args = json!([
            {"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 9, "op": "SCMP_CMP_EQ"},
        ]);
        filter(world, json!([marking("ioprio_get", args)]));
        assert_eq!(marked(world, &["7", "8", "9"]), [true, false, true]);
    }

    everywhere fn several_rules_for_one_call(world) {
        let rules = [7, 9].map(|value| {
            marking("ioprio_get", json!([{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]))
        });
        filter(world, json!(rules));
        assert_eq!(marked(world, &["0,7", "0,8", "0,9"]), [true, false, true]);
    }

    everywhere fn names_that_no_kernel_has_are_skipped(world) {
        let mut rule = marking("no_such_call", json!([]));
        rule["names"] = json!(["no_such_call", "ioprio_get"]);
        filter(world, json!([rule]));
        assert_eq!(marked(world, &["0"]), [true]);
    }

    knarr("runc 1.1 does not tell") fn skipped_names_are_told_to_who_debugs(world) {
        filter(world, json!([rule(&["no_such_call"], "SCMP_ACT_ERRNO")]));
        world.write_config();
        let answer = world.call(&["--debug", "run", &world.id]).assert_ok();
        assert!(answer.said().contains("unknown seccomp syscall \"no_such_call\" ignored"), "{answer}");
    }

    everywhere fn a_number_above_those_of_the_profile_is_unknown(world) {
        world.set("/linux/seccomp", docker_profile());
        let answer = world.probe(&[
            "syscall", "1000", "-",
            "syscall", &(X32 + 1000).to_string(), "-",
            "int80", "1000", "-",
            "syscall", &libc::SYS_kexec_load.to_string(), "-",
        ]).run().assert_ok();
        for index in 0..3 {
            assert_errno(&answer, index, i64::from(libc::ENOSYS));
        }
        assert_errno(&answer, 3, i64::from(libc::EPERM));
    }

    everywhere fn each_architecture_has_the_rules(world) {
        filter(world, json!([marking("getppid", json!([]))]));
        world.set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]));
        let answer = world.probe(&[
            "syscall", &libc::SYS_getppid.to_string(), "-",
            "int80", &X86_GETPPID.to_string(), "-",
            "syscall", &(X32 | libc::SYS_getppid).to_string(), "-",
            // getpid, which nothing forbids.
            "int80", "20", "-",
            "syscall", &(X32 | libc::SYS_getpid).to_string(), "-",
        ]).run().assert_ok();
        for index in 0..3 {
            assert_errno(&answer, index, MARK);
        }
        assert_eq!(answer.act(3)["value"], 1, "{answer}");
        assert_unmarked(&answer, 4);
    }

    everywhere fn a_socket_call_is_found_inside_socketcall(world) {
        filter(world, json!([marking("socket", json!([]))]));
        world.set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86"]));
        // socketcall is 102: 1 is socket, 2 is bind; 359 is socket itself.
        let answer =
            world.probe(&["int80", "102", "1,0", "int80", "102", "2,0", "int80", "359", "-"]).run().assert_ok();
        assert_errno(&answer, 0, MARK);
        assert_unmarked(&answer, 1);
        assert_errno(&answer, 2, MARK);
    }

    everywhere fn an_architecture_that_is_not_listed_is_killed(world) {
        filter(world, json!([marking("getppid", json!([]))]));
        world.set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86_64"]));
        world.probe(&["int80", "20", "-"]).run().assert_code(128 + libc::SIGSYS);
        let x32 = (X32 | libc::SYS_getpid).to_string();
        world.probe(&["syscall", &x32, "-"]).run().assert_code(128 + libc::SIGSYS);
        // The native one needs no mention.
        world.set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86"]));
        let answer = world.probe(&["syscall", &libc::SYS_getppid.to_string(), "-"]).run().assert_ok();
        assert_errno(&answer, 0, MARK);
    }

    everywhere fn the_filter_does_not_set_no_new_privileges(world) {
        filter(world, json!([marking("ioprio_get", json!([]))]));
        for wanted in [false, true] {
            let facts = world.set("/process/noNewPrivileges", wanted).run_facts();
            assert_eq!((&facts["no_new_privs"], &facts["seccomp"]), (&json!(u8::from(wanted)), &json!(2)));
        }
    }

    everywhere fn with_no_new_privileges_the_filter_comes_after_the_identity(world) {
        filter(world, json!([
            rule(&["setgroups", "setgid", "setuid", "setresgid", "setresuid", "capset"], "SCMP_ACT_ERRNO"),
        ]));
        world.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        assert_eq!(world.run_facts()["uid"], json!([1000, 1000, 1000, 1000]));
        world.set("/process/noNewPrivileges", false).run().assert_fails_with("operation not permitted");
        world.assert_nothing_left();
    }

    knarr("runc needs the calls of Go's runtime") fn with_no_new_privileges_only_the_program_s_calls_are_needed(world) {
        let names = ["execve", "brk", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
            "readlink", "readlinkat", "prctl", "getrandom", "mprotect", "getuid", "exit_group"];
        world.set("/linux/seccomp", json!({
            "defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [rule(&names, "SCMP_ACT_ALLOW")],
        }));
        world.args(&["/bin/true"]).run().assert_ok();
        world.up();
        world.wait_status("stopped");
    }

    everywhere fn exec_has_the_filter_too(world) {
        filter(world, json!([marking("ioprio_get", json!([]))]));
        let number = CALL.to_string();
        for no_new_privileges in [true, false] {
            world.set("/process/noNewPrivileges", no_new_privileges).up_waiting();
            let answer = world.exec_probe(&[], &["syscall", &number, "-", "facts"]).assert_ok();
            assert_errno(&answer, 0, MARK);
            assert_eq!(answer.facts()["seccomp"], 2, "{answer}");
            let user = world.exec_probe(&["--user", "1000:1000"], &["syscall", &number, "-"]).assert_ok();
            assert_errno(&user, 0, MARK);
            world.delete_force().assert_ok();
        }
    }

    everywhere fn a_profile_that_says_nothing_is_no_filter(world) {
        for profile in [json!({}), json!(null), json!({"defaultAction": "", "syscalls": []})] {
            assert_eq!(world.set("/linux/seccomp", profile).run_facts()["seccomp"], 0);
        }
    }

    everywhere fn docker_s_profile_changes_nothing_for_a_program(world) {
        let script = "set -e; cd /tmp; mkdir -p a/b; echo one > a/b/c; ln -s b a/l; cat a/l/c | grep -c one; \
            mv a/b/c a/d; ls a; stat -c %s a/d; rm -r a; id -u; hostname; pwd; (sleep 0.01; echo slept); \
            sh -c 'kill -TERM $$' || echo killed; test ! -e a; env -i echo end";
        world.capabilities(&["bounding", "effective", "permitted"], &["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"]);
        world.args(&["/bin/sh", "-c", script]);
        let plain = world.run().assert_ok();
        world.set("/linux/seccomp", docker_profile());
        for no_new_privileges in [true, false] {
            world.set("/process/noNewPrivileges", no_new_privileges);
            let filtered = world.run().assert_ok();
            assert_eq!((&filtered.out, &filtered.err), (&plain.out, &plain.err));
        }
        assert!(plain.out.starts_with("1\nb\nd\nl\n4\n0\n") || plain.out.ends_with("end\n"), "{plain}");
    }

    everywhere fn docker_s_profile_and_another_user(world) {
        world.set("/linux/seccomp", docker_profile()).set("/process/noNewPrivileges", false);
        world.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [5]}));
        let facts = world.run_facts();
        assert_eq!((&facts["uid"][0], &facts["groups"]), (&json!(1000), &json!([5])));
        assert_eq!(facts["seccomp"], 2);
    }

    knarr("runc 1.1 supports no flags") fn flags_reach_the_kernel_as_the_debug_log_says(world) {
        for (flags, told) in [
            (json!([]), 0),
            (json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), 4),
            (json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), 6),
        ] {
            filter(world, json!([marking("getppid", json!([]))]));
            world.set("/linux/seccomp/flags", flags.clone());
            world.write_config();
            let answer = world.call(&["--debug", "run", &world.id]).assert_ok();
            assert_eq!(told_flags(&answer), Some(told), "{flags}: {answer}");
            assert_eq!(answer.facts()["seccomp"], 2);
        }
    }

    knarr("runc 1.1 supports no flags") fn absent_flags_and_tsync(world) {
        filter(world, json!([marking("getppid", json!([]))]));
        world.write_config();
        assert_eq!(told_flags(&world.call(&["--debug", "run", &world.id]).assert_ok()), Some(4));
        world.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_TSYNC"]));
        world.write_config();
        assert_eq!(told_flags(&world.call(&["--debug", "run", &world.id]).assert_ok()), Some(0));
    }

    knarr("runc 1.1 supports no flags") fn the_log_flag_puts_denials_on_record(world) {
        let number = libc::SYS_getppid.to_string();
        filter(world, json!([marking("getppid", json!([]))]));
        world.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_LOG"]));
        world.probe(&["syscall", &number, "-"]).create().assert_ok();
        let pid = format!(" pid={} ", world.pid());
        let Some(log) = AuditLog::from_now() else { world.skip("audit records may not be read") };
        world.start().assert_ok();
        world.wait_status("stopped");
        eventually("an audit record", || log.tells(&[&pid, " code=0x50000"]).then_some(()));
    }

    everywhere fn unknown_names_are_refused_by_name(world) {
        let good = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [marking("getppid", json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]))]});
        for (pointer, value, text) in [
            ("/defaultAction", json!("SCMP_ACT_PANIC"), "string SCMP_ACT_PANIC is not a valid action for seccomp"),
            ("/syscalls/0/action", json!("SCMP_ACT_PANIC"), "string SCMP_ACT_PANIC is not a valid action for seccomp"),
            ("/syscalls/0/args/0/op", json!("SCMP_CMP_IN"), "string SCMP_CMP_IN is not a valid operator for seccomp"),
            ("/architectures", json!(["SCMP_ARCH_PDP11"]), "string SCMP_ARCH_PDP11 is not a valid arch for seccomp"),
            ("/flags", json!(["SECCOMP_FILTER_FLAG_FUN"]), world.pick("SECCOMP_FILTER_FLAG_FUN", "seccomp flags are not yet")),
        ] {
            world.set("/linux/seccomp", good.clone()).set(&format!("/linux/seccomp{pointer}"), value);
            world.create().assert_fails_with(text);
            world.assert_nothing_left();
        }
    }

    knarr("runc 1.1 does not name the field") fn the_field_is_named(world) {
        let good = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            rule(&["getpid"], "SCMP_ACT_ERRNO"),
            marking("getppid", json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}])),
        ]});
        for (pointer, value) in [
            ("/defaultAction", json!("SCMP_ACT_PANIC")),
            ("/syscalls/1/action", json!("SCMP_ACT_PANIC")),
            ("/syscalls/1/args/0/op", json!("SCMP_CMP_IN")),
            ("/syscalls/1/args/0/index", json!(6)),
            ("/architectures/0", json!("SCMP_ARCH_PDP11")),
            ("/flags", json!(["SECCOMP_FILTER_FLAG_FUN"])),
        ] {
            world.set("/linux/seccomp", good.clone()).set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86"]));
            world.set(&format!("/linux/seccomp{pointer}"), value);
            world.write_config();
            let answer = world.call(&["--log-format", "json", "create", &world.id]).assert_code(1);
            let line: Value = serde_json::from_str(answer.err.lines().last().expect("a line")).expect("JSON");
            assert_eq!(line["field"], format!("/linux/seccomp{pointer}"), "{answer}");
            world.assert_nothing_left();
        }
    }

    knarr("the text is ours") fn a_filter_that_is_too_large_is_refused(world) {
        let rules: Vec<Value> = (0..3000)
            .flat_map(|n| {
                let arg = |index| json!([{"index": index, "value": n * 3, "op": "SCMP_CMP_EQ"}]);
                [marking("ioprio_get", arg(0)), marking("ioprio_set", arg(1))]
            })
            .collect();
        filter(world, json!(rules));
        world.create().assert_fails_with("linux.seccomp: the filter needs ")
            .assert_fails_with(" instructions, the kernel takes 4096");
        world.assert_nothing_left();
    }

    everywhere fn features_tells_what_a_profile_may_name(world) {
        let features: Value = serde_json::from_str(&world.call(&["features"]).assert_ok().out).expect("JSON");
        let seccomp = &features["linux"]["seccomp"];
        assert_eq!(seccomp["enabled"], true);
        let names = |key: &str| -> Vec<String> {
            let list = seccomp[key].as_array().unwrap_or_else(|| panic!("no {key}: {seccomp}"));
            list.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        for action in names("actions").into_iter().filter(|name| name != "SCMP_ACT_NOTIFY") {
            filter(world, json!([rule(&["mkdir"], &action)]));
            assert_eq!(world.run_facts()["seccomp"], 2, "{action}");
        }
        for op in names("operators") {
            filter(world, json!([marking("getppid", json!([{"index": 0, "value": 1, "op": op}]))]));
            assert_eq!(world.run_facts()["seccomp"], 2, "{op}");
        }
        assert!(names("archs").contains(&"SCMP_ARCH_X32".to_owned()), "{seccomp}");
    }

    knarr("runc 1.1 tells no flags") fn features_tells_the_flags_and_architectures(world) {
        let features: Value = serde_json::from_str(&world.call(&["features"]).assert_ok().out).expect("JSON");
        let seccomp = features["linux"]["seccomp"].clone();
        let list = |key: &str| seccomp[key].as_array().cloned().unwrap_or_default();
        assert_eq!(list("knownFlags").len(), 4);
        for flag in list("supportedFlags") {
            assert!(list("knownFlags").contains(&flag), "{seccomp}");
            // The fourth needs a listener: see seccomp_notify.rs.
            if flag != "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
                filter(world, json!([marking("getppid", json!([]))]));
                world.set("/linux/seccomp/flags", json!([flag]));
                assert_eq!(world.run_facts()["seccomp"], 2, "{flag}");
            }
        }
        filter(world, json!([marking("getppid", json!([]))]));
        world.set("/linux/seccomp/architectures", list("archs"));
        assert_eq!(world.run_facts()["seccomp"], 2);
    }

    knarr("the command is ours") fn the_command_says_what_the_container_meets(world) {
        world.set("/linux/seccomp", docker_profile());
        let kexec = libc::SYS_kexec_load.to_string();
        let answer = world.probe(&["syscall", &kexec, "-", "syscall", "1000", "-", "int80", "136", "0xffffffff"]).run().assert_ok();
        let told = |args: &[&str]| world.call(&[&["seccomp"], args].concat()).assert_ok().out;
        assert_errno(&answer, 0, 1);
        assert_eq!(told(&["--arch", "SCMP_ARCH_X86_64", "kexec_load"]),
            "SCMP_ARCH_X86_64 kexec_load (246): SCMP_ACT_ERRNO(1), linux.seccomp.defaultAction\n");
        assert_errno(&answer, 1, 38);
        assert!(told(&["1000"]).starts_with("SCMP_ARCH_X86_64 unknown (1000): SCMP_ACT_ERRNO(38), above "));
        assert_eq!(answer.act(2)["ok"], true, "{answer}");
        let personality = told(&["personality", "0xffffffff"]);
        assert_eq!(personality.lines().count(), 3, "{personality}");
        assert!(personality.lines().all(|line| line.contains(": SCMP_ACT_ALLOW, linux.seccomp.syscalls[")), "{personality}");
    }

    knarr("the command is ours") fn the_command_prints_the_program(world) {
        filter(world, json!([marking("getppid", json!([])), rule(&["no_such_call"], "SCMP_ACT_ERRNO")]));
        world.write_config();
        let printed = world.call(&["seccomp"]).assert_ok();
        assert!(printed.out.contains("return SCMP_ACT_ERRNO(77)\n"), "{printed}");
        assert!(printed.said().contains("unknown seccomp syscall \"no_such_call\" ignored"), "{printed}");
        let file = world.file("profile.json", &world.config["linux"]["seccomp"].to_string());
        let file = file.to_str().expect("utf-8");
        assert_eq!(world.call(&["seccomp", "--profile", file]).assert_ok().out, printed.out);
        let bundle = world.bundle();
        assert_eq!(world.call(&["seccomp", "-b", bundle.to_str().expect("utf-8")]).assert_ok().out, printed.out);

        world.call(&["seccomp", "--profile", file, "-b", "."]).assert_fails_with("exclude each other");
        world.call(&["seccomp", "--profile", "/no/such/file"]).assert_fails_with("open /no/such/file: no such file or directory");
        world.call(&["seccomp", "getpid", "five"]).assert_fails_with("argument \"five\" of the system call is no 64-bit number");
        world.unset("/linux/seccomp").write_config();
        world.call(&["seccomp"]).assert_fails_with("config.json has no linux.seccomp");
        assert!(!Path::new(&world.state_dir()).exists());
    }
}
