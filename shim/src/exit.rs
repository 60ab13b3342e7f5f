//! `exit.json`: how the process ended, on record before anybody is told.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::process::WaitStatus;
use serde::Serialize;

use crate::error::{Error, Result};

const FILE: &str = "exit.json";
/// What a shell adds to the number of the signal that ended a process.
const SIGNAL_BASE: i32 = 128;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Exit {
    /// 0 to 255: the process's own status, or 128 and the signal that ended it.
    pub(crate) code: i32,
    /// RFC 3339.
    pub(crate) finished: String,
    /// The first error of writing the log: entries are missing from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_error: Option<String>,
}

impl Exit {
    pub(crate) fn new(status: WaitStatus) -> Self {
        let of_signal = || status.terminating_signal().map(|signal| SIGNAL_BASE + signal);
        let code = status.exit_status().or_else(of_signal).unwrap_or(SIGNAL_BASE);
        Self {
            code,
            finished: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            log_error: None,
        }
    }

    /// Writes the record so that it is there whole or not at all.
    pub(crate) fn record(&self, directory: &Path) -> Result<()> {
        let (path, new) = (directory.join(FILE), directory.join(".exit.json"));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            fs::rename(&new, &path)
        };
        write().map_err(|source| Error::Write { path: path.clone(), source })
    }
}
