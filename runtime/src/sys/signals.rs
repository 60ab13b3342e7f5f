//! Signals: blocked, read from a descriptor, sent to a pidfd (signal(7), signalfd(2)).

use std::fmt;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::{Errno, Error, Result, check, check_fd};

/// A set of signals.
#[derive(Clone, Copy)]
pub(crate) struct SignalMask(libc::sigset_t);

impl fmt::Debug for SignalMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignalMask")
    }
}

/// Blocks every signal that can be blocked; returns what was blocked before.
pub(crate) fn block_signals() -> Result<SignalMask> {
    let all = every_signal();
    let mut old = std::mem::MaybeUninit::uninit();
    // SAFETY: one initialised set to read, one to write.
    let errno = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all.0, old.as_mut_ptr()) };
    if errno != 0 {
        return Err(Error {
            call: "sigprocmask(SIG_SETMASK)".into(),
            errno: Errno::from_raw_os_error(errno),
        });
    }
    // SAFETY: written by the call, which succeeded.
    Ok(SignalMask(unsafe { old.assume_init() }))
}

/// Makes exactly the signals of `mask` blocked.
pub(crate) fn set_signal_mask(mask: &SignalMask) -> Result<()> {
    // SAFETY: an initialised set to read; nothing to write.
    let errno = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask.0, std::ptr::null_mut()) };
    if errno != 0 {
        return Err(Error {
            call: "sigprocmask(SIG_SETMASK)".into(),
            errno: Errno::from_raw_os_error(errno),
        });
    }
    Ok(())
}

/// A descriptor that yields the caller's pending blocked signals, without waiting for one.
pub(crate) fn signalfd() -> Result<OwnedFd> {
    let all = every_signal();
    // SAFETY: an initialised set to read.
    let fd = unsafe { libc::signalfd(-1, &raw const all.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    check_fd(fd.into(), || "signalfd(-1)".into())
}

fn every_signal() -> SignalMask {
    let mut all = std::mem::MaybeUninit::uninit();
    // SAFETY: the call initialises the set and cannot fail.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        SignalMask(all.assume_init())
    }
}

/// Gives a signal its default effect again.
pub(crate) fn reset_signal(signal: libc::c_int) -> Result<()> {
    // SAFETY: no handler is installed.
    let old = unsafe { libc::signal(signal, libc::SIG_DFL) };
    if old == libc::SIG_ERR {
        check(-1, || format!("signal({signal}, SIG_DFL)"))?;
    }
    Ok(())
}

/// Sends a signal to the process behind a pidfd.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> Result<()> {
    // SAFETY: no siginfo, so no pointers.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(ret, || format!("pidfd_send_signal({signal})"))?;
    Ok(())
}
