//! Filters in the kernel: what installing needs and gives, each action, the three ways into the kernel on x86-64, and a
//! round trip with an agent.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::expect_used, reason = "a test may stop")]

#[path = "../support/mod.rs"]
mod support;
mod sys;

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use knarr_seccomp::notify::{Agent, ProcessState};
use knarr_seccomp::{Error, Profile, Program, compile};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use support::{arg, docker, many_rules, rule, runc_suite};
use sys::{End, call, call_i386, spawn, wait};

const NOTHING: [i64; 3] = [0; 3];

fn program(action: &str, errno_ret: Option<u32>, architectures: &[&str]) -> Program {
    let profile = Profile {
        default_action: "SCMP_ACT_ALLOW".into(),
        architectures: architectures.iter().map(|name| (*name).to_owned()).collect(),
        syscalls: vec![rule(action, errno_ret, "getpriority getpgrp", vec![])],
        ..Profile::default()
    };
    compile(&profile).expect("a program")
}

/// What becomes of a child that installs a program and acts.
fn under(program: &Program, act: impl FnOnce() -> i32) -> End {
    wait(spawn(|| {
        sys::set_no_new_privs();
        if program.install().is_err() { 99 } else { act() }
    }))
}

fn code(condition: bool) -> i32 {
    i32::from(!condition)
}

#[test]
fn a_denied_call_returns_its_errno_and_others_work() {
    let program = program("SCMP_ACT_ERRNO", Some(95), &[]);
    let end = under(&program, || {
        code(call(libc::SYS_getpriority, NOTHING) == -95 && call(libc::SYS_getpid, NOTHING) > 0)
    });
    assert_eq!(end, End::Exit(0));
}

#[test]
fn kill_process_kills_and_trap_signals() {
    let denied = || {
        sys::exit_on_sigsys();
        call(libc::SYS_getpriority, NOTHING);
        0
    };
    assert_eq!(under(&program("SCMP_ACT_KILL_PROCESS", None, &[]), denied), End::Signal(libc::SIGSYS));
    assert_eq!(under(&program("SCMP_ACT_KILL", None, &[]), denied), End::Signal(libc::SIGSYS));
    assert_eq!(under(&program("SCMP_ACT_TRAP", None, &[]), denied), End::Exit(42));
}

#[test]
fn kill_thread_leaves_the_other_threads() {
    let denied = || {
        sys::call_in_thread(libc::SYS_getpriority);
        7
    };
    assert_eq!(under(&program("SCMP_ACT_KILL_THREAD", None, &[]), denied), End::Exit(7));
    assert_eq!(under(&program("SCMP_ACT_KILL_PROCESS", None, &[]), denied), End::Signal(libc::SIGSYS));
}

#[test]
fn log_lets_pass_and_trace_without_a_tracer_is_enosys() {
    let getpriority = || call(libc::SYS_getpriority, NOTHING);
    assert_eq!(under(&program("SCMP_ACT_LOG", None, &[]), || code(getpriority() > 0)), End::Exit(0));
    assert_eq!(under(&program("SCMP_ACT_TRACE", None, &[]), || code(getpriority() == -38)), End::Exit(0));
}

#[test]
fn numbers_above_the_profile_are_enosys_and_unnamed_ones_eperm() {
    let program = compile(&runc_suite()).expect("a program");
    let tries = || {
        let above = call(1000, NOTHING) == -38;
        let unnamed = call(libc::SYS_acct, NOTHING) == -1;
        let named = call(libc::SYS_ftruncate, [123_456_789, 1337, 0]) == -9;
        let other_argument = call(libc::SYS_ftruncate, [123_456_789, 1338, 0]) == -1;
        code(above && unnamed && named && other_argument)
    };
    assert_eq!(under(&program, tries), End::Exit(0));
}

/// i386's numbers.
const GETPID_I386: i32 = 20;
const GETPRIORITY_I386: i32 = 96;

/// Kernels without `CONFIG_IA32_EMULATION` have no such entry.
fn has_i386() -> bool {
    wait(spawn(|| code(call_i386(GETPID_I386, 0) > 0))) == End::Exit(0)
}

#[test]
fn the_32_bit_entry_has_its_own_numbers() {
    if !has_i386() {
        eprintln!("skipped: this kernel has no int 0x80");
        return;
    }
    let listed = program("SCMP_ACT_ERRNO", Some(95), &["SCMP_ARCH_X86"]);
    let tries = || code(call_i386(GETPRIORITY_I386, 0) == -95 && call_i386(GETPID_I386, 0) > 0);
    assert_eq!(under(&listed, tries), End::Exit(0));
    let unlisted = program("SCMP_ACT_ERRNO", Some(95), &[]);
    assert_eq!(under(&unlisted, || call_i386(GETPID_I386, 0)), End::Signal(libc::SIGSYS));
}

#[test]
fn x32_calls_do_not_get_around_the_filter() {
    const X32: i64 = 0x4000_0000;
    let getpriority = || call(X32 | libc::SYS_getpriority, NOTHING);
    let listed = program("SCMP_ACT_ERRNO", Some(95), &["SCMP_ARCH_X32"]);
    assert_eq!(under(&listed, || code(getpriority() == -95)), End::Exit(0));
    let unlisted = program("SCMP_ACT_ERRNO", Some(95), &[]);
    assert_eq!(under(&unlisted, || code(getpriority() == -95)), End::Signal(libc::SIGSYS));
}

#[test]
fn arguments_are_compared_in_full() {
    let conditions = vec![arg(1, "SCMP_CMP_GT", 0xffff_ffff, 0)];
    let profile = Profile {
        default_action: "SCMP_ACT_ALLOW".into(),
        syscalls: vec![rule("SCMP_ACT_ERRNO", Some(95), "getpriority", conditions)],
        ..Profile::default()
    };
    let program = compile(&profile).expect("a program");
    let getpriority = |who| call(libc::SYS_getpriority, [0, who, 0]);
    let tries = || code(getpriority(0x1_0000_0000) == -95 && getpriority(0) > 0);
    assert_eq!(under(&program, tries), End::Exit(0));
}

#[test]
fn dockers_profile_installs_and_denies_mount() {
    let program = compile(&docker(&[])).expect("a program");
    let tries = || code(call(libc::SYS_mount, NOTHING) == -1 && call(libc::SYS_clone3, NOTHING) == -38);
    assert_eq!(under(&program, tries), End::Exit(0));
}

#[test]
fn a_program_with_long_jumps_installs() {
    let program = compile(&many_rules(1800)).expect("a program");
    assert!(program.instructions().len() > 2000);
    let dup3 = |fd| call(libc::SYS_dup3, [fd, fd, 0]);
    let tries = || code(dup3(3 * 1799) == -22 && dup3(0) == -22 && dup3(1) == -1 && dup3(3 * 1800) == -1);
    assert_eq!(under(&program, tries), End::Exit(0));
}

#[test]
fn installing_never_sets_no_new_privs() {
    let program = program("SCMP_ACT_ERRNO", None, &[]);
    if rustix::process::geteuid().is_root() {
        let installed = spawn(|| code(program.install().is_ok() && sys::no_new_privs() == 0));
        assert_eq!(wait(installed), End::Exit(0));
    } else {
        eprintln!("skipped one half: only root can install without no_new_privs");
    }
    let refused = spawn(|| {
        if rustix::process::geteuid().is_root() {
            sys::become_nobody();
        }
        match program.install() {
            Err(Error::Install(error)) => code(error.raw_os_error() == Some(libc::EACCES)),
            _ => 2,
        }
    });
    assert_eq!(wait(refused), End::Exit(0));
}

/// A profile whose `getpriority` goes to an agent at `path`.
fn asking(path: &str, flags: &[&str]) -> Profile {
    Profile {
        default_action: "SCMP_ACT_ALLOW".into(),
        flags: Some(flags.iter().map(|flag| (*flag).to_owned()).collect()),
        listener_path: path.to_owned(),
        listener_metadata: "bar".into(),
        syscalls: vec![rule("SCMP_ACT_NOTIFY", None, "getpriority", vec![])],
        ..Profile::default()
    }
}

#[test]
fn an_agent_gets_the_message_and_answers_the_call() {
    let directory = std::env::temp_dir().join(format!("knarr-seccomp-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("agent.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let path = path.to_str().expect("text");

    let program = compile(&asking(path, &["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])).expect("a program");
    assert!(program.wants_listener());
    assert_eq!(program.flags(), 40);
    program.check_kernel().expect("this kernel has notifications");

    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let pid = spawn(|| {
        sys::set_no_new_privs();
        let Ok(Some(listener)) = program.install() else { return 99 };
        let number = listener.as_raw_fd().to_ne_bytes();
        if (&theirs).write_all(&number).is_err() || (&theirs).read_exact(&mut [0]).is_err() {
            return 98;
        }
        drop(listener);
        code(call(libc::SYS_getpriority, NOTHING) == -123)
    });
    let copy = listener_of(pid, &mut ours);
    ours.write_all(&[0]).expect("the child waits");
    let state = serde_json::json!({ "ociVersion": "1.3.0", "id": "c1", "status": "creating" });
    let message = ProcessState::new("1.3.0", pid, "bar", &state);
    Agent::connect(path).expect("a connection").send(&message, copy.as_fd()).expect("sent");
    drop(copy);

    let (text, received) = receive(&listener.accept().expect("a connection").0);
    let expected = format!(
        r#"{{"ociVersion":"1.3.0","fds":["seccompFd"],"pid":{pid},"metadata":"bar","state":{{"id":"c1","ociVersion":"1.3.0","status":"creating"}}}}"#
    );
    assert_eq!(text, expected);
    assert_eq!(i64::from(sys::refuse_one(received.as_fd(), 123)), libc::SYS_getpriority);
    assert_eq!(wait(pid), End::Exit(0));
    std::fs::remove_dir_all(&directory).expect("removed");
}

/// What a parent does when its child says which descriptor the listener is.
fn listener_of(pid: libc::pid_t, channel: &mut UnixStream) -> OwnedFd {
    let mut number = [0; 4];
    channel.read_exact(&mut number).expect("a number");
    let pidfd = pidfd_open(Pid::from_raw(pid).expect("a pid"), PidfdFlags::empty()).expect("a pidfd");
    pidfd_getfd(pidfd, i32::from_ne_bytes(number), PidfdGetfdFlags::empty()).expect("the listener")
}

fn receive(socket: &UnixStream) -> (String, OwnedFd) {
    let mut bytes = [0; 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message =
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags).expect("a message");
    let fds = control.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let text = String::from_utf8(bytes[..message.bytes].to_vec()).expect("text");
    (text, fds.expect("a descriptor"))
}

#[test]
fn an_absent_agent_is_named() {
    for path in ["/nowhere/agent.sock", "@knarr-nobody-listens"] {
        let error = Agent::connect(path).expect_err("nobody listens");
        let expected = format!(
            "failed to connect with seccomp agent specified in the seccomp profile: dial unix {path}"
        );
        assert_eq!(error.to_string(), expected);
    }
}
