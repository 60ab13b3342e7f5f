//! A removal: of the writable layer, the files, the anonymous volumes, and the name. Once begun, it is finished, if need be
//! by the next engine.

use std::fs;
use std::sync::Arc;

use super::stop::give_up_restart;
use super::{Container, Record, Status};
use crate::engine::Engine;
use crate::error::{During as _, Error, Kind, Result};
use crate::log;
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
        begin(&container, name, remove)?;
        let outcome = self.stop_and_remove(&container, remove.force);
        if outcome.is_err()
            && let Err(error) = container.change(|record| record.removing = false)
        {
            log::warn(&error);
        }
        outcome.map_err(|error| error.within(format!("cannot remove container \"{name}\"")))
    }

    /// Removes a container with `--rm` whose process has ended, with its anonymous volumes.
    pub(super) fn remove_ended(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let remove = Remove { volumes: true, ..Remove::default() };
        match self.remove(&container.id, remove) {
            // A client was faster.
            Err(error) if matches!(error.kind, Kind::Conflict | Kind::NotFound) => Ok(()),
            outcome => outcome,
        }
    }

    /// The removal that has begun, of a container that may run.
    fn stop_and_remove(self: &Arc<Self>, container: &Arc<Container>, force: bool) -> Result<()> {
        loop {
            match container.record().state.status {
                Status::Restarting => give_up_restart(container)?,
                status if status.is_up() => self.kill_and_wait(container)?,
                _ => {}
            }
            let _act = container.begin_act();
            let status = container.record().state.status;
            if !status.is_running() {
                return self.finish_removal_or_die(container);
            }
            // A start was on its way.
            if !force {
                return Err(is_running(status));
            }
        }
    }

    /// The removal of a container that does not run. When it fails, the container is dead, and can be removed again. The caller
    /// holds the act.
    pub(super) fn finish_removal_or_die(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let removed = self.finish_removal(container);
        if removed.is_err() {
            let died = container.change(|record| {
                (record.state.status, record.removing) = (Status::Dead, false);
            });
            if let Err(error) = died {
                log::warn(&error);
            }
        }
        removed
    }

    /// The removal itself; what is gone already is no failure.
    fn finish_removal(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let record = container.record();
        self.clear(container);
        if self.images.snapshots().contains_key(&container.id) {
            self.images.remove_snapshot(&container.id)?;
        }
        // Before the folder, or nobody would remember them after a kill in between.
        if record.removing_volumes {
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

/// Puts the removal on record: from here on it shows, there is no other one, and the next engine would go on with it.
fn begin(container: &Container, name: &str, remove: Remove) -> Result<()> {
    let mut refused = None;
    let written = container.change(|record| {
        refused = refusal(record, name, remove);
        if refused.is_none() {
            (record.removing, record.removing_volumes) = (true, remove.volumes);
        }
    });
    // One that is gone meanwhile has no record to write, and its removal was the other one.
    refused.map_or(written.map(drop), Err)
}

fn refusal(record: &Record, name: &str, remove: Remove) -> Option<Error> {
    if record.removing {
        return Some(Error::conflict(format!("removal of container {name} is already in progress")));
    }
    let status = record.state.status;
    let runs = status.is_running() && !remove.force;
    runs.then(|| is_running(status).within(format!("cannot remove container \"{name}\"")))
}

fn is_running(status: Status) -> Error {
    Error::conflict(match status {
        Status::Paused => "container is paused and must be unpaused first",
        Status::Restarting => "container is restarting: stop the container before removing or force remove",
        _ => "container is running: stop the container before removing or force remove",
    })
}

impl Record {
    /// Docker's sentence for a container that is about to be gone.
    pub(super) fn refuse_if_removed(&self, verb: &str) -> Result<()> {
        let status = self.state.status;
        if !status.is_running() && (self.removing || status == Status::Dead) {
            return Err(Error::conflict(format!("container is marked for removal and cannot be {verb}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_removal_is_refused_in_dockers_words() {
        let force = Remove { force: true, ..Remove::default() };
        let refused = |status, removing, remove| {
            let mut record = sample::record('a', "web");
            (record.state.status, record.removing) = (status, removing);
            refusal(&record, "w", remove).map(|error| error.message)
        };
        let why = |why: &str| Some(format!("cannot remove container \"w\": container is {why}"));
        let stop = |state: &str| why(&format!("{state}: stop the container before removing or force remove"));
        let twice = Some("removal of container w is already in progress".to_owned());
        for (status, removing, remove, want) in [
            (Status::Exited, false, Remove::default(), None),
            (Status::Dead, false, Remove::default(), None),
            (Status::Running, false, force, None),
            (Status::Running, false, Remove::default(), stop("running")),
            (Status::Restarting, false, Remove::default(), stop("restarting")),
            (Status::Paused, false, Remove::default(), why("paused and must be unpaused first")),
            (Status::Running, true, Remove::default(), twice.clone()),
            (Status::Exited, true, force, twice),
        ] {
            assert_eq!(refused(status, removing, remove), want, "{status:?} {removing}");
        }
    }

    #[test]
    fn what_is_being_removed_is_not_started() {
        let mut record = sample::record('a', "web");
        record.removing = true;
        let error = record.refuse_if_removed("started").unwrap_err();
        assert_eq!(error.message, "container is marked for removal and cannot be started");
        record.state.status = Status::Running;
        assert!(record.refuse_if_removed("started").is_ok());
    }
}
