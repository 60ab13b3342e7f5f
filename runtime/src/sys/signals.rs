//! Signals: blocked, and read from a descriptor (signal(7), signalfd(2)).

use std::fmt;
use std::os::fd::OwnedFd;

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

/// Runs `act` with no signal blocked, as a child that it starts should begin.
pub(crate) fn with_unblocked_signals<T>(act: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    let as_io = |error: Error| std::io::Error::from(error.errno);
    let blocked = block_signals().map_err(as_io)?;
    set_signal_mask(&no_signal()).map_err(as_io)?;
    let result = act();
    set_signal_mask(&blocked).map_err(as_io)?;
    result
}

/// The C library's name of a signal, in lower case as Go prints it.
pub(crate) fn signal_text(signal: libc::c_int) -> String {
    unsafe extern "C" {
        /// strsignal(3), GNU: the untranslated text of a signal, or NULL.
        fn sigdescr_np(signal: libc::c_int) -> *const libc::c_char;
    }
    // SAFETY: takes any number.
    let text = unsafe { sigdescr_np(signal) };
    if text.is_null() {
        return format!("signal {signal}");
    }
    // SAFETY: not NULL, so a string that is never changed.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().to_lowercase()
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

fn no_signal() -> SignalMask {
    let mut none = std::mem::MaybeUninit::uninit();
    // SAFETY: the call initialises the set and cannot fail.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        SignalMask(none.assume_init())
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
