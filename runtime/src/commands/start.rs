//! `start`: opens the gate of a created container.

use std::os::fd::AsFd;

use crate::cli::{ContainerArgs, Globals};
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::hooks::{self, Environment, State};
use crate::notify_socket::Manager;
use crate::plan::hooks::{Hooks, Stage};
use crate::store::Maker;
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
    let gate = container.dir.open_gate()?;
    let manager = Manager::from_environment(globals.root.path.join(&args.id));
    let notify = manager.as_ref().map(Manager::bind).transpose()?;
    let init = container.init()?;
    let opened = || container.dir.remove_gate();
    let maker = container.dir.maker()?;
    match (&gate, &init) {
        (Some(gate), _) => start_gate::open(gate, opened)?,
        (None, Some(init)) if maker == Maker::Runc => {
            start_gate::open_of_runc(&container.dir.open_gate_of_runc()?, init.as_fd(), opened)?;
        }
        _ => return refuse("cannot start a container that has stopped"),
    }
    // A hook may well call the runtime for its own container.
    container.dir.unlock()?;
    // runc up to 1.5 has run the poststart hooks of its container when it created it.
    let hooks =
        if maker == Maker::Runc { Ok(Hooks::default()) } else { teardown::recorded_hooks(&container) };
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
