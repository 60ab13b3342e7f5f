//! `knarr pause`: stops every process of a container until `resume`.

use std::path::Path;

use crate::container::{Container, Status};
use crate::error::{Error, Result};

pub(crate) fn run(root: &Path, id: &str) -> Result<()> {
    let container = Container::find_for_change(root, id)?;
    match container.status()? {
        Status::Running | Status::Created => {}
        Status::Paused | Status::Stopped => return Err(Error::NotRunning),
    }
    let cgroup = container.cgroup();
    let frozen = cgroup.freeze();
    // Half frozen is worse than not paused; the first error stays the answer.
    let undone = if frozen.is_err() { cgroup.thaw() } else { Ok(()) };
    Ok(frozen.and(undone)?)
}
