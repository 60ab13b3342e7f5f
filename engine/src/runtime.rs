//! The OCI runtime, by its command line: any that takes runc's.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{During as _, Error, Result};
use crate::settings::{CgroupDriver, Settings};

/// A runtime with its global options.
pub(crate) struct Runtime {
    program: PathBuf,
    options: Vec<String>,
}

impl Runtime {
    /// The runtime of a container, by the name that its record has.
    pub(crate) fn named(settings: &Settings, name: &str) -> Result<Self> {
        let name = if name.is_empty() { &settings.default_runtime } else { name };
        let known = settings.runtimes.get(name);
        let known =
            known.ok_or_else(|| Error::invalid(format!("unknown or invalid runtime name: {name}")))?;
        let mut options = known.arguments.clone();
        let root = settings.exec_root.join("runtime");
        options.extend(["--root".to_owned(), root.to_string_lossy().into_owned()]);
        if settings.cgroup_driver == CgroupDriver::Systemd {
            options.push("--systemd-cgroup".to_owned());
        }
        Ok(Self { program: known.path.clone(), options })
    }

    /// Program and global options, for a monitor's task.
    pub(crate) fn words(&self) -> Vec<String> {
        let program = self.program.to_string_lossy().into_owned();
        [program].into_iter().chain(self.options.iter().cloned()).collect()
    }

    /// Lets a created container's process go.
    pub(crate) fn start(&self, id: &str) -> Result<()> {
        self.run(&["start", id])
    }

    /// Sends a signal, by number, to the first process.
    pub(crate) fn kill(&self, id: &str, signal: i32) -> Result<()> {
        self.run(&["kill", id, &signal.to_string()])
    }

    /// Removes what the runtime has of a container, its processes as well. No container is no failure.
    pub(crate) fn delete(&self, id: &str) -> Result<()> {
        self.run(&["delete", "--force", id])
    }

    pub(crate) fn pause(&self, id: &str) -> Result<()> {
        self.run(&["pause", id])
    }

    pub(crate) fn resume(&self, id: &str) -> Result<()> {
        self.run(&["resume", id])
    }

    /// Sets limits. `resources` is a file with `linux.resources`.
    pub(crate) fn update(&self, id: &str, resources: &Path) -> Result<()> {
        self.run(&["update", "--resources", &resources.to_string_lossy(), id])
    }

    /// `creating`, `created`, `running`, `paused`, `stopped`; none: there is no such container.
    pub(crate) fn status(&self, id: &str) -> Result<Option<String>> {
        let output = self.output(&["state", id])?;
        if !output.status.success() {
            let complaint = complaint(&output);
            return if complaint.contains("does not exist") {
                Ok(None)
            } else {
                Err(Error::system(complaint))
            };
        }
        let state: serde_json::Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| Error::system(format!("read the state of {id}: {error}")))?;
        Ok(state.get("status").and_then(|status| status.as_str()).map(str::to_owned))
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let output = self.output(arguments)?;
        if output.status.success() { Ok(()) } else { Err(Error::system(complaint(&output))) }
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command.args(&self.options).args(arguments).stdin(Stdio::null());
        command.output().during("run", &self.program)
    }
}

/// The last line that a runtime wrote as its error.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(|| format!("the runtime ended with {}", output.status), message)
}

/// What a line of a log in Go's `key="value"` form says; any other line is what it says.
fn message(line: &str) -> String {
    let quoted = line.split_once(" msg=").filter(|_| line.starts_with("time=")).map(|(_, quoted)| quoted);
    quoted.and_then(|quoted| serde_json::from_str(quoted).ok()).unwrap_or_else(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_log_says_its_message() {
        for (line, want) in [
            (
                r#"time="2026-01-01T00:00:00Z" level=error msg="write \"1\": invalid argument""#,
                "write \"1\": invalid argument",
            ),
            ("container does not exist", "container does not exist"),
            (r#"time="now" level=error msg=short"#, r#"time="now" level=error msg=short"#),
        ] {
            assert_eq!(message(line), want);
        }
    }
}
