//! `knarr checkpoint`: dumps a container, and deletes it unless it is to go on.

use crate::cli::{CriuArgs, Globals};
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::{checkpoint, log, teardown};

pub(crate) fn run(globals: &Globals, args: &CriuArgs) -> Result<()> {
    warn_of_rootless(globals);
    let (root, id) = (&globals.root.path, &args.container.id);
    let container = Container::find_for_change(root, id)?;
    let status = container.status()?;
    if matches!(status, Status::Created | Status::Stopped) {
        let text = format!("Container cannot be checkpointed in {} state", status.name());
        return Err(Error::WrongState(text));
    }
    checkpoint::dump(&container, &root.join(id), args)?;
    if args.leave_running || args.pre_dump {
        return Ok(());
    }
    // The images are good, whatever is left of the container.
    let destroyed =
        teardown::kill_and_wait(&container).and_then(|()| teardown::destroy(&Store::open(root)?, &container));
    destroyed.unwrap_or_else(|error| log::warn(format_args!("{}", error.line())));
    Ok(())
}

pub(super) fn warn_of_rootless(globals: &Globals) {
    if globals.rootless() {
        log::warn(format_args!("runc checkpoint is untested with rootless containers"));
    }
}
