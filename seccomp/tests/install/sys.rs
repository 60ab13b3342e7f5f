//! What a child under a filter does, without anything that could make a call of its own: raw calls, a fork, exits.
#![allow(unsafe_code)]

use std::arch::asm;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exit(i32),
    Signal(i32),
}

/// A child that runs `act` and exits with what it returns.
pub(crate) fn spawn(act: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the child only runs `act`, which makes raw calls, and leaves by _exit.
    match unsafe { libc::fork() } {
        0 => {
            let code = act();
            // SAFETY: ends the child without running anything of the test harness.
            unsafe { libc::_exit(code) }
        }
        pid => {
            assert!(pid > 0, "fork");
            pid
        }
    }
}

pub(crate) fn wait(pid: libc::pid_t) -> End {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Exit(libc::WEXITSTATUS(status))
    }
}

/// The result of a call, or its errno as a negative number.
pub(crate) fn call(number: i64, args: [i64; 3]) -> i64 {
    let ret: i64;
    // SAFETY: the tests make calls that touch no memory, or pass null pointers.
    unsafe {
        asm!("syscall", inlateout("rax") number => ret, in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    ret
}

/// The same through the 32-bit entry, with i386's numbers.
pub(crate) fn call_i386(number: i32, first: i32) -> i32 {
    let ret: i32;
    // SAFETY: as above; rbx is the compiler's, so it is put back.
    unsafe {
        asm!("push rbx", "mov ebx, {first:e}", "int 0x80", "pop rbx", first = in(reg) first,
             inlateout("eax") number => ret, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    ret
}

pub(crate) fn set_no_new_privs() {
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
}

pub(crate) fn no_new_privs() -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) }
}

/// Gives up root, so that nothing but `no_new_privs` allows a filter.
pub(crate) fn become_nobody() {
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
}

/// `SIGSYS` ends the process with status 42 instead of killing it.
pub(crate) fn exit_on_sigsys() {
    extern "C" fn handler(_: libc::c_int) {
        // SAFETY: async-signal-safe.
        unsafe { libc::_exit(42) }
    }
    // SAFETY: the handler is a function of the right type.
    unsafe { libc::signal(libc::SIGSYS, handler as *const () as libc::sighandler_t) };
}

/// Runs a call in a thread of its own and waits for the thread to be gone.
pub(crate) fn call_in_thread(number: i64) {
    extern "C" fn run(number: *mut libc::c_void) -> *mut libc::c_void {
        call(number as i64, [0; 3]);
        ptr::null_mut()
    }
    let mut thread = 0;
    let argument = number as *mut libc::c_void;
    // SAFETY: the thread gets a number instead of a pointer; joining outlives it.
    unsafe {
        assert_eq!(libc::pthread_create(&raw mut thread, ptr::null(), run, argument), 0);
        assert_eq!(libc::pthread_join(thread, ptr::null_mut()), 0);
    }
}

/// Waits for one call under the filter of `listener`; makes it fail with `errno`. The number of the call.
pub(crate) fn refuse_one(listener: BorrowedFd<'_>, errno: i32) -> i32 {
    const RECEIVE: libc::c_ulong = 0xc050_2100; // SECCOMP_IOCTL_NOTIF_RECV
    const SEND: libc::c_ulong = 0xc018_2101; // SECCOMP_IOCTL_NOTIF_SEND
    // SAFETY: the kernel wants the structure zeroed.
    let mut request: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is the one this ioctl fills.
    assert_eq!(unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut request) }, 0);
    let mut response = libc::seccomp_notif_resp { id: request.id, val: 0, error: -errno, flags: 0 };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw mut response) }, 0);
    request.data.nr
}
