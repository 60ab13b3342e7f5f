//! What a filter can answer: `SCMP_ACT_*` in a profile, `SECCOMP_RET_*` (linux/seccomp.h) in a program.

use std::fmt;

const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const USER_NOTIF: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

/// The answer to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Kill the calling thread with `SIGSYS`. Both `SCMP_ACT_KILL` and `SCMP_ACT_KILL_THREAD`.
    KillThread,
    /// Kill the whole process with `SIGSYS`.
    KillProcess,
    /// Send `SIGSYS` to the thread.
    Trap,
    /// Fail with this errno; the kernel takes values above 4095 as 4095.
    Errno(u16),
    /// Stop for a tracer, which reads this number by `PTRACE_GETEVENTMSG`.
    Trace(u16),
    /// Do it and write it to the audit log.
    Log,
    /// Do it.
    Allow,
    /// Ask the agent at the listener.
    Notify,
}

/// `EPERM`: what `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE` carry when the profile gives nothing.
const DEFAULT_DATA: u32 = 1;

/// Why a profile's action is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadAction {
    Unknown,
    /// The data does not fit the 16 bits the kernel has for it.
    Data(u32),
}

impl Action {
    /// `data` is `errnoRet`. runc ignores it on actions that take none, and so do we, though the spec would refuse.
    pub(crate) fn parse(name: &str, data: Option<u32>) -> Result<Self, BadAction> {
        let data = || {
            let data = data.unwrap_or(DEFAULT_DATA);
            u16::try_from(data).map_err(|_| BadAction::Data(data))
        };
        Ok(match name {
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Self::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Self::KillProcess,
            "SCMP_ACT_TRAP" => Self::Trap,
            "SCMP_ACT_ERRNO" => Self::Errno(data()?),
            "SCMP_ACT_TRACE" => Self::Trace(data()?),
            "SCMP_ACT_LOG" => Self::Log,
            "SCMP_ACT_ALLOW" => Self::Allow,
            "SCMP_ACT_NOTIFY" => Self::Notify,
            _ => return Err(BadAction::Unknown),
        })
    }

    /// The value the filter returns.
    pub fn to_ret(self) -> u32 {
        match self {
            Self::KillThread => KILL_THREAD,
            Self::KillProcess => KILL_PROCESS,
            Self::Trap => TRAP,
            Self::Errno(errno) => ERRNO | u32::from(errno),
            Self::Trace(message) => TRACE | u32::from(message),
            Self::Log => LOG,
            Self::Allow => ALLOW,
            Self::Notify => USER_NOTIF,
        }
    }

    /// The action of a value a filter returned, if the kernel knows it.
    pub fn from_ret(ret: u32) -> Option<Self> {
        let [low, high, ..] = ret.to_le_bytes();
        let data = u16::from_le_bytes([low, high]);
        Some(match ret & 0xffff_0000 {
            KILL_PROCESS => Self::KillProcess,
            KILL_THREAD => Self::KillThread,
            TRAP => Self::Trap,
            ERRNO => Self::Errno(data),
            USER_NOTIF => Self::Notify,
            TRACE => Self::Trace(data),
            LOG => Self::Log,
            ALLOW => Self::Allow,
            _ => return None,
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillThread => f.write_str("SCMP_ACT_KILL_THREAD"),
            Self::KillProcess => f.write_str("SCMP_ACT_KILL_PROCESS"),
            Self::Trap => f.write_str("SCMP_ACT_TRAP"),
            Self::Errno(errno) => write!(f, "SCMP_ACT_ERRNO({errno})"),
            Self::Trace(message) => write!(f, "SCMP_ACT_TRACE({message})"),
            Self::Log => f.write_str("SCMP_ACT_LOG"),
            Self::Allow => f.write_str("SCMP_ACT_ALLOW"),
            Self::Notify => f.write_str("SCMP_ACT_NOTIFY"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_survives_the_kernels_encoding() {
        for name in crate::features::actions() {
            let action = Action::parse(name, Some(38)).expect(name);
            assert_eq!(Action::from_ret(action.to_ret()), Some(action));
        }
        assert_eq!(Action::from_ret(0x7ffe_0000), None);
    }

    #[test]
    fn data_is_eperm_unless_given_and_must_fit() {
        assert_eq!(Action::parse("SCMP_ACT_ERRNO", None), Ok(Action::Errno(1)));
        assert_eq!(Action::parse("SCMP_ACT_TRACE", Some(7)), Ok(Action::Trace(7)));
        assert_eq!(Action::parse("SCMP_ACT_ERRNO", Some(65536)), Err(BadAction::Data(65536)));
        assert_eq!(Action::parse("SCMP_ACT_ALLOW", Some(65536)), Ok(Action::Allow));
        assert_eq!(Action::parse("SCMP_ACT_PANIC", None), Err(BadAction::Unknown));
    }
}
