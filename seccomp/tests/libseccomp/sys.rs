//! The few calls of libseccomp the comparison needs (seccomp.h). Linked from its archive, because our binaries are
//! static: the libseccomp crate can only ask for the shared object or for an archive in a configured place.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArgCompare {
    pub(crate) arg: c_uint,
    pub(crate) op: c_int,
    pub(crate) datum_a: u64,
    pub(crate) datum_b: u64,
}

#[link(name = "seccomp", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {
    fn seccomp_init(default_action: u32) -> *mut c_void;
    fn seccomp_release(filter: *mut c_void);
    fn seccomp_arch_add(filter: *mut c_void, arch: u32) -> c_int;
    fn seccomp_attr_set(filter: *mut c_void, attribute: c_int, value: u32) -> c_int;
    fn seccomp_rule_add_array(
        f: *mut c_void,
        action: u32,
        nr: c_int,
        count: c_uint,
        args: *const ArgCompare,
    ) -> c_int;
    fn seccomp_export_bpf(filter: *mut c_void, fd: c_int) -> c_int;
    fn seccomp_load(filter: *mut c_void) -> c_int;
    fn seccomp_syscall_resolve_name_arch(arch: u32, name: *const c_char) -> c_int;
    fn seccomp_syscall_resolve_num_arch(arch: u32, number: c_int) -> *mut c_char;
}

/// `SCMP_ARCH_NATIVE`.
pub(crate) const NATIVE: u32 = 0;
/// `SCMP_FLTATR_CTL_NNP`, `SCMP_FLTATR_CTL_OPTIMIZE`.
pub(crate) const NO_NEW_PRIVS: c_int = 3;
pub(crate) const OPTIMIZE: c_int = 8;

pub(crate) struct Filter(NonNull<c_void>);

impl Filter {
    pub(crate) fn new(default_action: u32) -> Self {
        // SAFETY: no pointers go in.
        let filter = unsafe { seccomp_init(default_action) };
        Self(NonNull::new(filter).expect("a filter"))
    }

    pub(crate) fn add_arch(&self, arch: u32) -> c_int {
        // SAFETY: the filter lives as long as self.
        unsafe { seccomp_arch_add(self.0.as_ptr(), arch) }
    }

    pub(crate) fn set(&self, attribute: c_int, value: u32) -> c_int {
        // SAFETY: the filter lives as long as self.
        unsafe { seccomp_attr_set(self.0.as_ptr(), attribute, value) }
    }

    pub(crate) fn add_rule(&self, action: u32, number: c_int, args: &[ArgCompare]) -> c_int {
        let count = c_uint::try_from(args.len()).expect("at most six");
        // SAFETY: `args` has `count` elements that outlive the call.
        unsafe { seccomp_rule_add_array(self.0.as_ptr(), action, number, count, args.as_ptr()) }
    }

    pub(crate) fn export(&self, to: BorrowedFd<'_>) -> c_int {
        // SAFETY: the filter lives as long as self, the descriptor as long as the call.
        unsafe { seccomp_export_bpf(self.0.as_ptr(), to.as_raw_fd()) }
    }

    #[allow(dead_code, reason = "for the bench")]
    pub(crate) fn load(&self) -> c_int {
        // SAFETY: the filter lives as long as self.
        unsafe { seccomp_load(self.0.as_ptr()) }
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // SAFETY: nobody else has the pointer.
        unsafe { seccomp_release(self.0.as_ptr()) }
    }
}

/// The number, negative for a call other ABIs have, `None` for one nobody has.
pub(crate) fn number(name: &str, arch: u32) -> Option<c_int> {
    const ERROR: c_int = -1;
    let name = CString::new(name).expect("a name");
    // SAFETY: the string is terminated and outlives the call.
    let number = unsafe { seccomp_syscall_resolve_name_arch(arch, name.as_ptr()) };
    (number != ERROR).then_some(number)
}

/// The name of a number.
#[allow(dead_code, reason = "for the comparison of tables")]
pub(crate) fn name(number: c_int, arch: u32) -> Option<String> {
    // SAFETY: no pointers go in; what comes out is null or a string from malloc that is ours.
    let name = NonNull::new(unsafe { seccomp_syscall_resolve_num_arch(arch, number) })?;
    // SAFETY: see above; it is copied before it is freed.
    let copy = unsafe { CStr::from_ptr(name.as_ptr()) }.to_str().map(str::to_owned);
    // SAFETY: see above; nobody else has it.
    unsafe { libc::free(name.as_ptr().cast()) };
    copy.ok()
}

/// Runs `act` in a child with `no_new_privs` set, and waits for it.
#[allow(dead_code, reason = "for the bench")]
pub(crate) fn in_child(act: impl FnOnce()) {
    // SAFETY: the bench has one thread, so the child may do what it likes; it leaves by _exit.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: no memory is passed.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            act();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: `status` outlives the call.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        }
    }
}
