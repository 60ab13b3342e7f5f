//! `start`: opens the gate of a created container.

use crate::cli::{ContainerArgs, Globals};
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::hooks::{self, Environment, State};
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
    start_gate::open(&gate, || container.dir.remove_gate())?;
    let hooks = teardown::recorded_hooks(&container);
    hooks.and_then(|hooks| poststart(&container, &hooks)).inspect_err(|_| {
        if let Err(error) = teardown::kill_and_wait(&container) {
            log::warn(format_args!("{}", error.line()));
        }
    })
}

/// Runs the poststart hooks of a container whose program runs.
pub(super) fn poststart(container: &Container, hooks: &Hooks) -> Result<()> {
    let record = &container.record;
    let state = State {
        oci_version: spec::VERSION,
        id: &record.id,
        status: Status::Running.name(),
        pid: record.init_process_pid,
        bundle: &record.bundle().to_string_lossy(),
        annotations: &record.annotations(),
    };
    hooks::run(Stage::Poststart, hooks.of(Stage::Poststart), &state, Environment::Inherit)
}
