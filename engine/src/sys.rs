//! The one system call that the compiler cannot vouch for.
#![allow(unsafe_code)]

use rustix::io::Result;
use rustix::thread::UnshareFlags;

/// Gives the calling thread mounts of its own; what it opens there outlives it. See unshare(2).
pub(crate) fn unshare_mounts() -> Result<()> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::FS;
    // SAFETY: no descriptor table and no memory is unshared: what other parts of the process rely on stays as it is. Other
    // threads keep their working directory, root and mounts.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
