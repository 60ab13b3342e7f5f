//! `run`: create and start in one process, which then stands in for the container's.

use std::os::fd::OwnedFd;

use super::create::{check_terminal, no_use_for_console_socket};
use crate::cli::{CreateArgs, Globals};
use crate::error::{During, Error, Result};
use crate::foreground;
use crate::log;
use crate::parent::{self, Design, Made, Purpose};
use crate::protocol::{Order, Report};
use crate::{sealed_exe, stages, sys, teardown};

/// The exit status is the program's.
pub(crate) fn run(globals: &Globals, args: &CreateArgs) -> Result<u8> {
    sealed_exe::ensure()?;
    let design = Design::new(globals, args)?;
    if args.detach {
        check_terminal(design.plan.process.terminal, args.console_socket.is_some())?;
    } else if args.console_socket.is_some() {
        return Err(no_use_for_console_socket());
    }
    if !args.detach && !args.no_subreaper {
        sys::set_child_subreaper()?;
    }
    let made = parent::make(globals, args, &design, Purpose::Run)?;
    let started = start(&made);
    if let Err(error) = started {
        return Err(give_up(&made, error));
    }
    if args.detach {
        return Ok(0);
    }
    let Made { store, container, child, terminal, .. } = made;
    container.dir.unlock()?;
    let status = foreground::run(&child, terminal, foreground::Orphans::Reap);
    if !args.keep {
        container.dir.lock()?;
        teardown::destroy(&store, &container)?;
    }
    status
}
