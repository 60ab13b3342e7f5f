//! `start`: opens the gate of a created container.

use crate::cli::{ContainerArgs, Globals};
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::start_gate;
use crate::stages;

pub(crate) fn run(globals: &Globals, args: &ContainerArgs) -> Result<()> {
    let container = Container::find_for_change(&globals.root.path, &args.id)?;
    let refuse = |text: &str| Err(Error::WrongState(text.into()));
    match container.status()? {
        Status::Created => {}
        Status::Stopped => return refuse("cannot start a container that has stopped"),
        Status::Running => return refuse("cannot start an already running container"),
        Status::Paused => return refuse("cannot start a container in the paused state"),
    }
    let Some(gate) = container.dir.open_gate()? else {
        return refuse("cannot start a container that has stopped");
    };
    start_gate::open(&gate, || container.dir.remove_gate())?;
    stages::poststart(&container)
}
