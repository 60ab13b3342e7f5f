//! Signals as a process that waits wants them: blocked, and read from a descriptor (signal(7), signalfd(2)).

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use super::{Errno, Error, Result, check_fd};

/// Blocks every signal that can be blocked.
pub(crate) fn block_signals() -> Result<()> {
    set_mask(&signal_set(libc::sigfillset))
}

/// Lets every signal through again.
pub(crate) fn unblock_signals() -> Result<()> {
    set_mask(&signal_set(libc::sigemptyset))
}

/// A descriptor that yields the caller's pending blocked signals, without waiting for one.
pub(crate) fn signalfd() -> Result<OwnedFd> {
    let all = signal_set(libc::sigfillset);
    // SAFETY: an initialised set to read.
    let fd = unsafe { libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    check_fd(fd.into(), || "signalfd(-1)".into())
}

fn set_mask(set: &libc::sigset_t) -> Result<()> {
    // SAFETY: an initialised set to read; nothing to write.
    let errno = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, std::ptr::null_mut()) };
    if errno != 0 {
        return Err(Error {
            call: "sigprocmask(SIG_SETMASK)".into(),
            errno: Errno::from_raw_os_error(errno),
        });
    }
    Ok(())
}

fn signal_set(fill: unsafe extern "C" fn(*mut libc::sigset_t) -> libc::c_int) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset and sigemptyset, the only callers' choices, initialise the whole set and cannot fail.
    unsafe {
        fill(set.as_mut_ptr());
        set.assume_init()
    }
}
