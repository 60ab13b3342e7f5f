//! A removal: of the writable layer, the files, the anonymous volumes, and the name. Once begun, it is finished, if need be
//! by the next engine.

use std::fs;
use std::sync::Arc;

use super::stop::give_up_restart;
use super::{Container, Status};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::volume;

/// Begins the name of a container's folder that is about to go.
pub(super) const GONE: &str = ".gone-";

/// How to remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Remove {
    /// Also when it runs.
    pub(crate) force: bool,
    /// Its anonymous volumes as well.
    pub(crate) volumes: bool,
    /// A link, not the container.
    pub(crate) link: bool,
}

impl Engine {
    pub(crate) fn remove(self: &Arc<Self>, name: &str, remove: Remove) -> Result<()> {
        if remove.link {
            return Err(Error::not_implemented("links between containers are not supported"));
        }
        let container = self.containers.find(name)?;
        let record = container.record();
        let status = record.state.status;
        if status.is_running() {
            if !remove.force {
                let why = if status == Status::Paused {
                    "container is paused and must be unpaused first"
                } else {
                    "container is running: stop the container before removing or force remove"
                };
                return Err(Error::conflict(format!("cannot remove container \"{name}\": {why}")));
            }
            container.change(|record| record.stopped_by_hand = true)?;
            if status == Status::Restarting {
                give_up_restart(&container)?;
            } else {
                self.kill_and_wait(&container)?;
            }
        }
        self.remove_stopped(&container, remove.volumes)
    }

    /// Removes a container with `--rm` whose process has ended, with its anonymous volumes.
    pub(super) fn remove_ended(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        match self.remove_stopped(container, true) {
            // A client was faster.
            Err(error) if error.kind == crate::error::Kind::Conflict => Ok(()),
            outcome => outcome,
        }
    }

    fn remove_stopped(self: &Arc<Self>, container: &Arc<Container>, volumes: bool) -> Result<()> {
        let _act = container.begin_act();
        let mut first = false;
        let record = container.change(|record| {
            first = !record.removing;
            record.removing = true;
            record.removing_volumes |= volumes;
        });
        if !first {
            let record = container.record();
            let why = format!("removal of container {} is already in progress", record.name);
            return Err(Error::conflict(why));
        }
        let record = record?;
        if record.state.status.is_up() {
            container.change(|record| record.removing = false)?;
            let why = "container is running: stop the container before removing or force remove";
            return Err(Error::conflict(format!("cannot remove container \"{}\": {why}", record.name)));
        }
        let removed = self.finish_removal(container, volumes);
        if removed.is_err() {
            container.change(|record| {
                record.removing = false;
                record.state.status = Status::Dead;
            })?;
        }
        removed
    }

    /// The removal itself; what is gone already is no failure.
    pub(super) fn finish_removal(self: &Arc<Self>, container: &Arc<Container>, volumes: bool) -> Result<()> {
        let record = container.record();
        self.clear(container);
        if self.images.snapshots().contains_key(&container.id) {
            self.images.remove_snapshot(&container.id)?;
        }
        // Before the folder, or nobody would remember them after a kill in between.
        if volumes {
            volume::remove_anonymous(self, &record)?;
        }
        // At one moment, or what is left would be taken for a create that was cut off.
        let gone = container.folder.with_file_name(format!("{GONE}{}", container.id));
        fs::rename(&container.folder, &gone).during("rename", &container.folder)?;
        fs::remove_dir_all(&gone).during("remove", &gone)?;
        self.containers.remove(container);
        self.events.of_container("destroy", &record, &[]);
        container.drop_early();
        container.turn(|turn| (turn.running, turn.removed) = (false, true));
        Ok(())
    }
}
