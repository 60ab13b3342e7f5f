//! What an OCI hook sees: its arguments, environment, directory, namespaces and the state on its stdin.

use std::fs::OpenOptions;
use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::{acts, facts};

/// Appends one JSON line to `file`. The whole line is one write, so hooks may share a file.
pub(crate) fn record(file: &str) -> Value {
    let mut stdin = String::new();
    let read = std::io::stdin().read_to_string(&mut stdin);
    let line = json!({
        "stdin": stdin,
        "stdin_read": read.is_ok(),
        "state": serde_json::from_str::<Value>(&stdin).unwrap_or(Value::Null),
        "args": std::env::args().collect::<Vec<_>>(),
        "env": facts::environment(),
        "cwd": facts::directory(),
        "ns": facts::namespaces(),
        "pid": std::process::id(),
        "uid": facts::status_numbers("Uid"),
        "fds": facts::descriptors(),
        "root_entries": facts::entries("/"),
    });
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .and_then(|mut out| out.write_all(format!("{line}\n").as_bytes()));
    acts::outcome("hook", file, written.map(|()| Value::Null))
}
