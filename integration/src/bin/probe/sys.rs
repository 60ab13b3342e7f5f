//! The calls that neither std nor rustix has, one function each, without policy.
#![allow(unsafe_code)]

pub(crate) mod entry;

use std::io;

/// `sched_attr` of `sched_setattr(2)`, first published size.
#[repr(C)]
#[derive(Default)]
pub(crate) struct SchedAttr {
    pub(crate) size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
}

pub(crate) fn sched_getattr() -> io::Result<SchedAttr> {
    let mut attr = SchedAttr::default();
    let size = u32::try_from(size_of::<SchedAttr>()).unwrap_or(u32::MAX);
    // SAFETY: the kernel writes at most `size` bytes into `attr`.
    checked(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) })?;
    Ok(attr)
}

/// The raw ioprio of this process: class in bits 13 and up.
pub(crate) fn ioprio_get() -> io::Result<i64> {
    // SAFETY: three integers, no memory.
    checked(unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) })
}

pub(crate) fn personality() -> io::Result<i64> {
    // SAFETY: 0xffffffff asks without changing.
    checked(unsafe { libc::syscall(libc::SYS_personality, 0xffff_ffff_u64) })
}

/// Mode with its flags, and the first 64 nodes as bits.
pub(crate) fn get_mempolicy() -> io::Result<(i32, u64)> {
    let mut mode: i32 = 0;
    let mut nodes = [0_u64; 16];
    // SAFETY: `nodes` has room for the 1024 bits announced.
    checked(unsafe {
        libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, nodes.as_mut_ptr(), 1024, 0, 0)
    })?;
    Ok((mode, nodes[0]))
}

/// `type;uid;gid;perm;description` of the session keyring, `keyctl_describe(3)`.
pub(crate) fn session_keyring() -> io::Result<String> {
    const KEYCTL_DESCRIBE: i32 = 6;
    const KEY_SPEC_SESSION_KEYRING: i32 = -3;
    let mut text = [0_u8; 256];
    // SAFETY: the kernel writes at most `text.len()` bytes.
    let length = checked(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_DESCRIBE,
            KEY_SPEC_SESSION_KEYRING,
            text.as_mut_ptr(),
            text.len(),
        )
    })?;
    let length = usize::try_from(length).unwrap_or(0).saturating_sub(1).min(text.len());
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// Blocks the signals, waits for one of them and returns it.
pub(crate) fn wait_for_signal(signals: &[i32]) -> io::Result<i32> {
    let mut got = 0;
    // SAFETY: `set` is initialised by sigemptyset before any use.
    let failed = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        libc::sigwait(&raw const set, &raw mut got)
    };
    if failed == 0 { Ok(got) } else { Err(io::Error::from_raw_os_error(failed)) }
}

pub(crate) fn block_signals(signals: &[i32]) {
    // SAFETY: `set` is initialised by sigemptyset before any use.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Forks a child that sleeps until it is killed; returns its pid.
pub(crate) fn fork_sleeper() -> io::Result<i32> {
    // SAFETY: one thread; the child calls only pause(2).
    match unsafe { libc::fork() } {
        0 => loop {
            // SAFETY: no argument.
            unsafe { libc::pause() };
        },
        pid => checked(i64::from(pid)).map(|_| pid),
    }
}

pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: two integers.
    checked(i64::from(unsafe { libc::kill(pid, signal) })).map(|_| ())
}

pub(crate) fn foreground_group(fd: i32) -> io::Result<i32> {
    // SAFETY: one integer.
    let group = unsafe { libc::tcgetpgrp(fd) };
    checked(i64::from(group)).map(|_| group)
}

pub(crate) fn is_cloexec(fd: i32) -> bool {
    // SAFETY: F_GETFD takes no memory.
    unsafe { libc::fcntl(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
}

pub(crate) fn file_system_magic(path: &str) -> io::Result<i64> {
    let path = std::ffi::CString::new(path)?;
    // SAFETY: an all-zero statfs is valid, and the path is a C string.
    unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        checked(i64::from(libc::statfs(path.as_ptr(), &raw mut stat)))?;
        Ok(stat.f_type)
    }
}

fn checked(returned: i64) -> io::Result<i64> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}
