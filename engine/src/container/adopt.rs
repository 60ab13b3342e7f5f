//! What a new engine finds: the containers on record, and what of them runs. The monitors and the runtime are asked; the
//! record is believed where they cannot know.

use std::fs;
use std::io;
use std::sync::Arc;

use super::{Container, Record, Status, end, health, oom, restart};
use crate::engine::Engine;
use crate::error::{During as _, Result};
use crate::log;

impl Engine {
    /// Reads all records and takes names. Nothing is started or cleared yet.
    pub(crate) fn load_containers(&self) -> Result<()> {
        let folder = self.containers_folder();
        for entry in fs::read_dir(&folder).during("list", &folder)? {
            let folder = entry.during("list", &folder)?.path();
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
        fs::remove_dir_all(folder).during("remove", folder)
    }

    /// Goes on with every container where the last engine left it.
    pub(crate) fn adopt_containers(self: &Arc<Self>) {
        for container in self.containers.all() {
            let adopted = self.adopt(&container);
            if let Err(error) = adopted {
                log::warn(&error.within(format!("take over container {}", container.record().short_id())));
            }
        }
    }

    fn adopt(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let record = container.record();
        if record.removing {
            return self.finish_removal(container, record.host_config.auto_remove);
        }
        let run = self.run_folder(&container.id);
        if !fs::exists(&run).during("look for", &run)? {
            return self.adopt_ended(container, None);
        }
        let monitor = self.monitor_of(&container.id);
        match monitor.connect() {
            Ok(connection) => {
                // A start that was cut off before the process was let go is undone.
                match self.runtime_of(&record)?.status(&container.id)?.as_deref() {
                    Some("running") => self.adopt_running(container, Status::Running)?,
                    Some("paused") => self.adopt_running(container, Status::Paused)?,
                    _ => {
                        self.runtime_of(&record)?.delete(&container.id)?;
                        return self.adopt_ended(container, connection.wait());
                    }
                }
                end::watch(self, container, connection, None)?;
                health::watch(self, container)
            }
            Err(error) if is_gone(&error) => self.adopt_ended(container, monitor.exit()?),
            Err(error) => Err(error).while_doing("connect to its monitor"),
        }
    }

    fn adopt_running(&self, container: &Container, status: Status) -> Result<()> {
        let run = self.run_folder(&container.id);
        let pid_file = run.join(super::start::MONITOR).join("pid");
        let pid: i32 = fs::read_to_string(&pid_file).during("read", &pid_file)?.trim().parse().unwrap_or(0);
        container.change(|record| {
            record.state.status = status;
            record.state.pid = pid;
            record.memory_cgroup = oom::memory_cgroup(pid);
            if record.state.started.is_none() {
                record.state.started = Some(jiff::Timestamp::now());
            }
        })?;
        container.turn(|turn| turn.running = true);
        crate::network::adopt(self, &container.record())
    }

    /// A container without a process: if the record says that it runs, it has ended meanwhile.
    fn adopt_ended(
        self: &Arc<Self>,
        container: &Arc<Container>,
        exit: Option<crate::monitor::Exit>,
    ) -> Result<()> {
        match container.record().state.status {
            Status::Running | Status::Paused => self.ended(container, exit),
            Status::Restarting => {
                self.clear(container);
                let (engine, restarted) = (Arc::clone(self), Arc::clone(container));
                super::start::spawn(format!("restart {}", container.record().short_id()), move || {
                    let delay = std::time::Duration::ZERO;
                    if let Err(error) = restart::after(&engine, &restarted, delay) {
                        log::warn(&error);
                    }
                })?;
            }
            Status::Created | Status::Exited | Status::Dead => {
                self.clear(container);
                let record = container.record();
                if record.host_config.auto_remove && record.state.status == Status::Exited {
                    return self.remove_ended(container);
                }
                // `always` means also after a stop by hand, once the engine is new.
                if record.host_config.restart_policy.name == "always" && record.state.started.is_some() {
                    self.start(&container.id)?;
                }
            }
        }
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
