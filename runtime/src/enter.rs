//! `exec`: a further process in a container that runs, outside and inside. The tail of the inside is `launch`, which
//! creation uses too; the messages are those of `protocol`, from Joined on.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use knarr_cgroups::rdt::ResctrlGroup;
use knarr_cgroups::{Already, Cgroup};
use knarr_seccomp::notify;
use rustix::fs::Mode;

use crate::affinity::{self, Moment};
use crate::caught_signals::{self, Signals};
use crate::error::{Error, Result};
use crate::fds::{self, Passed};
use crate::hooks::State;
use crate::identity::Setgroups;
use crate::launch::{self, Known, Tracing};
use crate::plan::process::{ProcessPlan, Terminal};
use crate::plan::seccomp::{self as plan, Filter};
use crate::proc::{Proc, Scope};
use crate::protocol::{InitEnd, Order, ParentEnd, Report};
use crate::spawn::{self, Beside, Child};
use crate::tty::{self, Pseudoterminal};
use crate::{keyring, log, oom, rlimits, seccomp};

/// What is to run, and where. Checked; nothing is done yet.
pub(crate) struct Entry<'a> {
    pub(crate) process: &'a ProcessPlan,
    pub(crate) filter: Option<&'a Filter>,
    /// The container's state, for a seccomp agent.
    pub(crate) state: State<'a>,
    /// pidfd of the container's first process.
    pub(crate) init: OwnedFd,
    /// `CLONE_NEW*` of the namespaces the container has of its own.
    pub(crate) namespaces: i32,
    /// The container's, or one below it.
    pub(crate) cgroup: Cgroup,
    /// Whether the process is to be born in it, where that is possible.
    pub(crate) already: Already,
    /// `linux.intelRdt`'s group.
    pub(crate) rdt: Option<ResctrlGroup>,
    /// `--console-socket`, connected.
    pub(crate) console: Option<OwnedFd>,
    pub(crate) passed: Passed,
    /// Blocked for itself by a parent that waits.
    pub(crate) signals: Option<Signals>,
}

impl Entry<'_> {
    fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        if self.already == Already::Unified { self.cgroup.clone_dir() } else { None }
    }
}

/// A process that needs only to be started.
pub(crate) struct Entered {
    pub(crate) child: Child,
    pub(crate) end: ParentEnd,
    /// The master side, where no console socket took it.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Puts a process into the container, up to the point where its program would run.
pub(crate) fn enter(entry: &Entry<'_>) -> Result<Entered> {
    let agent = seccomp::prepare(entry.filter)?;
    let beside = Beside {
        init: entry.init.as_fd(),
        namespaces: entry.namespaces,
        cgroup: entry.birthplace(),
        first_private: entry.passed.first_private(),
        keep: entry.console.as_ref().map(AsFd::as_fd),
    };
    let kills = oom::kills(&entry.cgroup);
    let blame = |error, child: Option<&Child>| possibly_killed(error, child, &entry.cgroup, kills);
    let (child, end) = beside.spawn(|end| inside(entry, end)).map_err(|error| blame(error, None))?;
    match settle(entry, &child, &end).and_then(|()| serve(entry, &child, &end, agent)) {
        Ok(terminal) => Ok(Entered { child, end, terminal }),
        Err(error) => {
            let error = end.last_words().unwrap_or(error);
            let error = blame(error, Some(&child));
            child.kill_and_reap();
            Err(error)
        }
    }
}

/// Says so where the kernel may have ended the process for want of memory: somebody in the cgroup it has, meanwhile.
fn possibly_killed(error: Error, child: Option<&Child>, cgroup: &Cgroup, kills_before: u64) -> Error {
    if error.is_reported() || !oom::has_killed(child, cgroup, kills_before) {
        return error;
    }
    Error::WrongState(format!("{} (possibly OOM-killed)", error.line()))
}

/// What the outside does for the process before it may go on.
fn settle(entry: &Entry<'_>, child: &Child, end: &ParentEnd) -> Result<()> {
    let affinity = &entry.process.affinity;
    if let Some(mask) = &affinity.initial {
        affinity::set(Some(child.pid), mask, Moment::Initial)?;
        log::debug(format_args!("nsexec[{}]: affinity: {mask:#x}", child.pid.as_raw_nonzero()));
    }
    let already = if entry.birthplace().is_some() { Already::Unified } else { Already::Nowhere };
    entry.cgroup.join(child.pid, already)?;
    if let Some(group) = &entry.rdt {
        group.join(child.pid)?;
    }
    match (&affinity.last, &affinity.initial) {
        (Some(mask), _) => affinity::set(Some(child.pid), mask, Moment::Final)?,
        // The kernel keeps the caller's narrower mask inside a wider cpuset.
        (None, None) => affinity::reset(child.pid),
        (None, Some(_)) => {}
    }
    launch::set_oom_score(entry.process, child.pid)?;
    end.order(Order::Joined)
}

/// Answers the process until only execve is left.
fn serve(
    entry: &Entry<'_>,
    child: &Child,
    end: &ParentEnd,
    mut connection: Option<notify::Agent>,
) -> Result<Option<OwnedFd>> {
    let mut terminal = None;
    loop {
        match end.report()? {
            Some(Report::Terminal(master)) => terminal = Some(master),
            Some(Report::Ready) => {
                rlimits::apply(child.pid, &entry.process.rlimits)?;
                end.order(Order::Proceed)?;
            }
            Some(Report::Listener(number)) => {
                let agent = entry.filter.and_then(|filter| filter.agent.as_ref());
                if let (Some(connection), Some(agent)) = (connection.take(), agent) {
                    let child_pid = child.pid.as_raw_nonzero().get();
                    let listener = (child.pidfd.as_fd(), number);
                    seccomp::hand_over(connection, agent, listener, (child_pid, &entry.state), end)?;
                }
            }
            Some(Report::Warning(text)) => log::warn(format_args!("{text}")),
            Some(Report::Found) => return Ok(terminal),
            Some(Report::Failed(error)) => return Err(error),
            Some(Report::Built | Report::MapSource(..) | Report::Forked(_)) | None => {
                return Err(Error::WrongState("the process ended before it ran its program".into()));
            }
        }
    }
}

/// The inside, in the container's namespaces. Returns only an error.
fn inside(entry: &Entry<'_>, end: &InitEnd) -> Result<Infallible> {
    let process = entry.process;
    launch::begin()?;
    let in_user_namespace = entry.namespaces & libc::CLONE_NEWUSER != 0;
    if in_user_namespace {
        launch::become_root()?;
    }
    if let Some(warning) = process.keyring.as_ref().map(keyring::join).transpose()?.flatten() {
        log::warn(format_args!("{warning}"));
    }
    let proc = Proc::when_needed(Scope::Processes);
    open_terminal(process, entry.console.as_ref(), end)?;
    rustix::process::umask(Mode::from_raw_mode(process.umask));
    launch::set_labels(process, &proc)?;
    launch::set_attributes(process, "")?;
    let setgroups = launch::setgroups(&proc, in_user_namespace)?;
    // See init: nothing below returns, because what owned the closed descriptors would close them again.
    log::debug(format_args!("setns_init: about to exec"));
    let Err(error) = fds::close_from(entry.passed.first_private(), &[Some(end.as_fd()), log::descriptor()])
        .and_then(|()| launch_program(entry, setgroups, end));
    spawn::give_up(end, &error)
}

fn launch_program(entry: &Entry<'_>, setgroups: Setgroups, end: &InitEnd) -> Result<Infallible> {
    // See init: not before we are in the cgroup.
    end.await_order(Order::Joined)?;
    let known = Known::read(entry.process, setgroups, entry.passed);
    end.ready()?;
    end.await_order(Order::Proceed)?;
    let prepared = launch::take_identity(entry.process, known, entry.filter, Tracing::Forbidden, end)?;
    launch::outlive_parent()?;
    end.found()?;
    entry.signals.as_ref().map_or(Ok(()), Signals::unblock)?;
    end.await_order(Order::Start)?;
    caught_signals::restore_sigpipe()?;
    seccomp::install_at(plan::Moment::Last, entry.filter, Tracing::Forbidden, end)?;
    launch::execute(entry.process, &prepared)
}

fn open_terminal(process: &ProcessPlan, console: Option<&OwnedFd>, end: &InitEnd) -> Result<()> {
    let Terminal::New(size) = process.terminal else { return tty::new_session() };
    let terminal = Pseudoterminal::open()?;
    if let Some(size) = size {
        terminal.resize(size)?;
    }
    launch::hand_over(terminal, console, end)
}
