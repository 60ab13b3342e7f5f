//! What a new engine finds: the containers on record, and what of them runs. The monitors and the runtime are asked; the
//! record is believed where they cannot know.

use std::fs;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use jiff::Timestamp;

use super::remove::GONE;
use super::{Container, Record, Status, end, exec, health, start};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::log;
use crate::monitor::{Connection, Exit};
use crate::network;

/// What was found of a container's process.
enum Process {
    Running(Connection),
    /// It waits for a start that does not come, or is not yet made; or it is to be removed, whatever it does.
    NotLetGo(Connection),
    /// Or it never was.
    Ended(Option<Exit>),
}

/// What is to be done when the run of a container is cleared away.
#[derive(Clone, Copy)]
enum Next {
    Nothing,
    /// The delay before the next start, or no start.
    AfterEnd(Option<Duration>),
    Start,
}

impl Engine {
    /// Reads all records and takes names. Nothing is started or cleared yet.
    pub(crate) fn load_containers(&self) -> Result<()> {
        let folder = self.containers_folder();
        for entry in fs::read_dir(&folder).during("list", &folder)? {
            let entry = entry.during("list", &folder)?;
            let folder = entry.path();
            if entry.file_name().to_string_lossy().starts_with(GONE) {
                fs::remove_dir_all(&folder).during("remove", &folder)?;
                continue;
            }
            match Record::read(&folder) {
                Ok(record) => self.know(Container::new(folder, record)),
                // A create that was cut off left no record, and nobody was told of it.
                Err(error) if fs::exists(folder.join("container.json")).unwrap_or(true) => log::warn(&error),
                Err(_) => self.forget_unfinished(&folder)?,
            }
        }
        Ok(())
    }

    fn know(&self, container: Container) {
        let record = container.record();
        if let Err(error) = self.containers.reserve(&record.name, &record.id) {
            log::warn(&error);
        }
        self.containers.insert(Arc::new(container));
    }

    fn forget_unfinished(&self, folder: &std::path::Path) -> Result<()> {
        let id = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if self.images.snapshots().contains_key(id) {
            self.images.remove_snapshot(id)?;
        }
        self.remove_volumes_made_for(id)?;
        fs::remove_dir_all(folder).during("remove", folder)
    }

    /// Goes on with every container where the last engine left it.
    ///
    /// First all that runs is taken over, with its addresses and ports; then the firewall gets what is published; only then
    /// is anything started, cleared or watched, which takes and gives back some of that.
    pub(crate) fn adopt_containers(self: &Arc<Self>) -> Result<()> {
        let warn = |container: &Container, error: Error| {
            log::warn(&error.within(format!("take over container {}", container.record().short_id())));
        };
        let mut found = Vec::new();
        for container in self.containers.all() {
            match self.look_for_process(&container) {
                Ok(process) => found.push((container, process)),
                Err(error) => warn(&container, error),
            }
        }
        self.publish_again()?;
        for (container, process) in found {
            if let Err(error) = self.go_on(&container, process) {
                warn(&container, error);
            }
        }
        Ok(())
    }

    fn look_for_process(&self, container: &Container) -> Result<Process> {
        let record = container.record();
        let run = self.run_folder(&container.id);
        if !fs::exists(&run).during("look for", &run)? {
            return Ok(Process::Ended(None));
        }
        // What it has is not for others, even if it is about to be given back.
        if let Err(error) = network::adopt(self, &record) {
            log::warn(&error.within(format!("container {}", record.short_id())));
        }
        let monitor = self.monitor_of(&container.id);
        let connection = match monitor.connect() {
            Ok(connection) => connection,
            Err(error) if is_gone(&error) => return Ok(Process::Ended(monitor.exit()?)),
            Err(error) => return Err(error).while_doing("connect to its monitor"),
        };
        if record.removing {
            return Ok(Process::NotLetGo(connection));
        }
        let status = match self.runtime_of(&record)?.status(&container.id)?.as_deref() {
            Some("running") => Status::Running,
            Some("paused") => Status::Paused,
            // The monitor is about to tell of it.
            Some("stopped") if record.state.status.is_up() => record.state.status,
            _ => return Ok(Process::NotLetGo(connection)),
        };
        self.take_over(container, status)?;
        Ok(Process::Running(connection))
    }

    fn take_over(&self, container: &Container, status: Status) -> Result<()> {
        let pid_file = self.run_folder(&container.id).join(start::MONITOR).join("pid");
        let text = fs::read_to_string(&pid_file).during("read", &pid_file)?;
        let pid = text.trim().parse().map_err(|_| Error::system(format!("no process ID: {text:?}")))?;
        let made = fs::metadata(&pid_file).and_then(|pid_file| pid_file.modified());
        let made = Timestamp::try_from(made.during("look at", &pid_file)?).map_err(Error::system)?;
        container.change(|record| {
            if !record.state.status.is_up() {
                start::begin(record, pid, made);
            }
            record.state.status = status;
        })?;
        container.turn(|turn| turn.running = true);
        Ok(())
    }

    fn go_on(self: &Arc<Self>, container: &Arc<Container>, process: Process) -> Result<()> {
        if container.record().removing {
            return self
                .act_in_thread(container, |engine, container| engine.go_on_removing(container, process));
        }
        match process {
            Process::Running(connection) => {
                exec::remove_ended(self, container);
                end::watch(self, container, connection, None)?;
                health::watch(self, container)
            }
            Process::NotLetGo(connection) => self.act_in_thread(container, move |engine, container| {
                let exit = engine.undo_start(container, connection)?;
                engine.note_what_ended(container, exit)
            }),
            Process::Ended(exit) => {
                let act = container.begin_act();
                let next = self.note_what_ended(container, exit)?;
                drop(act);
                let (engine, container) = (Arc::clone(self), Arc::clone(container));
                in_thread(&Arc::clone(&container), move || engine.go_on_after(&container, next))
            }
        }
    }

    /// The caller holds the act.
    fn go_on_removing(self: &Arc<Self>, container: &Arc<Container>, process: Process) -> Result<Next> {
        if let Process::Running(connection) | Process::NotLetGo(connection) = process
            && let Err(error) = self.undo_start(container, connection)
        {
            log::warn(&error);
        }
        container.change(|record| {
            if record.state.status.is_running() {
                record.state.status = Status::Exited;
            }
        })?;
        self.finish_removal_or_die(container)?;
        Ok(Next::Nothing)
    }

    /// Ends a process that was not let go before the last engine ended. The caller holds the act.
    fn undo_start(&self, container: &Container, mut connection: Connection) -> Result<Option<Exit>> {
        // Before, the runtime may not know the container yet, and make it later.
        let ended = connection.wait_for_launch();
        self.runtime_of(&container.record())?.delete(&container.id)?;
        match ended {
            Some(exit) => Ok(Some(exit)),
            None => self.monitor_of(&container.id).last_word(connection),
        }
    }

    /// A container without a process: if the record says that it runs, it has ended meanwhile. The caller holds the act.
    fn note_what_ended(self: &Arc<Self>, container: &Arc<Container>, exit: Option<Exit>) -> Result<Next> {
        if container.record().state.status.is_up() {
            return self.note_end(container, exit).map(Next::AfterEnd);
        }
        self.clear(container);
        let record = container.change(end::forget_run)?;
        let policy = record.host_config.restart_policy.name.as_str();
        if record.state.status == Status::Restarting && record.stopped_by_hand {
            // The stop came while the policy waited.
            container.policy_is_off.store(true, Ordering::Release);
        }
        Ok(match record.state.status {
            Status::Restarting => Next::AfterEnd(Some(Duration::ZERO)),
            Status::Exited if record.host_config.auto_remove => Next::AfterEnd(None),
            // `always` means also after a stop by hand, once the engine is new; the other also after the engine's own stop.
            _ if record.state.started.is_none() => Next::Nothing,
            _ if policy == "always" => Next::Start,
            _ if policy == "unless-stopped" && !record.stopped_by_hand => Next::Start,
            _ => Next::Nothing,
        })
    }

    fn go_on_after(self: &Arc<Self>, container: &Arc<Container>, next: Next) -> Result<()> {
        match next {
            Next::Nothing => Ok(()),
            Next::AfterEnd(again) => self.after_end(container, again),
            Next::Start => self.start(&container.id).map(drop),
        }
    }

    /// Acts in a thread, which has begun with it when this returns: no client comes before.
    fn act_in_thread(
        self: &Arc<Self>,
        container: &Arc<Container>,
        work: impl FnOnce(&Arc<Self>, &Arc<Container>) -> Result<Next> + Send + 'static,
    ) -> Result<()> {
        let (begun, wait) = mpsc::channel();
        let (engine, acted) = (Arc::clone(self), Arc::clone(container));
        in_thread(container, move || {
            let act = acted.begin_act();
            drop(begun);
            let next = work(&engine, &acted)?;
            drop(act);
            engine.go_on_after(&acted, next)
        })?;
        // It says nothing, it hangs up.
        let (Ok(()) | Err(mpsc::RecvError)) = wait.recv();
        Ok(())
    }
}

/// What may take its time is no reason for clients to wait.
fn in_thread(container: &Container, work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let id = container.record().short_id().to_owned();
    start::spawn(format!("adopt {id}"), move || {
        if let Err(error) = work() {
            log::warn(&error.within(format!("go on with container {id}")));
        }
    })
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
