//! `knarr restore`: makes a container whose processes go on from a checkpoint, and stands in for it as `run` does.

use super::checkpoint::warn_of_rootless;
use super::create::{check_terminal, no_use_for_console_socket};
use super::run::{Attendance, orphans, proxy_terminal};
use crate::caught_signals::Signals;
use crate::cli::{CriuArgs, Globals};
use crate::design::Design;
use crate::error::Result;
use crate::parent;

/// The exit status is the program's; 0 when nobody waits for it.
pub(crate) fn run(globals: &Globals, args: &CriuArgs) -> Result<i32> {
    warn_of_rootless(globals);
    let container = &args.container;
    let folders = parent::find_images(args)?;
    let design = Design::new(globals, container)?;
    if container.detach {
        check_terminal(design.plan.process.terminal, container.console_socket.is_some())?;
        parent::restore(globals, args, &design, &folders)?;
        return Ok(0);
    }
    if container.console_socket.is_some() {
        return Err(no_use_for_console_socket());
    }
    // Before the process exists, so that no signal for it is lost.
    let signals = Signals::block()?;
    let orphans = orphans(container)?;
    let mut made = parent::restore(globals, args, &design, &folders)?;
    let hooks = &design.plan.hooks;
    let terminal = proxy_terminal(&mut made, hooks)?;
    Attendance { made, signals, orphans, terminal, notify: None }.last(container, hooks)
}
