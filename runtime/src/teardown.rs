//! The end of a container: its processes, its cgroup, its directory, its poststop hooks.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Deserialize;

use crate::container::{Container, Status};
use crate::error::{During as _, Error, Result};
use crate::hooks::{self, State};
use crate::plan::hooks::{Hooks, Stage};
use crate::process_id::Process;
use crate::store::Store;
use crate::{log, resctrl, spec};

/// How long a killed process may take to end: it may have to wait for a disk, or give back much memory.
const LAST_BREATH: Duration = Duration::from_secs(10);

/// Kills the container's processes and waits until the first one has ended.
pub(crate) fn kill_and_wait(container: &Container) -> Result<()> {
    let Some(init) = container.init()? else {
        return Ok(());
    };
    let killed = kill_all(container, &init);
    let patience = if killed.is_ok() { LAST_BREATH } else { Duration::ZERO };
    match (init.wait_exit(Instant::now() + patience)?, killed) {
        // It may have ended by itself before the signal came.
        (true, _) => Ok(()),
        (false, Ok(())) => Err(Error::StillRunning),
        // A failed teardown must not leave the rest frozen; the first error stays the answer.
        (false, failed) => failed.and(container.thaw()),
    }
}

fn kill_all(container: &Container, init: &Process) -> Result<()> {
    // The first process may have left the cgroup, and where it shares a pid namespace the others do not follow it.
    let killed = container.signal_init(init, libc::SIGKILL);
    if container.record.has_own_pid_namespace() {
        return killed;
    }
    killed.and(container.cgroup().kill(Signal::KILL).map_err(Error::from))
}

/// Removes everything a container without a first process still has, then runs its poststop hooks.
///
/// While its cgroup cannot be removed the directory stays, so that the removal can be tried again by name. Hooks that
/// fail are warnings, as runtime.md asks: nothing is left that they could keep.
pub(crate) fn destroy(store: &Store, container: &Container) -> Result<()> {
    // The hooks are read before their file goes; a damaged file is reported once everything is gone.
    let hooks = recorded_hooks(container);
    remove(store, container)?;
    run_poststop(container, &hooks?)
}

/// The same where the hooks are known.
pub(crate) fn destroy_with(store: &Store, container: &Container, hooks: &Hooks) -> Result<()> {
    remove(store, container)?;
    run_poststop(container, hooks)
}

fn remove(store: &Store, container: &Container) -> Result<()> {
    remove_all(store, container).during(|| "unable to destroy container".into())
}

fn remove_all(store: &Store, container: &Container) -> Result<()> {
    let cgroup = container.cgroup();
    // With a pid namespace of its own the kernel has killed the others; without a recorded process nobody has.
    let leftovers = container.record.init().is_none() || !container.record.has_own_pid_namespace();
    let killed = if leftovers { cgroup.kill(Signal::KILL) } else { Ok(()) };
    let deleted = cgroup.delete();
    // What is still there is at least not left frozen.
    let thawed = if deleted.is_err() { cgroup.thaw() } else { Ok(()) };
    killed.during(|| "unable to kill the container's processes".into())?;
    deleted.and(thawed).during(|| "unable to remove container's cgroup".into())?;
    if let Some((group, _)) = resctrl::group_of(container)? {
        group.delete().during(|| "unable to remove container's IntelRDT group".into())?;
    }
    store.remove(&container.dir).during(|| "unable to remove container state dir".into())
}

/// The hooks that the container was created with.
pub(crate) fn recorded_hooks(container: &Container) -> Result<Hooks> {
    /// Of the configuration only what is needed: the rest is skipped unread.
    #[derive(Deserialize)]
    struct Config {
        hooks: Option<spec::Hooks>,
    }
    let hooks = match container.dir.read_config()? {
        Some(json) => {
            let what = || format!("read the configuration of container {}", container.dir.id());
            spec::parse::<Config>(&json).map_err(|source| Error::Json { what: what(), source })?.hooks
        }
        None => Some(container.record.hooks_of_runc()),
    };
    Hooks::plan(hooks.as_ref())
}

fn run_poststop(container: &Container, hooks: &Hooks) -> Result<()> {
    let record = &container.record;
    let state = State {
        oci_version: spec::VERSION,
        id: &record.id,
        status: Status::Stopped.name(),
        pid: 0,
        bundle: record.bundle().to_string_lossy(),
        annotations: &record.annotations(),
    };
    for error in hooks::run_all(Stage::Poststop, hooks.of(Stage::Poststop), &state)? {
        log::warn(format_args!("{}", error.line()));
    }
    Ok(())
}
