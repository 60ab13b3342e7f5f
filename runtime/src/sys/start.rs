//! How the program begins: with C's `main` instead of the standard library's start-up.
//!
//! That start-up installs a handler that reports stack overflows, and reads /proc/self/maps to know where; fifteen
//! system calls that each command would pay twice when it seals its executable. Arguments and environment reach
//! `std::env` without it: the C library hands them to an initialiser of the standard library (`std::env::args`). Of the
//! rest, kept are the two acts that protect.
#![cfg_attr(test, allow(dead_code))]

use std::io::Write as _;

/// What the C library calls.
#[cfg(not(test))]
// SAFETY: this is the program's one `main`, of the type that C gives it.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: libc::c_int, _argv: *const *const libc::c_char) -> libc::c_int {
    begin(crate::main)
}

fn begin(program: fn() -> u8) -> libc::c_int {
    if !fill_standard_descriptors() {
        return 1;
    }
    // A reader that has gone away is an error of the write, not our end.
    // SAFETY: to ignore a signal needs no code of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let status = program();
    // What has no newline at its end waits in the buffer. Nothing is left to report a failure to.
    let _ = std::io::stdout().flush();
    status.into()
}

/// Opens /dev/null for each of stdin, stdout and stderr that is closed: or the next file opened would take its
/// number, and a message would be written into it. False when that is not possible.
fn fill_standard_descriptors() -> bool {
    let mut fds = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: an array of as many elements as said, alive until the call returns.
    let polled = unsafe { libc::poll(fds.as_mut_ptr(), 3, 0) };
    let closed = fds.iter().filter(|fd| polled == -1 || fd.revents & libc::POLLNVAL != 0).map(|fd| fd.fd);
    closed.into_iter().all(fill_descriptor)
}

/// The lowest free number is the one that is missing, as all below are open.
fn fill_descriptor(fd: libc::c_int) -> bool {
    // SAFETY: no pointers but a C string.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 || libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) == fd }
}
