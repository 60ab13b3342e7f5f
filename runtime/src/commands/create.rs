//! `create`: everything but the program.

use crate::cli::{CreateArgs, Globals};
use crate::design::Design;
use crate::error::{Error, Result};
use crate::parent::{self, Purpose};
use crate::plan::process::Terminal;
use crate::sealed_exe;

pub(crate) fn run(globals: &Globals, args: &CreateArgs) -> Result<()> {
    sealed_exe::ensure()?;
    let design = Design::new(globals, args)?;
    check_terminal(design.plan.process.terminal, args.console_socket.is_some())?;
    parent::make(globals, args, &design, Purpose::Create).map(drop)
}

/// A process that nobody waits for needs somebody else to hold its terminal.
pub(super) fn check_terminal(terminal: Terminal, console_socket: bool) -> Result<()> {
    match (terminal, console_socket) {
        (Terminal::New(_), false) => Err(Error::refused(
            "/process/terminal",
            "cannot allocate tty if runc will detach without setting console socket",
        )),
        (Terminal::Inherited, true) => Err(no_use_for_console_socket()),
        _ => Ok(()),
    }
}

pub(super) fn no_use_for_console_socket() -> Error {
    Error::Usage("cannot use console socket if runc will not detach or allocate tty".into())
}
