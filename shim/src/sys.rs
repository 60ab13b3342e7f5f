//! The system calls that rustix lacks: signals, and what a child does before its program. No policy here.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Blocks `signals` and gives a descriptor that is readable when one of them has come: signalfd(2), not blocking.
pub(crate) fn signal_descriptor(signals: &[libc::c_int]) -> io::Result<OwnedFd> {
    let mut set = empty_set();
    // SAFETY: an initialised set, and numbers that sigaddset(3) checks.
    signals.iter().for_each(|&signal| unsafe {
        libc::sigaddset(&raw mut set, signal);
    });
    // SAFETY: an initialised set to read; nothing to write.
    let errno = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if errno != 0 {
        return Err(io::Error::from_raw_os_error(errno));
    }
    // SAFETY: an initialised set; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets the command begin with no signal blocked.
pub(crate) fn unblock_signals_in(command: &mut Command) -> &mut Command {
    let unblock = || {
        let set = empty_set();
        // SAFETY: an initialised set to read; nothing to write.
        match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) } {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    };
    // SAFETY: between fork and execve it calls nothing but pthread_sigmask, which is safe there, and takes no memory.
    unsafe { command.pre_exec(unblock) }
}

/// Gives back the pages of the program itself: starting takes most of it, and waiting next to nothing. What is needed
/// again is read again.
pub(crate) fn forget_program_text() -> io::Result<()> {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let page = rustix::param::page_size();
    let start = (&raw const __executable_start).cast_mut();
    let length = (&raw const etext).addr() - start.addr();
    // SAFETY: from its start to the end of its code a program is mapped read-only from its file, page by page: what is
    // thrown away comes back the same.
    match unsafe { libc::madvise(start.cast(), length / page * page, libc::MADV_DONTNEED) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) initialises the set it is given.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}
