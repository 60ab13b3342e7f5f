//! `hooks` of config.json (config.md, "POSIX-platform Hooks").

use serde::{Deserialize, Serialize};

use super::is_zero;

/// The programs to run at six points of a container's life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Hooks {
    /// Deprecated by the spec, still what most tools use: run with `createRuntime`, before it.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) prestart: Vec<Hook>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) create_runtime: Vec<Hook>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) create_container: Vec<Hook>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) start_container: Vec<Hook>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) poststart: Vec<Hook>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) poststop: Vec<Hook>,
}

/// One program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Hook {
    pub(crate) path: String,
    /// `args[0]` included; empty means `[path]`.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) args: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) env: Vec<String>,
    /// Seconds. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<i64>,
}
