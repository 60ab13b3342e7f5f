//! Descriptors as numbers: the ones that came from the caller or must not reach the program.

use std::os::fd::RawFd;

use super::{Errno, Result, check};

/// What to do with a range of descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeAct {
    Close,
    CloseOnExec,
}

/// Closes all descriptors from `first` to `last`, now or at execve. No owner of one of them may use it afterwards.
pub(crate) fn close_range(first: u32, last: u32, act: RangeAct) -> Result<()> {
    let flags = match act {
        RangeAct::Close => 0,
        RangeAct::CloseOnExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: no pointers; what a closed number may break is the caller's to know.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    check(ret, || format!("close_range({first}, {last}, {flags:#x})"))?;
    Ok(())
}

/// Closes one number; one that is not open is closed already.
pub(crate) fn close_number(number: u32) -> Result<()> {
    let Ok(fd) = RawFd::try_from(number) else { return Ok(()) };
    // SAFETY: no pointers; what a closed number may break is the caller's to know.
    let ret = unsafe { libc::close(fd) };
    match check(ret.into(), || format!("close({fd})")) {
        // After EINTR it is closed too: close(2).
        Err(error) if matches!(error.errno, Errno::BADF | Errno::INTR) => Ok(()),
        result => result.map(drop),
    }
}

/// Whether a number is an open descriptor, and if so whether it is closed at execve.
pub(crate) fn is_close_on_exec(fd: RawFd) -> Option<bool> {
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    (flags != -1).then_some(flags & libc::FD_CLOEXEC != 0)
}

/// Marks a number to be closed at execve.
pub(crate) fn set_close_on_exec(fd: RawFd) -> Result<()> {
    // SAFETY: no pointers.
    let ret = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    check(ret.into(), || format!("fcntl({fd}, F_SETFD, FD_CLOEXEC)"))?;
    Ok(())
}
