//! A start, in the order in which things come to be: root file system, network, files, configuration, process. What has been
//! made when a step fails is taken away by `clear`, as after an end.

use std::fs::{self, DirBuilder, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use jiff::Timestamp;
use knarr_images::store::Access;

use super::{Container, Done, Health, Record, State, Status, end, health, oom};
use crate::engine::Engine;
use crate::error::{During as _, Error, Kind, Result};
use crate::logs;
use crate::monitor::{Act, Connection, Monitor, Prepared, Stdin, Task};
use crate::network;
use crate::oci;
use crate::runtime::Runtime;
use crate::volume;
use crate::wire::{Config, Healthcheck};

/// Exit codes of a container that could not start.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
const NOT_STARTED: i32 = 128;

/// Folder of the monitor in a container's run folder.
pub(super) const MONITOR: &str = "m";

/// A process that runs, and who tells of its end.
struct Launched {
    pid: i32,
    monitor: Child,
    connection: Connection,
}

impl Engine {
    /// Starts a container, unless it runs.
    pub(crate) fn start(self: &Arc<Self>, name: &str) -> Result<Done> {
        let container = self.containers.find(name)?;
        // A removal that has begun is not waited for.
        container.record().refuse_if_removed("started")?;
        let act = container.begin_act();
        let record = container.record();
        record.refuse_if_removed("started")?;
        match record.state.status {
            Status::Paused => {
                return Err(Error::conflict("cannot start a paused container, try unpause instead"));
            }
            Status::Running | Status::Restarting => return Ok(Done::Already),
            Status::Created | Status::Exited | Status::Dead => {}
        }
        container.policy_is_off.store(false, Ordering::Release);
        container.change(|record| {
            record.stopped_by_hand = false;
            record.restart_count = 0;
            record.short_runs = 0;
        })?;
        let started = self.launch(&container);
        drop(act);
        if started.is_err() && record.host_config.auto_remove {
            // The failed start is the answer.
            let _ = self.remove_ended(&container);
        }
        started.map(|()| Done::Changed)
    }

    /// Starts the process of a container that has none. The caller holds the act.
    pub(super) fn launch(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        match self.try_launch(container) {
            Ok(launched) => self.launched(container, launched),
            Err(error) => {
                self.clear(container);
                container.drop_early();
                let (code, error) = classify(error);
                container.change(|record| {
                    end::forget_run(record);
                    record.state.exit_code = code;
                    record.state.error.clone_from(&error.message);
                    if record.state.status == Status::Restarting {
                        record.state.status = Status::Exited;
                    }
                })?;
                container.turn(|turn| (turn.running, turn.exit_code) = (false, code));
                Err(error)
            }
        }
    }

    fn try_launch(self: &Arc<Self>, container: &Arc<Container>) -> Result<Launched> {
        let record = container.record();
        // What a killed engine may have left.
        self.clear(container);
        let runtime = Runtime::named(&self.settings, &record.host_config.runtime)?;
        let run = self.run_folder(&container.id);
        let root = self.mount_root(&record, &run)?;
        let sandbox = network::connect(self, &record, &container.folder)?;
        // An engine that finds the process, but no record of its start, knows what it holds.
        let record = container.change(|record| {
            record.networks.clone_from(&sandbox.endpoints);
            record.ports.clone_from(&sandbox.ports);
        })?;
        network::files::write(&record, &sandbox, &self.settings, &container.folder)?;
        oci::shared_memory::prepare(&record, &container.folder)?;
        // They hold what they name until the runtime has mounted it.
        let sources = volume::sources(self, &record)?;
        let mounts: Vec<oci::Mount> = sources.iter().map(to_mount).collect();
        let spec = oci::Spec {
            record: &record,
            settings: &self.settings,
            root: root.as_fd(),
            folder: &container.folder,
            mounts: &mounts,
            network: &sandbox.network,
            joined: self.joined_namespaces(&record)?,
        };
        let configuration = oci::configuration(&spec)?;
        let bundle = run.join("bundle");
        write_configuration(&configuration, &bundle)?;
        let task = Task {
            runtime: runtime.words(),
            act: Act::Create { id: container.id.clone(), bundle },
            terminal: record.config.tty,
            stdin: stdin(&record.config),
            log: logs::destination(&record, &container.folder)?,
        };
        let prepared = Monitor::prepare(run.join(MONITOR), &task)?;
        self.launch_process(container, &runtime, prepared)
    }

    /// Starts the monitor with those who want the first byte already connected, and lets the process go.
    fn launch_process(
        &self,
        container: &Container,
        runtime: &Runtime,
        prepared: Prepared,
    ) -> Result<Launched> {
        let connection = prepared.monitor.connect().while_doing("connect to the monitor")?;
        let early = container.connect_early(&prepared.monitor);
        let (mut monitor, pid) = prepared.launch(&self.settings.monitor)?;
        let pid = pid.map_err(|error| {
            let message = error.message;
            let act =
                "failed to create task for container: failed to create shim task: OCI runtime create failed";
            Error { message: format!("{act}: {message}: unknown"), ..error }
        });
        let started = pid.and_then(|pid| {
            early.into_iter().for_each(super::attach::Connected::hand_over);
            runtime.start(&container.id).map(|()| pid)
        });
        match started {
            Ok(pid) => Ok(Launched { pid, monitor, connection }),
            Err(error) => {
                // A container that was created and not started is deleted first, or its monitor would not end.
                runtime.delete(&container.id)?;
                monitor.wait().while_doing("wait for the monitor")?;
                Err(error)
            }
        }
    }

    fn launched(self: &Arc<Self>, container: &Arc<Container>, launched: Launched) -> Result<()> {
        let Launched { pid, monitor, connection } = launched;
        let record = container.change(|record| begin(record, pid, Timestamp::now()))?;
        container.turn(|turn| (turn.running, turn.given_up) = (true, false));
        for (network, endpoint) in &record.networks {
            network::tell(&self.events, "connect", &record, network, endpoint);
        }
        volume::tell(&self.events, "mount", &record);
        self.events.of_container("start", &record, &[]);
        end::watch(self, container, connection, Some(monitor))?;
        health::watch(self, container)
    }

    /// Mounts the container's layers and gives the mounted root.
    fn mount_root(&self, record: &Record, run: &Path) -> Result<File> {
        let target = run.join("bundle/rootfs");
        DirBuilder::new().recursive(true).mode(0o711).create(&target).during("create", &target)?;
        let snapshot = self.images.snapshot(&record.id)?;
        let view = self.images.view(&snapshot, Access::Writable)?;
        let folder = File::open(&target).during("open", &target)?;
        self.images.attach(&view, &folder)?;
        // What was opened before is the folder below the mount.
        File::open(&target).during("open", &target)
    }

    /// Namespaces of other containers that this one joins, as paths below /proc.
    fn joined_namespaces(&self, record: &Record) -> Result<oci::Joined> {
        let of = |mode: &str, namespace: &str| -> Result<Option<PathBuf>> {
            let Some(name) = mode.strip_prefix("container:") else { return Ok(None) };
            let other = self.containers.find(name)?.record();
            if !other.state.status.is_up() {
                let why = format!("cannot join {namespace} namespace of a non running container: {name}");
                return Err(Error::conflict(why));
            }
            Ok(Some(PathBuf::from(format!("/proc/{}/ns/{namespace}", other.state.pid))))
        };
        let host = &record.host_config;
        let shm = match host.ipc_mode.strip_prefix("container:") {
            Some(name) => {
                let other = self.containers.find(name)?;
                if other.record().host_config.ipc_mode == "private" {
                    let hint = "(hint: use IpcMode:shareable for the donor container)";
                    return Err(Error::conflict(format!(
                        "cannot join IPC of container {name}: non-shareable IPC {hint}"
                    )));
                }
                Some(oci::shared_memory::folder(&other.folder))
            }
            None => None,
        };
        Ok(oci::Joined { pid: of(&host.pid_mode, "pid")?, ipc: of(&host.ipc_mode, "ipc")?, shm })
    }
}

/// A process has been let go.
pub(super) fn begin(record: &mut Record, pid: i32, started: Timestamp) {
    record.memory_cgroup = oom::memory_cgroup(pid);
    record.state = State {
        status: Status::Running,
        pid,
        started: Some(started),
        health: health(record),
        ..State::default()
    };
}

/// A planned mount as the configuration has it.
fn to_mount(planned: &volume::Planned) -> oci::Mount {
    let target = planned.target.clone();
    match &planned.source {
        volume::Source::Tmpfs(options) => oci::Mount::Tmpfs { target, options: options.join(",") },
        volume::Source::Bind { path, access, propagation, recursive, .. } => oci::Mount::Bind(oci::Bind {
            source: path.clone(),
            target,
            access: match access {
                volume::Access::Writable => oci::Access::Writable,
                volume::Access::ReadOnly => oci::Access::ReadOnly,
                volume::Access::ReadOnlyRecursive => oci::Access::RecursivelyReadOnly,
            },
            propagation: propagation.clone(),
            recursive: *recursive,
        }),
    }
}

fn stdin(config: &Config) -> Stdin {
    match (config.open_stdin, config.stdin_once) {
        (false, _) => Stdin::Closed,
        (true, true) => Stdin::Once,
        (true, false) => Stdin::Open,
    }
}

/// A start begins a new count of failures; what was found before stays on record.
fn health(record: &Record) -> Option<Health> {
    let test = record.config.healthcheck.as_ref().map(|check: &Healthcheck| check.test.as_slice())?;
    match test {
        [] => None,
        [none, ..] if none == "NONE" => None,
        _ => {
            let log = record.state.health.as_ref().map(|health| health.log.clone()).unwrap_or_default();
            Some(Health { status: "starting".to_owned(), failing_streak: 0, log })
        }
    }
}

pub(super) fn write_configuration(configuration: &impl serde::Serialize, bundle: &Path) -> Result<()> {
    let path = bundle.join("config.json");
    let text = serde_json::to_vec(configuration)
        .map_err(|error| Error::system(format!("write {}: {error}", path.display())))?;
    fs::write(&path, text).during("write", &path)
}

/// The exit code that a failed start leaves, and the error as clients expect it: a program that cannot be run is the
/// user's mistake.
fn classify(error: Error) -> (i32, Error) {
    let text = &error.message;
    let found = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let (code, note) = if found(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        (NOT_FOUND, "")
    } else if found(&["is a directory"]) {
        (NOT_EXECUTABLE, ": permission denied")
    } else if found(&["not a directory"]) {
        let hint = ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type";
        (NOT_FOUND, hint)
    } else if found(&["permission denied"]) {
        (NOT_EXECUTABLE, "")
    } else {
        return (NOT_STARTED, error);
    };
    let message = format!("{}{note}", error.message);
    let kind = if error.kind == Kind::System { Kind::InvalidParameter } else { error.kind };
    (code, Error { kind, message })
}

/// Starts a thread whose end nobody waits for.
pub(crate) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<()> {
    // Waiting takes little stack; there are as many of these as containers.
    let builder = thread::Builder::new().name(name).stack_size(256 * 1024);
    builder.spawn(work).map(drop).while_doing("start a thread")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_run_is_the_users_mistake() {
        let table = [
            ("exec: \"x\": executable file not found in $PATH", 127, Kind::InvalidParameter),
            ("exec: \"/x\": stat /x: no such file or directory", 127, Kind::InvalidParameter),
            ("exec: \"/x\": permission denied", 126, Kind::InvalidParameter),
            ("exec: \"/\": is a directory", 126, Kind::InvalidParameter),
            ("out of memory", 128, Kind::System),
        ];
        for (text, code, kind) in table {
            let (found, error) = classify(Error::system(text));
            assert_eq!((found, error.kind), (code, kind), "{text}");
        }
        let (_, error) = classify(Error::system("exec: \"/\": is a directory"));
        assert!(error.message.ends_with("is a directory: permission denied"));
    }
}
