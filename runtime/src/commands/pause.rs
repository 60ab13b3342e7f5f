//! `knarr pause`: stops every process of a container until `resume`.

use super::denial::explain_denial;
use crate::cli::{ContainerArgs, Globals};
use crate::container::{Container, Status};
use crate::error::{Error, Result};

pub(crate) fn run(globals: &Globals, args: &ContainerArgs) -> Result<()> {
    let container = Container::find_for_change(&globals.root.path, &args.id)?;
    match container.status()? {
        Status::Running | Status::Created => {
            explain_denial("pause", container.cgroup().freeze().map_err(Error::from))
        }
        Status::Paused | Status::Stopped => Err(Error::NotRunning),
    }
}
