//! Pause and unpause.

use super::{Container, Record, Status};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::runtime::Runtime;

impl Engine {
    pub(crate) fn pause(&self, name: &str) -> Result<()> {
        let container = self.containers.find(name)?;
        let _act = container.begin_act();
        let record = container.record();
        match record.state.status {
            Status::Running => {}
            Status::Paused => {
                return Err(Error::conflict(format!("Container {} is already paused", record.id)));
            }
            Status::Restarting => {
                let why = "is restarting, wait until the container is running";
                return Err(Error::conflict(format!("Container {} {why}", record.id)));
            }
            _ => return Err(Error::conflict(format!("container {} is not running", record.id))),
        }
        self.runtime_of(&record)?.pause(&container.id)?;
        turn_status(&container, Status::Running, Status::Paused)?;
        self.events.of_container("pause", &record, &[]);
        Ok(())
    }

    pub(crate) fn unpause(&self, name: &str) -> Result<()> {
        let container = self.containers.find(name)?;
        let _act = container.begin_act();
        let record = container.record();
        if record.state.status != Status::Paused {
            return Err(Error::system(format!("Container {} is not paused", record.id)));
        }
        self.runtime_of(&record)?.resume(&container.id)?;
        turn_status(&container, Status::Paused, Status::Running)?;
        self.events.of_container("unpause", &record, &[]);
        Ok(())
    }

    pub(super) fn runtime_of(&self, record: &Record) -> Result<Runtime> {
        Runtime::named(&self.settings, &record.host_config.runtime)
    }
}

/// Its end may have come in between, and stands.
fn turn_status(container: &Container, from: Status, to: Status) -> Result<()> {
    let change = |record: &mut Record| {
        if record.state.status == from {
            record.state.status = to;
        }
    };
    container.change(change).map(drop)
}
