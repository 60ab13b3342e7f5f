//! The floor: every system call the runtime makes, one function each, without policy.
//!
//! Descriptors come out owned and go in borrowed, all are close-on-exec, EINTR is retried where the call can be
//! repeated, and a failure quotes the call with its arguments. The only `unsafe` of this crate is here.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub(crate) use rustix::io::Errno;

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
