//! The system calls that rustix lacks: bpf(2), for the device programs of version 2. No policy here.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 2;
const F_REPLACE: u32 = 4;

const LICENSE: &CStr = c"Apache-2.0";

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; what follows is zero to the kernel.
#[repr(C)]
struct LoadAttr {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

#[repr(C)]
struct AttachAttr {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// Kernels from 6.17 write `revision` whatever size they are told, so it must be there.
#[repr(C)]
struct QueryAttr {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
    program_flags: u64,
    link_ids: u64,
    link_flags: u64,
    revision: u64,
}

/// Loads a `BPF_PROG_TYPE_CGROUP_DEVICE` program. With a log buffer the verifier explains itself there.
pub(crate) fn load_device_program(code: &[[u8; 8]], log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let mut attr = LoadAttr {
        kind: PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(code.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: code.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).map_err(|_| Errno::INVAL)?,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
    };
    // SAFETY: the pointers in attr lead to live memory of the sizes given beside them.
    unsafe { bpf_fd(PROG_LOAD, &mut attr) }
}

/// Attaches beside what is there, or instead of `replaced`, which must be attached to the same cgroup.
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = attach_attr(cgroup, program);
    attr.flags = F_ALLOW_MULTI;
    if let Some(replaced) = replaced {
        attr.flags |= F_REPLACE;
        attr.replaced = fd_number(replaced);
    }
    // SAFETY: attr holds numbers only.
    unsafe { bpf(PROG_ATTACH, &mut attr) }.map(drop)
}

pub(crate) fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = attach_attr(cgroup, program);
    // SAFETY: attr holds numbers only.
    unsafe { bpf(PROG_DETACH, &mut attr) }.map(drop)
}

/// Ids of the device programs attached to a cgroup itself; at most 64 fit there.
pub(crate) fn device_program_ids(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut ids = [0_u32; 64];
    let mut attr = QueryAttr {
        target: fd_number(cgroup),
        kind: ATTACH_TYPE_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: 64,
        padding: 0,
        program_flags: 0,
        link_ids: 0,
        link_flags: 0,
        revision: 0,
    };
    // SAFETY: attr leads to an array of as many ids as count says.
    unsafe { bpf(PROG_QUERY, &mut attr) }?;
    Ok(ids.iter().copied().take(attr.count as usize).collect())
}

pub(crate) fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    let mut attr = id;
    // SAFETY: the attribute is one number.
    unsafe { bpf_fd(PROG_GET_FD_BY_ID, &mut attr) }
}

fn attach_attr(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> AttachAttr {
    AttachAttr {
        target: fd_number(cgroup),
        program: fd_number(program),
        kind: ATTACH_TYPE_CGROUP_DEVICE,
        flags: 0,
        replaced: 0,
    }
}

/// A descriptor is never negative.
fn fd_number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// # Safety
/// `attr` must be what `command` expects, and pointers in it valid.
unsafe fn bpf_fd<T>(command: libc::c_int, attr: &mut T) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(command, attr) }?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor, close-on-exec, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// `attr` must be what `command` expects, and pointers in it valid.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<libc::c_long, Errno> {
    loop {
        // SAFETY: the caller's promise; the size is that of the object.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
        if result >= 0 {
            return Ok(result);
        }
        let error = std::io::Error::last_os_error();
        match Errno::from_io_error(&error).unwrap_or(Errno::IO) {
            // The verifier was interrupted, or a load raced with another.
            Errno::INTR | Errno::AGAIN => {}
            errno => return Err(errno),
        }
    }
}
