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
use crate::protocol::ParentEnd;
use crate::terminal_proxy::TerminalProxy;
use crate::{log, sealed_exe, sys, teardown};

/// The exit status is the program's; 0 when nobody waits for it.
pub(crate) fn run(globals: &Globals, args: &CreateArgs) -> Result<i32> {
    sealed_exe::ensure()?;
    let design = Design::new(globals, args)?;
    if args.detach {
        check_terminal(design.plan.process.terminal, args.console_socket.is_some())?;
        let (made, end) = parent::make(globals, args, &design, Purpose::Run(None))?;
        let notify = bind_notify(&made, &design)?;
        start(&made, &end, &design.plan.hooks)?;
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
    let orphans = orphans(args)?;
    let (mut made, end) = parent::make(globals, args, &design, Purpose::Run(Some(&signals)))?;
    let notify = bind_notify(&made, &design)?;
    // Before the program writes its first line.
    let terminal = proxy_terminal(&mut made, &design.plan.hooks)?;
    start(&made, &end, &design.plan.hooks)?;
    Attendance { made, signals, orphans, terminal, notify }.last(args, &design.plan.hooks)
}

/// What becomes of orphans is settled before there are any.
pub(super) fn orphans(args: &CreateArgs) -> Result<Orphans> {
    if args.no_subreaper {
        return Ok(Orphans::Leave);
    }
    sys::set_child_subreaper()?;
    Ok(Orphans::Reap)
}

/// Takes the caller's terminal for the container's.
pub(super) fn proxy_terminal(made: &mut Made, hooks: &Hooks) -> Result<Option<TerminalProxy>> {
    let terminal = made.terminal.take().map(TerminalProxy::new).transpose();
    terminal.inspect_err(|_| give_up(made, hooks))
}

/// A container that runs, and what this process does for it meanwhile.
pub(super) struct Attendance {
    pub(super) made: Made,
    pub(super) signals: Signals,
    pub(super) orphans: Orphans,
    pub(super) terminal: Option<TerminalProxy>,
    pub(super) notify: Option<NotifySocket>,
}

impl Attendance {
    /// Returns the program's exit status when it has ended and the container is deleted.
    pub(super) fn last(self, args: &CreateArgs, hooks: &Hooks) -> Result<i32> {
        let Self { made, signals, orphans, terminal, notify } = self;
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
            teardown::destroy_with(&made.store, &made.container, hooks)?;
        }
        // The process ends now, and the kernel closes what is open.
        std::mem::forget((made, signals));
        status
    }
}

fn bind_notify(made: &Made, design: &Design) -> Result<Option<NotifySocket>> {
    let socket = design.manager.as_ref().map(Manager::bind).transpose();
    socket.inspect_err(|_| give_up(made, &design.plan.hooks))
}

/// Lets the program run. One that cannot run, or whose poststart hooks fail, leaves no container.
fn start(made: &Made, end: &ParentEnd, hooks: &Hooks) -> Result<()> {
    let started = end.start().and_then(|()| poststart(&made.container, hooks));
    started.inspect_err(|_| give_up(made, hooks))
}

/// What is left is removed; the error that led here stays the answer.
fn give_up(made: &Made, hooks: &Hooks) {
    made.child.kill_and_reap();
    if let Err(error) = teardown::destroy_with(&made.store, &made.container, hooks) {
        log::warn(format_args!("{}", error.line()));
    }
}
