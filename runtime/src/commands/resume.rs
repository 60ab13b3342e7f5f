//! `knarr resume`: lets the processes of a paused container go on.

use std::path::Path;

use crate::container::{Container, Status};
use crate::error::{Error, Result};

pub(crate) fn run(root: &Path, id: &str) -> Result<()> {
    let container = Container::find_for_change(root, id)?;
    if container.status()? != Status::Paused {
        return Err(Error::NotPaused);
    }
    Ok(container.cgroup().thaw()?)
}
