//! What can be wrong with a profile, and what the kernel or an agent can refuse.
//!
//! The texts that engines and runc's own tests look for are runc's (config.go, `seccomp_linux.go`); the field comes first.

use std::io;

/// Why a profile cannot be compiled, installed or announced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Error {
    #[error("linux.seccomp.{field}: string {name} is not a valid action for seccomp")]
    Action { field: String, name: String },
    #[error("linux.seccomp.{field}: errnoRet {value} does not fit in 16 bits")]
    ErrnoRet { field: String, value: u32 },
    #[error("linux.seccomp.architectures[{index}]: string {name} is not a valid arch for seccomp")]
    Arch { index: usize, name: String },
    #[error(
        "linux.seccomp.architectures[{index}]: error adding architecture to seccomp filter: {name} has another byte order than this host"
    )]
    ByteOrder { index: usize, name: String },
    #[error("linux.seccomp.flags: seccomp flag {0} is not known to knarr")]
    Flag(String),
    #[error("linux.seccomp.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY")]
    FlagNeedsNotify,
    #[error(
        "linux.seccomp.syscalls[{rule}].args[{index}].op: string {name} is not a valid operator for seccomp"
    )]
    Operator { rule: usize, index: usize, name: String },
    #[error(
        "linux.seccomp.syscalls[{rule}].args[{index}].index: syscalls only have up to 6 arguments ({value} given)"
    )]
    ArgIndex { rule: usize, index: usize, value: u32 },
    #[error("linux.seccomp.syscalls[{rule}].names: empty string is not a valid syscall")]
    EmptyName { rule: usize },
    #[error("linux.seccomp.syscalls: SCMP_ACT_NOTIFY cannot be used for the write syscall")]
    NotifyWrite,
    #[error("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action")]
    NotifyDefault,
    #[error("linux.seccomp.listenerPath: seccomp listenerPath is not set")]
    NoListenerPath,
    #[error("linux.seccomp: the filter needs {0} instructions, the kernel takes 4096")]
    TooLarge(usize),
    #[error("linux.seccomp.syscalls: {rules} rules with args for {call} are too many for one filter")]
    TooManyRules { call: String, rules: usize },

    #[error("error adding {flag} flag to seccomp filter: {setter} requires Linux {since} or newer")]
    FlagUnsupported { flag: &'static str, setter: &'static str, since: &'static str },
    #[error("seccomp notify unsupported: Linux 5.7 or newer is needed")]
    NotifyUnsupported,
    #[error("error loading seccomp filter into kernel: error loading seccomp filter")]
    Install(#[source] io::Error),

    #[error("failed to connect with seccomp agent specified in the seccomp profile: dial unix {path}")]
    AgentConnect { path: String, source: io::Error },
    #[error("cannot send seccomp fd to {path}")]
    AgentSend { path: String, source: io::Error },
}
