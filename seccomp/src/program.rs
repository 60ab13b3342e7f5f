//! The compiled filter: instructions and the flags of seccomp(2) they are installed with.

use std::os::fd::OwnedFd;

use crate::error::Error;

/// One classic BPF instruction, the kernel's `struct sock_filter` (linux/filter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct SockFilter {
    /// Class, size, mode and operation.
    pub code: u16,
    /// How far a true comparison jumps.
    pub jt: u8,
    /// How far a false comparison jumps.
    pub jf: u8,
    /// The constant operand.
    pub k: u32,
}

/// A filter ready to be installed. Equal profiles give equal programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(crate) instructions: Vec<SockFilter>,
    pub(crate) flags: u32,
    pub(crate) unknown: Vec<String>,
}

impl Program {
    /// The instructions, at most 4096 (`BPF_MAXINSNS`).
    pub fn instructions(&self) -> &[SockFilter] {
        &self.instructions
    }

    /// The flags seccomp(2) is called with, `SECCOMP_FILTER_FLAG_*` of linux/seccomp.h.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Names in the profile that are no system call of any ABI, as often as they stand there. They had no effect.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Whether [`Program::install`] gives a notification fd that must reach the agent at `listenerPath`.
    pub fn wants_listener(&self) -> bool {
        self.flags & crate::sys::FLAG_NEW_LISTENER != 0
    }

    /// Installs the filter on the calling thread, by one syscall and without allocating; for good.
    ///
    /// Never sets `no_new_privs`: the caller has it set, or has `CAP_SYS_ADMIN` in its user namespace (seccomp(2)).
    pub fn install(&self) -> Result<Option<OwnedFd>, Error> {
        crate::sys::set_mode_filter(self.flags, &self.instructions).map_err(Error::Install)
    }
}
