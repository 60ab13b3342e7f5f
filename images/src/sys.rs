//! The one system call that rustix calls unsafe.
#![allow(unsafe_code)]

use rustix::io;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives the calling thread a umask and a working directory of its own (unshare(2), `CLONE_FS`). Needs no privilege.
pub(crate) fn unshare_fs() -> io::Result<()> {
    // SAFETY: only the umask, root and working directory of this thread part from the others'; descriptors and memory stay.
    unsafe { unshare_unsafe(UnshareFlags::FS) }
}
