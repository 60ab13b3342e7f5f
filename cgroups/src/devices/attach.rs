//! The device program of a version 2 cgroup: loaded, and put in the place of the one before in a single step.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Errno, Error, Result};
use crate::sys;

use super::program::Program;
use super::rules::Policy;

/// Makes a policy the only one of a cgroup.
///
/// Where the kernel can (5.7 and later, `BPF_F_REPLACE`) there is no moment without a program or with two; before
/// that, the new one is attached first, so that access is never wider than one of them allows.
pub(crate) fn attach(cgroup: BorrowedFd<'_>, policy: &Policy, program: &Program) -> Result<()> {
    let ids = sys::device_program_ids(cgroup)
        .map_err(|source| failed("bpf_prog_query(BPF_CGROUP_DEVICE) failed", source))?;
    if ids.is_empty() && policy.allows_everything() {
        return Ok(());
    }
    let old = open_programs(&ids)?;
    let new = load(program)?;
    if let [only] = old.as_slice() {
        match sys::attach_device_program(cgroup, new.as_fd(), Some(only.as_fd())) {
            Ok(()) => return Ok(()),
            Err(io::Errno::INVAL) => {}
            Err(source) => return Err(failed("failed to call BPF_PROG_ATTACH", source)),
        }
    }
    sys::attach_device_program(cgroup, new.as_fd(), None)
        .map_err(|source| failed("failed to call BPF_PROG_ATTACH", source))?;
    for program in &old {
        sys::detach_device_program(cgroup, program.as_fd())
            .map_err(|source| failed("failed to call BPF_PROG_DETACH", source))?;
    }
    Ok(())
}

/// A program that a security module hides from us can only restrict more; it is left alone.
fn open_programs(ids: &[u32]) -> Result<Vec<OwnedFd>> {
    let mut programs = Vec::new();
    for id in ids {
        match sys::program_by_id(*id) {
            Ok(program) => programs.push(program),
            Err(io::Errno::ACCESS | io::Errno::PERM | io::Errno::NOENT) => {}
            Err(source) => return Err(failed("cannot fetch program from id", source)),
        }
    }
    Ok(programs)
}

pub(crate) fn load(program: &Program) -> Result<OwnedFd> {
    match sys::load_device_program(&program.0, &mut []) {
        Err(io::Errno::PERM) => load_with_memory(program),
        result => result.map_err(|source| explain(program, source)),
    }
}

/// Kernels before 5.11 count programs as locked memory. The limit is put back: the container inherits it from us.
fn load_with_memory(program: &Program) -> Result<OwnedFd> {
    let before = getrlimit(Resource::Memlock);
    // A refusal leaves the limit as it is, and the load then says what is wrong.
    let raised = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    let result = sys::load_device_program(&program.0, &mut []);
    if raised.is_ok() {
        setrlimit(Resource::Memlock, before).map_err(|source| failed("setrlimit(RLIMIT_MEMLOCK)", source))?;
    }
    result.map_err(|source| explain(program, source))
}

/// Asks the verifier why.
fn explain(program: &Program, source: io::Errno) -> Error {
    let mut log = vec![0; 64 * 1024];
    // It failed a moment ago without a log; what counts is what the log says now.
    drop(sys::load_device_program(&program.0, &mut log));
    let text = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    let call = "failed to call BPF_PROG_LOAD";
    match text.trim() {
        "" => failed(call, source),
        text => Error::Bpf { call: format!("{call}: {text}"), source: Errno(source) },
    }
}

fn failed(call: &str, source: io::Errno) -> Error {
    Error::Bpf { call: call.to_owned(), source: Errno(source) }
}
