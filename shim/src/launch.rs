//! The runtime's command that makes the process: its arguments, its streams, and what it says when it fails.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, WaitStatus};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::streams::ForProcess;
use crate::sys;
use crate::task::{Act, Task};

/// Files of the monitor's directory that the runtime writes.
const PID_FILE: &str = "pid";
const RUNTIME_LOG: &str = "runtime.log";
/// Where the runtime sends the master of a terminal.
const CONSOLE_SOCKET: &str = "console.sock";

/// Starts the command. The caller reaps it.
pub(crate) fn start(task: &Task, directory: &Path, streams: ForProcess) -> Result<Pid> {
    let mut command = Command::new(&task.runtime[0]);
    command.args(&task.runtime[1..]);
    command.arg("--log").arg(directory.join(RUNTIME_LOG)).args(["--log-format", "json"]);
    match &task.act {
        Act::Create { bundle, .. } => command.arg("create").arg("--bundle").arg(bundle),
        Act::Exec { process, .. } => command.args(["exec", "--detach", "--process"]).arg(process),
    };
    command.arg("--pid-file").arg(directory.join(PID_FILE));
    if task.terminal {
        command.arg("--console-socket").arg(directory.join(CONSOLE_SOCKET));
    }
    match &task.act {
        Act::Create { id, .. } | Act::Exec { id, .. } => command.arg(id),
    };
    command.stdin(or_null(streams.stdin)).stdout(or_null(streams.stdout)).stderr(or_null(streams.stderr));
    let failed = |source| Error::Start { program: task.runtime[0].clone(), source };
    let child = sys::unblock_signals_in(&mut command).spawn().map_err(failed)?;
    Ok(Pid::from_child(&child))
}

fn or_null(stream: Option<OwnedFd>) -> Stdio {
    stream.map_or_else(Stdio::null, Stdio::from)
}

/// The socket for clients: standard input if that is one, so that clients were there before the process, else a new one at
/// `path`. Not blocking.
pub(crate) fn client_socket(path: &Path) -> Result<UnixListener> {
    let stdin = rustix::stdio::stdin();
    if !rustix::net::sockopt::socket_acceptconn(stdin).unwrap_or(false) {
        return listen(path);
    }
    let take = || {
        let listener = UnixListener::from(rustix::io::fcntl_dupfd_cloexec(stdin, 3)?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    take().map_err(|source| Error::Listen { path: path.to_owned(), source })
}

/// The socket that receives the terminal. Not blocking.
pub(crate) fn console_socket(directory: &Path) -> Result<UnixListener> {
    listen(&directory.join(CONSOLE_SOCKET))
}

/// A listening socket that does not block.
fn listen(path: &Path) -> Result<UnixListener> {
    let open = || {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    open().map_err(|source| Error::Listen { path: path.to_owned(), source })
}

/// The process that the runtime has made.
pub(crate) fn made(directory: &Path) -> Result<Pid> {
    let path = directory.join(PID_FILE);
    let text = fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Error::Runtime { message: format!("the runtime wrote no process id but {text:?}") })
}

/// Why the runtime has failed: the last error in its log, else its status.
pub(crate) fn failure(directory: &Path, status: WaitStatus) -> Error {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let log = fs::read_to_string(directory.join(RUNTIME_LOG)).unwrap_or_default();
    let lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let said =
        lines.filter(|line| matches!(line.level.as_str(), "error" | "fatal")).map(|line| line.msg).next();
    let message = said.unwrap_or_else(|| match status.terminating_signal() {
        Some(signal) => format!("the runtime was ended by signal {signal}"),
        None => format!("the runtime ended with status {}", status.exit_status().unwrap_or_default()),
    });
    Error::Runtime { message }
}
