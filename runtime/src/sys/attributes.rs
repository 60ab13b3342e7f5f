//! What a process can be given beside a program: scheduling, CPUs, execution domain, memory policy, keyring.

use std::ffi::CStr;

use rustix::process::Pid;

use super::{Errno, Error, Result, check};

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
    /// Of the struct, in bytes (`SCHED_ATTR_SIZE_VER1`, Linux 5.3).
    pub(crate) const SIZE: u32 = 56;
}

const _: () = assert!(size_of::<SchedAttr>() == 56);

/// Sets the caller's scheduling policy and attributes.
pub(crate) fn sched_setattr(attr: &SchedAttr) -> Result<()> {
    // SAFETY: the kernel reads `attr.size` bytes of a struct that the reference keeps alive, and no constructor
    // claims more than its size.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(attr), 0) };
    check(ret, || {
        let SchedAttr { policy, flags, nice, priority, .. } = attr;
        format!("sched_setattr(policy {policy}, flags {flags:#x}, nice {nice}, priority {priority})")
    })?;
    Ok(())
}

/// Sets the caller's I/O priority: class and level as `ioprio_set(2)` packs them.
pub(crate) fn ioprio_set(priority: u16) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: no pointers.
    let ret =
        unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, libc::c_int::from(priority)) };
    check(ret, || format!("ioprio_set(IOPRIO_WHO_PROCESS, 0, {priority:#x})"))?;
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
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
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
    i32::try_from(serial).map_err(|_| Error { call: "key serial number".into(), errno: Errno::RANGE })
}

/// Sets the permissions of a key.
pub(crate) fn keyctl_setperm(key: i32, permissions: u32) -> Result<()> {
    // SAFETY: no pointers.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, key, permissions) };
    check(ret, || format!("keyctl(KEYCTL_SETPERM, {key}, {permissions:#x})"))?;
    Ok(())
}
