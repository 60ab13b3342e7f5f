//! `task.json`: what the engine asks of a monitor. Read once, checked whole before anything is started.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

/// File name of the task in the monitor's directory.
const FILE: &str = "task.json";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) struct Task {
    /// The runtime and its global options: what stands before the name of the command.
    pub(crate) runtime: Vec<String>,
    pub(crate) act: Act,
    /// The process has a terminal, and no separate standard error.
    #[serde(default)]
    pub(crate) terminal: bool,
    #[serde(default)]
    pub(crate) stdin: Stdin,
    #[serde(default)]
    pub(crate) log: Log,
}

/// Which command of the runtime makes the process.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Act {
    /// `create`: the container's first process. Whoever made the task starts it.
    Create { id: String, bundle: PathBuf },
    /// `exec`: one more process, described by the file `process`. It runs at once.
    Exec { id: String, process: PathBuf },
}

/// What the process reads.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stdin {
    /// Nothing: /dev/null.
    #[default]
    Closed,
    /// What the first client to attach standard input sends; closed when that client is through.
    Once,
    /// What any client sends, until one closes it by name.
    Open,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Log {
    /// What is written goes to who is attached.
    #[default]
    None,
    /// Docker's json-file.
    JsonFile(Files),
    /// Docker's local.
    Local(Files),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) struct Files {
    /// The file written now; older ones have `.1`, `.2`, ... added.
    pub(crate) path: PathBuf,
    /// Bytes after which a new file is begun; none: never.
    #[serde(default)]
    pub(crate) max_size: Option<u64>,
    /// Files kept, the one written now included; at least 1.
    #[serde(default = "one")]
    pub(crate) keep: u32,
    /// Files that are full are compressed with gzip.
    #[serde(default)]
    pub(crate) compress: bool,
    /// Put into each entry of a json-file as `attrs`.
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

/// Reads and checks the task of a monitor's directory.
pub(crate) fn read(directory: &Path) -> Result<Task> {
    let path = directory.join(FILE);
    let text = fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let task: Task =
        serde_json::from_slice(&text).map_err(|source| Error::Task { path: path.clone(), source })?;
    match fault(&task) {
        Some((field, rule)) => Err(Error::Field { path, field, rule }),
        None => Ok(task),
    }
}

fn fault(task: &Task) -> Option<(&'static str, &'static str)> {
    let id = match &task.act {
        Act::Create { id, .. } | Act::Exec { id, .. } => id,
    };
    let files = match &task.log {
        Log::JsonFile(files) | Log::Local(files) => Some(files),
        Log::None => None,
    };
    if task.runtime.is_empty() {
        return Some(("runtime", "is empty"));
    }
    if id.is_empty() || id.starts_with('-') {
        return Some(("act.id", "is no container id"));
    }
    match files {
        Some(files) if files.keep == 0 => Some(("log.keep", "must be at least 1")),
        Some(files) if files.max_size == Some(0) => Some(("log.max_size", "must be at least 1 byte")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<Task, String> {
        let task: Task = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match fault(&task) {
            Some((field, rule)) => Err(format!("{field} {rule}")),
            None => Ok(task),
        }
    }

    #[test]
    fn what_is_not_said_has_the_smallest_meaning() {
        let task = parse(r#"{"runtime":["knarr"],"act":{"create":{"id":"a","bundle":"/b"}}}"#).unwrap();
        assert!(!task.terminal);
        assert_eq!(task.stdin, Stdin::Closed);
        assert!(matches!(task.log, Log::None));
    }

    #[test]
    fn a_fault_is_named() {
        let act = r#""act":{"create":{"id":"a","bundle":"/b"}}"#;
        for (text, want) in [
            (format!(r#"{{"runtime":[],{act}}}"#), "runtime is empty"),
            (format!(r#"{{"runtime":["a"],"sdtin":"open",{act}}}"#), "unknown field `sdtin`"),
            (
                r#"{"runtime":["a"],"act":{"create":{"id":"-a","bundle":"/b"}}}"#.into(),
                "act.id is no container id",
            ),
            (
                format!(r#"{{"runtime":["a"],{act},"log":{{"json_file":{{"path":"/l","keep":0}}}}}}"#),
                "log.keep must be at least 1",
            ),
            (
                format!(r#"{{"runtime":["a"],{act},"log":{{"local":{{"path":"/l","max_size":0}}}}}}"#),
                "log.max_size must be at least 1 byte",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(want), "{error:?} for {text}");
        }
    }
}
