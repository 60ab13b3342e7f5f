//! `process` of config.json (config.md, "Process"), and the whole of the file that `exec --process` names.

use serde::{Deserialize, Serialize};

use super::is_zero;

/// The program, and everything that is set before it is executed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Process {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) terminal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) console_size: Option<ConsoleSize>,
    pub(crate) user: User,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) args: Vec<String>,
    /// `NAME=value`, in the order of the file.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    /// Absent: all capability sets stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<Capabilities>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rlimits: Vec<Rlimit>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) no_new_privileges: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) apparmor_profile: String,
    /// -1000 to 1000. Absent: inherited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oom_score_adj: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scheduler: Option<Scheduler>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) selinux_label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) io_priority: Option<IoPriority>,
    /// For `exec` alone.
    #[serde(rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
    pub(crate) exec_cpu_affinity: Option<CpuAffinity>,
}

/// `process.consoleSize`, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ConsoleSize {
    pub(crate) height: u64,
    pub(crate) width: u64,
}

/// `process.user`; ids are the container's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) umask: Option<u32>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) additional_gids: Vec<u32>,
}

/// `process.capabilities`: the five sets of capabilities(7), by `CAP_` name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Capabilities {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) bounding: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) effective: Vec<String>,
    /// Absent differs from empty for `exec --cap`, which raises an ambient capability only if this is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inheritable: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) permitted: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) ambient: Vec<String>,
}

/// One element of `process.rlimits` (getrlimit(2)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Rlimit {
    /// `RLIMIT_NOFILE` and so on.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) hard: u64,
    pub(crate) soft: u64,
}

/// `process.scheduler` (`sched_setattr(2)`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Scheduler {
    /// `SCHED_OTHER` and so on.
    pub(crate) policy: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) nice: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) priority: i32,
    /// `SCHED_FLAG_RESET_ON_FORK` and so on.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) flags: Vec<String>,
    /// Nanoseconds, as the next two.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) runtime: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) deadline: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) period: u64,
}

/// `process.ioPriority` (`ioprio_set(2)`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct IoPriority {
    /// `IOPRIO_CLASS_RT`, `IOPRIO_CLASS_BE` or `IOPRIO_CLASS_IDLE`.
    pub(crate) class: String,
    /// 0 (first) to 7.
    pub(crate) priority: i64,
}

/// `process.execCPUAffinity`: lists as `0-3,7`; empty means not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct CpuAffinity {
    /// While the runtime moves into the container's cgroup.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) initial: String,
    /// From then on.
    #[serde(rename = "final", skip_serializing_if = "is_zero")]
    pub(crate) last: String,
}
