//! The end of a container: its processes, its cgroup, its directory.

use std::time::{Duration, Instant};

use crate::container::Container;
use crate::error::{During as _, Error, Result};
use crate::store::Store;

/// How long a killed process may take to end: it may have to wait for a disk, or give back much memory.
const LAST_BREATH: Duration = Duration::from_secs(10);

/// Kills the container's processes and waits until the first one has ended.
pub(crate) fn kill_and_wait(container: &Container) -> Result<()> {
    let init = container.init()?;
    let killed = container.signal(libc::SIGKILL);
    if killed.is_err() && container.init()?.is_some() {
        // A failed teardown must not leave the rest frozen; the first error stays the answer.
        return killed.and(container.thaw());
    }
    match init {
        Some(init) if !init.wait_exit(Instant::now() + LAST_BREATH)? => Err(Error::StillRunning),
        _ => Ok(()),
    }
}

/// Removes everything a container without a first process still has.
///
/// While its cgroup cannot be removed the directory stays, so that the removal can be tried again by name.
pub(crate) fn destroy(store: &Store, container: &Container) -> Result<()> {
    remove(store, container).during(|| "unable to destroy container".into())
}

fn remove(store: &Store, container: &Container) -> Result<()> {
    let cgroup = container.cgroup();
    // With a pid namespace of its own the kernel has killed the others; without a recorded process nobody has.
    let leftovers = container.record.init().is_none() || !container.record.has_own_pid_namespace();
    let killed = if leftovers {
        cgroup.kill(rustix::process::Signal::KILL)
    } else {
        Ok(())
    };
    let thawed = container.thaw();
    let deleted = cgroup.delete();
    killed.during(|| "unable to kill the container's processes".into())?;
    thawed.during(|| "unable to thaw container's cgroup".into())?;
    deleted.during(|| "unable to remove container's cgroup".into())?;
    store
        .remove(&container.dir)
        .during(|| "unable to remove container state dir".into())
}
