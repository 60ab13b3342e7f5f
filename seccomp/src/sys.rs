//! The seccomp(2) calls. The only file of the crate with `unsafe`; no policy.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::program::SockFilter;

// linux/seccomp.h
pub(crate) const FLAG_TSYNC: u32 = 1;
pub(crate) const FLAG_LOG: u32 = 1 << 1;
pub(crate) const FLAG_SPEC_ALLOW: u32 = 1 << 2;
pub(crate) const FLAG_NEW_LISTENER: u32 = 1 << 3;
pub(crate) const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

const SET_MODE_FILTER: libc::c_ulong = 1;
const GET_ACTION_AVAIL: libc::c_ulong = 2;

#[repr(C)]
struct SockFprog {
    len: u16,
    filter: *const SockFilter,
}

/// `seccomp(SECCOMP_SET_MODE_FILTER, flags, program)`: the listener when `flags` ask for one.
pub(crate) fn set_mode_filter(flags: u32, filter: &[SockFilter]) -> io::Result<Option<OwnedFd>> {
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = SockFprog { len, filter: filter.as_ptr() };
    // SAFETY: `program` points to `len` instructions that outlive the call; the kernel copies them.
    let ret = unsafe {
        libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, libc::c_ulong::from(flags), &raw const program)
    };
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    let fd = i32::try_from(ret).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: with NEW_LISTENER the call returns a new descriptor that nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// `seccomp(SECCOMP_GET_ACTION_AVAIL)` (Linux 4.14).
pub(crate) fn takes_action(action: u32) -> bool {
    // SAFETY: the pointer is to an integer that outlives the call, which only reads it.
    unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0 as libc::c_ulong, &raw const action) == 0 }
}

/// Whether `seccomp(SECCOMP_SET_MODE_FILTER)` takes a flag: it looks at flags before it reads the program, and a null
/// program is no program.
pub(crate) fn takes_flag(flag: u32) -> bool {
    // WAIT_KILLABLE_RECV is refused without a listener.
    let flags = if flag == FLAG_WAIT_KILLABLE_RECV { flag | FLAG_NEW_LISTENER } else { flag };
    let nothing = std::ptr::null::<SockFprog>();
    // SAFETY: a null pointer makes the call fail before it does anything.
    let ret =
        unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, libc::c_ulong::from(flags), nothing) };
    ret < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}
