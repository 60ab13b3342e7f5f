//! More processes in a container: what is asked for and what is told of them.

use serde::{Deserialize, Serialize};

/// The body of `POST /containers/{id}/exec`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecCreate {
    pub(crate) user: String,
    pub(crate) privileged: bool,
    pub(crate) tty: bool,
    /// Rows and columns.
    pub(crate) console_size: Option<[u32; 2]>,
    pub(crate) attach_stdin: bool,
    pub(crate) attach_stdout: bool,
    pub(crate) attach_stderr: bool,
    pub(crate) detach_keys: String,
    pub(crate) env: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) cmd: Vec<String>,
}

/// The answer to `GET /exec/{id}/json`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExecInspect {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) running: bool,
    /// None until it has ended.
    pub(crate) exit_code: Option<i32>,
    pub(crate) process_config: ExecProcess,
    pub(crate) open_stdin: bool,
    pub(crate) open_stderr: bool,
    pub(crate) open_stdout: bool,
    pub(crate) can_remove: bool,
    #[serde(rename = "ContainerID")]
    pub(crate) container_id: String,
    pub(crate) detach_keys: String,
    pub(crate) pid: i32,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) struct ExecProcess {
    pub(crate) tty: bool,
    pub(crate) entrypoint: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) privileged: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
}

/// The body of `POST /exec/{id}/start`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecStart {
    pub(crate) detach: bool,
    pub(crate) tty: bool,
    /// Rows and columns.
    pub(crate) console_size: Option<[u32; 2]>,
}
