//! What the compiler cannot vouch for.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use rustix::io::Result;
use rustix::thread::UnshareFlags;

/// Gives the calling thread mounts of its own; what it opens there outlives it. See unshare(2).
pub(crate) fn unshare_mounts() -> Result<()> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::FS;
    // SAFETY: no descriptor table and no memory is unshared: what other parts of the process rely on stays as it is. Other
    // threads keep their working directory, root and mounts.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// A descriptor that the service manager passed, see sd_listen_fds(3). Asked for once each.
pub(crate) fn passed_descriptor(number: RawFd) -> OwnedFd {
    // SAFETY: by the protocol the descriptor is open and is this process's to own; nothing else here knows its number.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // It is not for programs that are started.
    let _ = rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC);
    descriptor
}
