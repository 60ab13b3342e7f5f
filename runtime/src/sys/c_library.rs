//! Where the C library's archive would lead to what this program never runs: translated messages, streams, iconv,
//! locales and dlopen(3).
//!
//! The linker takes every member of the archive that defines a name still missing, and the start-up code alone misses
//! `__assert_fail`: its message is translated, translations are converted, conversions are loaded, and a sixth of the
//! program would be code for that. The functions here take those few names first. They are weak: a C library that is
//! arranged in another way has its own.
#![allow(dead_code, reason = "a dynamic C library, or a test, has none of it")]

use std::ffi::{CStr, c_char, c_int};
use std::io::Write as _;

unsafe extern "C" {
    /// strerror(3), GNU: the untranslated text of an errno, or NULL.
    fn strerrordesc_np(errno: c_int) -> *const c_char;
}

#[cfg(all(not(test), target_feature = "crt-static", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod names {
    use std::arch::global_asm;
    use std::ffi::{c_char, c_int, c_long};

    #[cfg(target_arch = "x86_64")]
    macro_rules! jump {
        () => {
            "jmp {}"
        };
    }
    #[cfg(target_arch = "aarch64")]
    macro_rules! jump {
        () => {
            "b {}"
        };
    }

    /// Defines a weak function that goes on to one of this file.
    macro_rules! weak {
        ($name:literal, $function:path) => {
            global_asm!(
                concat!(".weak ", $name),
                concat!(".type ", $name, ", %function"),
                concat!($name, ":"),
                jump!(),
                sym $function,
            );
        };
    }

    weak!("__assert_fail", super::assert_fail);
    weak!("__strerror_r", super::errno_text);
    weak!("fork", super::fork);
    weak!("fprintf", super::print_nothing);

    // What malloc_stats(3) would print to, and the functions that the tables of ctype(3) name for wide characters.
    global_asm!(
        ".pushsection .bss, \"aw\", %nobits",
        ".balign 8",
        ".weak stderr, __wcsmbs_gconv_fcts_c",
        "stderr: .zero 8",
        "__wcsmbs_gconv_fcts_c: .zero 32",
        ".popsection",
    );

    /// The start-up code reads those tables, but does not ask the linker for them. This does.
    #[used]
    static NEEDS_CTYPE: unsafe extern "C" fn(*const c_char, *mut *mut c_char, c_int) -> c_long = libc::strtol;
}

/// assert(3): the C library has found itself damaged.
extern "C" fn assert_fail(
    assertion: *const c_char,
    _file: *const c_char,
    _line: u32,
    _function: *const c_char,
) -> ! {
    // SAFETY: the caller passes a string literal.
    let assertion = unsafe { CStr::from_ptr(assertion) };
    let _ = writeln!(std::io::stderr(), "assertion failed in the C library: {}", assertion.to_string_lossy());
    std::process::abort()
}

/// `strerror_r(3)`, GNU: the text may be in `buffer` or not. The standard library asks for it.
extern "C" fn errno_text(errno: c_int, buffer: *mut c_char, length: usize) -> *const c_char {
    // SAFETY: takes any number.
    let text = unsafe { strerrordesc_np(errno) };
    if !text.is_null() {
        return text;
    }
    // SAFETY: the caller's buffer has `length` bytes.
    let mut room = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    // A longer text than fits is cut off, but ends.
    let fits = write!(room, "Unknown error {errno}\0").is_ok();
    if let (false, Some(last)) = (fits, length.checked_sub(1)) {
        // SAFETY: the buffer's last byte.
        unsafe { *buffer.add(last) = 0 };
    }
    buffer
}

/// fork(2) for `std::process`, which goes on to exec. There is nothing to prepare: no other thread, no stream.
extern "C" fn fork() -> libc::pid_t {
    // SAFETY: as fork(2): the child continues on a copy of this memory.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    libc::pid_t::try_from(pid).unwrap_or(-1)
}

extern "C" fn print_nothing() -> c_int {
    -1
}

/// What regex(3) says about an extended expression and a text; None when it is no expression.
#[cfg(test)]
pub(crate) fn regex_matches(pattern: &str, text: &str) -> Option<bool> {
    let [pattern, text] = [pattern, text].map(|text| std::ffi::CString::new(text).expect("no NUL"));
    let mut regex = std::mem::MaybeUninit::uninit();
    // SAFETY: strings end with a NUL, and the expression is used and freed only if it was compiled.
    unsafe {
        if libc::regcomp(regex.as_mut_ptr(), pattern.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) != 0 {
            return None;
        }
        let found = libc::regexec(regex.as_ptr(), text.as_ptr(), 0, std::ptr::null_mut(), 0);
        libc::regfree(regex.as_mut_ptr());
        Some(found == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(errno: c_int, length: usize) -> String {
        let mut buffer = vec![c_char::MAX; length];
        let text = errno_text(errno, buffer.as_mut_ptr(), length);
        // SAFETY: a string that the function has ended.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    #[test]
    fn errnos_have_the_c_library_s_texts() {
        for errno in [libc::ENOENT, libc::EPERM, libc::EHWPOISON, 0, 9999, -1] {
            let theirs = std::io::Error::from_raw_os_error(errno).to_string();
            assert_eq!(format!("{} (os error {errno})", text(errno, 128)), theirs);
        }
        assert_eq!(text(9999, 8), "Unknown");
    }

    #[test]
    fn a_forked_child_goes_its_own_way() {
        let pid = fork();
        if pid == 0 {
            super::super::exit_now(7);
        }
        let mut status = 0;
        // SAFETY: a place for the status of our own child.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(libc::WEXITSTATUS(status), 7);
    }
}
