//! The compiled filter: instructions and the flags of seccomp(2) they are installed with.

use std::os::fd::OwnedFd;

use crate::error::Error;
use crate::sys;

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
        self.flags & sys::FLAG_NEW_LISTENER != 0
    }

    /// Asks this kernel whether it takes the flags, without installing anything.
    ///
    /// # Errors
    /// [`Error::NotifyUnsupported`] and [`Error::FlagUnsupported`].
    pub fn check_kernel(&self) -> Result<(), Error> {
        if self.wants_listener() && !sys::takes_flag(sys::FLAG_NEW_LISTENER) {
            return Err(Error::NotifyUnsupported);
        }
        let missing = |(bit, ..): &&(u32, _, _, _)| self.flags & bit != 0 && !sys::takes_flag(*bit);
        match FLAGS.iter().find(missing) {
            Some((_, flag, setter, since)) => Err(Error::FlagUnsupported { flag, setter, since }),
            None => Ok(()),
        }
    }

    /// Installs the filter on the calling thread, by one syscall and without allocating; for good.
    ///
    /// Never sets `no_new_privs`: the caller has it set, or has `CAP_SYS_ADMIN` in its user namespace (seccomp(2)).
    pub fn install(&self) -> Result<Option<OwnedFd>, Error> {
        sys::set_mode_filter(self.flags, &self.instructions).map_err(Error::Install)
    }
}

/// Flag, runc's name for it, libseccomp-golang's function, the first kernel with it.
const FLAGS: [(u32, &str, &str, &str); 3] = [
    (sys::FLAG_LOG, "log", "SetLogBit", "4.14"),
    (sys::FLAG_SPEC_ALLOW, "SSB", "SetSSB", "4.17"),
    (sys::FLAG_WAIT_KILLABLE_RECV, "WaitKill", "SetWaitKill", "5.19"),
];
