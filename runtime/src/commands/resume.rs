//! `knarr resume`: lets the processes of a paused container go on.

use super::denial::explain_denial;
use crate::cli::{ContainerArgs, Globals};
use crate::container::{Container, Status};
use crate::error::{Error, Result};

pub(crate) fn run(globals: &Globals, args: &ContainerArgs) -> Result<()> {
    let container = Container::find_for_change(&globals.root.path, &args.id)?;
    if container.status()? != Status::Paused {
        return Err(Error::NotPaused);
    }
    explain_denial("resume", container.cgroup().thaw().map_err(Error::from))
}
