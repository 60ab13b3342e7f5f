//! The floor: every system call the runtime makes, one function each, without policy.
//!
//! Descriptors come out owned and go in borrowed, all are close-on-exec, EINTR is retried where the call can be
//! repeated, and a failure quotes the call with its arguments. The only `unsafe` of this crate is here.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub(crate) use rustix::io::Errno;
use rustix::process::Pid;

/// A failed system call: what was asked, and the kernel's answer.
#[derive(Debug, Clone)]
pub(crate) struct Error {
    pub(crate) call: String,
    pub(crate) errno: Errno,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, errno_text(self.errno))
    }
}

impl std::error::Error for Error {}

/// The C library's text for an errno, in lower case as Go prints it: engines match on these words.
pub(crate) fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Names the call in the error of a rustix result.
pub(crate) trait Named<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Named<T> for rustix::io::Result<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error { call: call(), errno })
    }
}

impl<T> Named<T> for std::io::Result<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error {
            call: call(),
            errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        })
    }
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Turns the C convention (-1 and errno) into a result; `call` says what was asked.
fn check(ret: libc::c_long, call: impl FnOnce() -> String) -> Result<libc::c_long> {
    if ret == -1 {
        let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
        return Err(Error { call: call(), errno });
    }
    Ok(ret)
}

/// The same for calls that return a new descriptor.
fn check_fd(ret: libc::c_long, call: impl FnOnce() -> String) -> Result<OwnedFd> {
    let fd = check(ret, call)?;
    let fd = i32::try_from(fd).map_err(|_| Error {
        call: "descriptor".into(),
        errno: Errno::BADF,
    })?;
    // SAFETY: the kernel has just handed out this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// ---- processes: clone, wait, exec, signals ----------------------------------------------------------------------

// ---- namespaces ---------------------------------------------------------------------------------------------------

// ---- mounts and files ---------------------------------------------------------------------------------------------

// ---- process attributes -------------------------------------------------------------------------------------------

/// `struct sched_attr` (`sched_setattr(2)`); times in nanoseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SchedAttr {
    pub(crate) size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
    pub(crate) util_min: u32,
    pub(crate) util_max: u32,
}

impl SchedAttr {
    pub(crate) const SIZE: u32 = size_of::<Self>() as u32;
}

/// Sets the caller's scheduling policy and attributes.
pub(crate) fn sched_setattr(attr: &SchedAttr) -> Result<()> {
    // SAFETY: the kernel reads `attr.size` bytes of a struct that the reference keeps alive, and no constructor
    // claims more than its size.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(attr), 0) };
    check(ret, || {
        let SchedAttr {
            policy,
            flags,
            nice,
            priority,
            ..
        } = attr;
        format!("sched_setattr(policy {policy}, flags {flags:#x}, nice {nice}, priority {priority})")
    })?;
    Ok(())
}

/// Sets the caller's I/O priority: class and level as `ioprio_set(2)` packs them.
pub(crate) fn ioprio_set(priority: u16) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: no pointers.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            0,
            libc::c_int::from(priority),
        )
    };
    check(ret, || {
        format!("ioprio_set(IOPRIO_WHO_PROCESS, 0, {priority:#x})")
    })?;
    Ok(())
}

/// Sets the CPUs of `pid` (`None`: the caller); the mask may be of any length.
pub(crate) fn sched_setaffinity(pid: Option<Pid>, mask: &[u64]) -> Result<()> {
    let pid = Pid::as_raw(pid);
    // SAFETY: the kernel reads no more than the given number of bytes of the slice.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(mask), mask.as_ptr()) };
    check(ret, || format!("sched_setaffinity({pid}, {mask:x?})"))?;
    Ok(())
}

/// Sets the caller's execution domain.
pub(crate) fn personality(persona: libc::c_int) -> Result<()> {
    // SAFETY: no pointers.
    let ret = unsafe { libc::syscall(libc::SYS_personality, persona) };
    check(ret, || format!("personality({persona:#x})"))?;
    Ok(())
}

/// Sets the caller's NUMA policy; `mode` includes the flags.
pub(crate) fn set_mempolicy(mode: libc::c_int, nodes: &[u64]) -> Result<()> {
    // The kernel looks at one bit less than it is told of.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let mask = if nodes.is_empty() {
        std::ptr::null()
    } else {
        nodes.as_ptr()
    };
    // SAFETY: the kernel reads `bits - 1` bits, which the slice has, or nothing.
    let ret = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    check(ret, || format!("set_mempolicy({mode:#x}, {nodes:x?})"))?;
    Ok(())
}

/// Replaces the caller's session keyring by the one called `name`, making it if there is none. Returns its serial number.
pub(crate) fn keyctl_join_session_keyring(name: &CStr) -> Result<i32> {
    // SAFETY: a C string that outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    let serial = check(ret, || format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name:?})"))?;
    i32::try_from(serial).map_err(|_| Error {
        call: "key serial number".into(),
        errno: Errno::RANGE,
    })
}

/// Sets the permissions of a key.
pub(crate) fn keyctl_setperm(key: i32, permissions: u32) -> Result<()> {
    // SAFETY: no pointers.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, key, permissions) };
    check(ret, || format!("keyctl(KEYCTL_SETPERM, {key}, {permissions:#x})"))?;
    Ok(())
}
