//! `start`: opens the gate of a created container.

use std::os::fd::AsFd;

use crate::cli::{ContainerArgs, Globals};
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::hooks::{self, Environment, State};
use crate::notify_socket::Manager;
use crate::plan::hooks::{Hooks, Stage};
use crate::{log, spec, start_gate, teardown};

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
    let manager = Manager::from_environment(globals.root.path.join(&args.id));
    let notify = manager.as_ref().map(Manager::bind).transpose()?;
    let init = container.init()?;
    start_gate::open(&gate, || container.dir.remove_gate())?;
    // A hook may well call the runtime for its own container.
    container.dir.unlock()?;
    let hooks = teardown::recorded_hooks(&container);
    hooks.and_then(|hooks| poststart(&container, &hooks)).inspect_err(|_| {
        if let Err(error) = teardown::kill_and_wait(&container) {
            log::warn(format_args!("{}", error.line()));
        }
    })?;
    if let (Some(notify), Some((pid, init))) = (notify, container.record.init().map(|id| id.pid).zip(init)) {
        notify.serve_until_ready(pid, init.as_fd())?;
    }
    Ok(())
}

/// Runs the poststart hooks of a container whose program runs.
pub(super) fn poststart(container: &Container, hooks: &Hooks) -> Result<()> {
    let record = &container.record;
    let state = State {
        oci_version: spec::VERSION,
        id: &record.id,
        status: Status::Running.name(),
        pid: record.init_process_pid,
        bundle: record.bundle().to_string_lossy(),
        annotations: &record.annotations(),
    };
    hooks::run(Stage::Poststart, hooks.of(Stage::Poststart), &state, Environment::Inherit)
}
