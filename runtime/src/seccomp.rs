//! Puts a compiled filter on the process, and hands its listener to the agent.
//!
//! A filtered process cannot tell the agent itself: its own calls may wait for that agent already. So the child says
//! the number of the listener with write(2), the one call that no profile may send to an agent, and the parent fetches
//! it (pidfd_getfd(2), Linux 5.6), lets the child go on, and sends it.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use knarr_seccomp::notify;

use crate::error::Result;
use crate::hooks::State;
use crate::launch::Tracing;
use crate::log;
use crate::plan::seccomp::{Agent, Filter, Moment};
use crate::protocol::{InitEnd, Order, ParentEnd};
use crate::sys;

/// Parent, before anything exists: what would fail later is asked for now. The connection is for [`hand_over`].
pub(crate) fn prepare(filter: Option<&Filter>) -> Result<Option<notify::Agent>> {
    let Some(Filter { program, agent, .. }) = filter else { return Ok(None) };
    program.check_kernel()?;
    log::debug(format_args!("seccomp filter flags: {}", program.flags()));
    for name in program.unknown() {
        log::debug(format_args!("unknown seccomp syscall {name:?} ignored"));
    }
    Ok(agent.as_ref().map(|agent| notify::Agent::connect(&agent.path)).transpose()?)
}

/// Child: installs the filter if this is its moment.
pub(crate) fn install_at(
    moment: Moment,
    filter: Option<&Filter>,
    tracing: Tracing,
    end: &InitEnd,
) -> Result<()> {
    let Some(filter) = filter.filter(|filter| filter.moment == moment) else { return Ok(()) };
    // A parent without privileges may not take the listener from a process that it could not trace.
    if filter.agent.is_some() && tracing == Tracing::Harmless {
        sys::set_dumpable()?;
    }
    if let Some(listener) = filter.program.install()? {
        end.listener(listener.as_raw_fd())?;
        end.await_order(Order::ListenerTaken)?;
    }
    Ok(())
}

/// Parent: takes the listener `number` of the child behind `pidfd` to the agent, with the container's state.
pub(crate) fn hand_over(
    connection: notify::Agent,
    agent: &Agent,
    (pidfd, number): (BorrowedFd<'_>, i32),
    (pid, state): (i32, &State<'_>),
    end: &ParentEnd,
) -> Result<()> {
    let listener: OwnedFd = sys::pidfd_getfd(pidfd, number)?;
    // At once: the agent may be asked about the very call by which the child reads this.
    end.order(Order::ListenerTaken)?;
    let message = notify::ProcessState::new(state.oci_version, pid, &agent.metadata, state);
    Ok(connection.send(&message, std::os::fd::AsFd::as_fd(&listener))?)
}
