//! `run`: create and start in one process, which then stands in for the container's.

use std::os::fd::AsFd;

use super::create::{check_terminal, no_use_for_console_socket};
use super::start::poststart;
use crate::caught_signals::Signals;
use crate::cli::{CreateArgs, Globals};
use crate::design::Design;
use crate::error::Result;
use crate::foreground::{Foreground, Orphans};
use crate::notify_socket::{Manager, NotifySocket};
use crate::parent::{self, Made, Purpose};
use crate::plan::hooks::Hooks;
use crate::terminal_proxy::TerminalProxy;
use crate::{log, sealed_exe, sys, teardown};

/// The exit status is the program's; 0 when nobody waits for it.
pub(crate) fn run(globals: &Globals, args: &CreateArgs) -> Result<i32> {
    sealed_exe::ensure()?;
    let design = Design::new(globals, args)?;
    if args.detach {
        check_terminal(design.plan.process.terminal, args.console_socket.is_some())?;
        let made = parent::make(globals, args, &design, Purpose::Run(None))?;
        let notify = bind_notify(&made, &design)?;
        start(&made, &design.plan.hooks)?;
        if let Some(notify) = notify {
            notify.serve_until_ready(made.child.pid, made.child.pidfd.as_fd())?;
        }
        return Ok(0);
    }
    if args.console_socket.is_some() {
        return Err(no_use_for_console_socket());
    }
    // Before the process exists, so that no signal for it is lost.
    let signals = Signals::block()?;
    let orphans = if args.no_subreaper { Orphans::Leave } else { Orphans::Reap };
    if orphans == Orphans::Reap {
        sys::set_child_subreaper()?;
    }
    let mut made = parent::make(globals, args, &design, Purpose::Run(Some(&signals)))?;
    let notify = bind_notify(&made, &design)?;
    // Before the program writes its first line.
    let terminal = made.terminal.take().map(TerminalProxy::new).transpose();
    let terminal = terminal.inspect_err(|_| give_up(&made, &design.plan.hooks))?;
    start(&made, &design.plan.hooks)?;
    made.container.dir.unlock()?;
    let foreground = Foreground {
        pid: made.child.pid,
        pidfd: made.child.pidfd.as_fd(),
        signals: &signals,
        orphans,
        terminal,
        notify,
    };
    let status = foreground.wait();
    if !args.keep {
        made.container.dir.lock()?;
        teardown::destroy_with(&made.store, &made.container, &design.plan.hooks)?;
    }
    // The process ends now, and the kernel closes what is open.
    std::mem::forget((made, signals));
    status
}

fn bind_notify(made: &Made, design: &Design) -> Result<Option<NotifySocket>> {
    let socket = design.manager.as_ref().map(Manager::bind).transpose();
    socket.inspect_err(|_| give_up(made, &design.plan.hooks))
}

/// Lets the program run. One that cannot run, or whose poststart hooks fail, leaves no container.
fn start(made: &Made, hooks: &Hooks) -> Result<()> {
    let started = made.end.start().and_then(|()| poststart(&made.container, hooks));
    started.inspect_err(|_| give_up(made, hooks))
}

/// What is left is removed; the error that led here stays the answer.
fn give_up(made: &Made, hooks: &Hooks) {
    made.child.kill_and_reap();
    if let Err(error) = teardown::destroy_with(&made.store, &made.container, hooks) {
        log::warn(format_args!("{}", error.line()));
    }
}
