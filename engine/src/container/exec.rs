//! More processes in a running container. Each has a monitor of its own, so it outlives the engine like the container; what
//! is known of it does not.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::attach::{Attached, connect};
use super::{Container, Record, Status, create, lock, start};
use crate::engine::{Engine, in_paths};
use crate::error::{During as _, Error, Result};
use crate::log;
use crate::monitor::{Act, Connection, Log, Monitor, Prepared, Stdin, Streams, Task};
use crate::oci;
use crate::wire::{ExecCreate, ExecInspect, ExecProcess};

/// Exit codes of a process that could not start.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// How long the exit code of one is known, at least; Docker forgets it after as long.
const KEPT: Duration = Duration::from_mins(5);

/// One process that was asked for.
pub(crate) struct Exec {
    id: String,
    container: Arc<Container>,
    asked: ExecCreate,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    started: bool,
    running: bool,
    exit_code: Option<i32>,
    ended: Option<Instant>,
    pid: i32,
}

impl State {
    fn end(&mut self, exit_code: i32) {
        self.running = false;
        self.exit_code = Some(exit_code);
        self.ended = Some(Instant::now());
    }

    fn is_old(&self) -> bool {
        self.ended.is_some_and(|ended| ended.elapsed() > KEPT)
    }
}

/// All of an engine, by ID. They go with their container's run.
#[derive(Default)]
pub(crate) struct Execs(Mutex<BTreeMap<String, Arc<Exec>>>);

/// How to start one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ExecStart {
    pub(crate) detach: bool,
    /// Whether the client takes the stream as one of a terminal. The process has the terminal that its creation asked for.
    pub(crate) terminal: bool,
    /// Rows and columns.
    pub(crate) console_size: Option<[u32; 2]>,
}

impl Execs {
    pub(crate) fn find(&self, id: &str) -> Result<Arc<Exec>> {
        let found = lock(&self.0).get(id).cloned();
        found.ok_or_else(|| Error::not_found(format!("No such exec instance: {id}")))
    }

    /// IDs of a container's processes that have not ended.
    pub(crate) fn of_container(&self, container: &str) -> Vec<String> {
        let execs = lock(&self.0);
        let its = execs.values().filter(|exec| exec.container.id == container);
        its.filter(|exec| lock(&exec.state).exit_code.is_none()).map(|exec| exec.id.clone()).collect()
    }
}

/// The program, a space, and its arguments, of which there may be none.
fn command(asked: &ExecCreate) -> String {
    match asked.cmd.split_first() {
        Some((program, arguments)) => format!("{program} {}", arguments.join(" ")),
        None => String::new(),
    }
}

/// Forgets what was asked of a container that has ended.
pub(super) fn forget(engine: &Engine, container: &str) {
    lock(&engine.execs.0).retain(|_, exec| exec.container.id != container);
}

/// Removes what is left of processes that ended while no engine was there. One that has not ended is in its container until
/// that ends.
pub(super) fn remove_ended(engine: &Engine, container: &Container) {
    let folder = engine.run_folder(&container.id).join("x");
    for one in fs::read_dir(folder).into_iter().flatten().flatten() {
        let ended = Monitor::at(one.path().join(start::MONITOR)).connect().is_err();
        if ended && let Err(error) = fs::remove_dir_all(one.path()).during("remove", &one.path()) {
            log::warn(&error);
        }
    }
}

impl Engine {
    /// Prepares a process for a running container. Gives its ID.
    pub(crate) fn exec_create(&self, name: &str, asked: ExecCreate) -> Result<String> {
        let container = self.containers.find(name)?;
        let record = container.record();
        check_running(&record, name)?;
        if asked.cmd.is_empty() {
            return Err(Error::invalid("No exec command specified"));
        }
        if !asked.user.is_empty() {
            oci::check_user(root_of(&record)?.as_fd(), &asked.user)?;
        }
        let id = create::new_id()?;
        let action = format!("exec_create: {}", command(&asked));
        let exec = Exec { id: id.clone(), container: Arc::clone(&container), asked, state: Mutex::default() };
        let mut execs = lock(&self.execs.0);
        execs.retain(|_, exec| !lock(&exec.state).is_old());
        execs.insert(id.clone(), Arc::new(exec));
        drop(execs);
        self.events.of_container(action, &container.record(), &[("execID", id.clone())]);
        Ok(id)
    }

    /// Starts it. With `detach` the process has been started, or the error is the answer; else what fails is told on the
    /// stream.
    pub(crate) fn exec_start(self: &Arc<Self>, id: &str, how: ExecStart) -> Result<Option<Attached>> {
        let exec = self.execs.find(id)?;
        check_running(&exec.container.record(), &exec.container.id)?;
        {
            let mut state = lock(&exec.state);
            if state.exit_code.is_some() {
                return Err(Error::conflict(format!("exec command {id} has already run")));
            }
            if state.started {
                return Err(Error::conflict(format!("exec command {id} is already running")));
            }
            state.started = true;
            state.running = true;
        }
        let asked = &exec.asked;
        let name = format!("exec {}", id.get(..12).unwrap_or(id));
        if how.detach {
            let (launched, connection) = self.launch_exec(&exec, how, None)?;
            let engine = Arc::clone(self);
            start::spawn(name, move || engine.wait_for_exec(&exec, launched, connection))?;
            return Ok(None);
        }
        let (sender, stream) = oneshot::channel();
        let (settle, recorded) = oneshot::channel();
        let streams =
            Streams { stdin: asked.attach_stdin, stdout: asked.attach_stdout, stderr: asked.attach_stderr };
        let (engine, terminal) = (Arc::clone(self), how.terminal);
        start::spawn(name, move || {
            match engine.launch_exec(&exec, how, Some((streams, sender))) {
                Ok((monitor, connection)) => engine.wait_for_exec(&exec, monitor, connection),
                Err(error) => log::debug(&error),
            }
            let _ = settle.send(()); // the client may have gone
        })?;
        Ok(Some(Attached { terminal, stream, recorded: Some(recorded) }))
    }

    /// Starts the monitor with the process. A client is attached before the first byte.
    #[allow(clippy::type_complexity)] // a client is its wish and where it waits
    fn launch_exec(
        &self,
        exec: &Exec,
        how: ExecStart,
        client: Option<(Streams, oneshot::Sender<Result<std::os::unix::net::UnixStream>>)>,
    ) -> Result<(std::process::Child, Connection)> {
        let launched = self.prepare_exec(exec, how).and_then(|prepared| {
            let connection = prepared.monitor.connect().while_doing("connect to the monitor")?;
            let attached = match &client {
                Some((streams, _)) => Some(connect(&prepared.monitor, *streams)?),
                None => None,
            };
            let action = format!("exec_start: {}", command(&exec.asked));
            self.events.of_container(action, &exec.container.record(), &[("execID", exec.id.clone())]);
            let (mut monitor, pid) = prepared.launch(&self.settings.monitor)?;
            match pid {
                Ok(pid) => {
                    lock(&exec.state).pid = pid;
                    Ok((monitor, connection, attached))
                }
                Err(error) => {
                    monitor.wait().while_doing("wait for the monitor")?;
                    Err(error)
                }
            }
        });
        match launched {
            Ok((monitor, connection, attached)) => {
                if let (Some(attached), Some((_, sender))) = (attached, client) {
                    let _ = sender.send(Ok(attached.into_stream())); // it may have hung up
                }
                Ok((monitor, connection))
            }
            Err(error) => {
                let error = Error {
                    message: format!("OCI runtime exec failed: {}: unknown", error.message),
                    ..error
                };
                lock(&exec.state).end(exit_code_of(&error.message));
                self.remove_exec_folder(exec);
                if let Some((_, sender)) = client {
                    let _ = sender.send(Err(error.clone())); // it may have hung up
                }
                Err(error)
            }
        }
    }

    fn prepare_exec(&self, exec: &Exec, how: ExecStart) -> Result<Prepared> {
        let record = exec.container.record();
        let run = self.run_folder(&exec.container.id);
        let folder = exec_folder(&run, &exec.id);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).during("create", &folder)?;
        let process = oci::process(&record, &exec.asked, how.console_size, root_of(&record)?.as_fd())?;
        let path = folder.join("process.json");
        let text = serde_json::to_vec(&process)
            .map_err(|error| Error::system(format!("write {}: {error}", path.display())))?;
        fs::write(&path, text).during("write", &path)?;
        let task = Task {
            runtime: self.runtime_of(&record)?.words(),
            act: Act::Exec { id: exec.container.id.clone(), process: path },
            terminal: exec.asked.tty,
            stdin: if exec.asked.attach_stdin { Stdin::Once } else { Stdin::Closed },
            log: Log::None,
        };
        Monitor::prepare(folder.join(start::MONITOR), &task)
    }

    fn wait_for_exec(&self, exec: &Exec, mut monitor: std::process::Child, connection: Connection) {
        let exit = connection.wait();
        if let Err(error) = monitor.wait().while_doing("wait for a monitor") {
            log::warn(&error);
        }
        let code = exit.map_or(super::end::LOST, |exit| exit.code);
        lock(&exec.state).end(code);
        self.remove_exec_folder(exec);
        let special = [("execID", exec.id.clone()), ("exitCode", code.to_string())];
        self.events.of_container("exec_die", &exec.container.record(), &special);
    }

    fn remove_exec_folder(&self, exec: &Exec) {
        let folder = exec_folder(&self.run_folder(&exec.container.id), &exec.id);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                log::warn(&format!("remove {}: {error}", folder.display()));
            }
            _ => {}
        }
    }

    pub(crate) fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let exec = self.execs.find(id)?;
        if !lock(&exec.state).running {
            return Err(Error::conflict(format!("exec {id} is not running")));
        }
        let folder = exec_folder(&self.run_folder(&exec.container.id), &exec.id);
        let connection = Monitor::at(folder.join(start::MONITOR)).connect();
        connection.while_doing("connect to the monitor")?.resize(rows, columns)
    }

    pub(crate) fn exec_inspect(&self, id: &str) -> Result<ExecInspect> {
        let exec = self.execs.find(id)?;
        let state = lock(&exec.state).clone();
        let asked = &exec.asked;
        let (entrypoint, arguments) = asked.cmd.split_first().unwrap_or((&asked.user, &[]));
        Ok(ExecInspect {
            id: exec.id.clone(),
            running: state.running,
            exit_code: state.exit_code,
            process_config: ExecProcess {
                tty: asked.tty,
                entrypoint: entrypoint.clone(),
                arguments: arguments.to_vec(),
                privileged: asked.privileged,
                user: asked.user.clone(),
            },
            open_stdin: asked.attach_stdin,
            open_stderr: asked.attach_stderr,
            open_stdout: asked.attach_stdout,
            can_remove: state.exit_code.is_some(),
            container_id: exec.container.id.clone(),
            detach_keys: asked.detach_keys.clone(),
            pid: state.pid,
        })
    }

    pub(crate) fn exec_container(&self, id: &str) -> Result<Arc<Container>> {
        Ok(Arc::clone(&self.execs.find(id)?.container))
    }
}

/// The root as the container has it, its own mounts included.
fn root_of(record: &Record) -> Result<File> {
    let root = format!("/proc/{}/root", record.state.pid);
    File::open(&root).during("open", root.as_ref())
}

fn exec_folder(run: &std::path::Path, id: &str) -> std::path::PathBuf {
    run.join("x").join(in_paths(id))
}

fn check_running(record: &Record, name: &str) -> Result<()> {
    match record.state.status {
        Status::Running => Ok(()),
        Status::Paused => {
            let why = "is paused, unpause the container before exec";
            Err(Error::conflict(format!("Container {name} {why}")))
        }
        Status::Restarting => {
            let why = "is restarting, wait until the container is running";
            Err(Error::conflict(format!("Container {name} {why}")))
        }
        _ => Err(Error::conflict(format!("container {} is not running", record.id))),
    }
}

fn exit_code_of(message: &str) -> i32 {
    let missing = ["executable file not found", "no such file or directory"];
    if missing.iter().any(|words| message.contains(words)) { NOT_FOUND } else { NOT_EXECUTABLE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_known_for_a_while() {
        let mut state = State::default();
        assert!(!state.is_old(), "it has not ended");
        state.end(3);
        assert_eq!((state.exit_code, state.is_old()), (Some(3), false));
        state.ended = Instant::now().checked_sub(KEPT + Duration::from_secs(1));
        assert!(state.is_old());
    }
}
