//! What the compiler cannot vouch for.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use rustix::io::Result;
use rustix::thread::UnshareFlags;

/// Gives the calling thread mounts of its own; what it opens there outlives it. See unshare(2).
pub(crate) fn unshare_mounts() -> Result<()> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::FS;
    // SAFETY: no descriptor table and no memory is unshared: what other parts of the process rely on stays as it is. Other
    // threads keep their working directory, root and mounts.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Makes a mount that is not attached yet read-only, with those below it. See mount_setattr(2), Linux 5.12.
pub(crate) fn make_read_only(mount: &OwnedFd) -> io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the descriptor is open, the path is empty and ends, and the kernel reads as many bytes as the size says.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes a variable out of the environment: programs that are started do not get it. To be called before there are threads.
pub(crate) fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name);
    // SAFETY: this is the only thread, so nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(name) };
    value
}

/// A descriptor that the service manager passed, see sd_listen_fds(3). Asked for once each.
pub(crate) fn passed_descriptor(number: RawFd) -> OwnedFd {
    // SAFETY: by the protocol the descriptor is open and is this process's to own; nothing else here knows its number.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // It is not for programs that are started.
    let _ = rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC);
    descriptor
}
