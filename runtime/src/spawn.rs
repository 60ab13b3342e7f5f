//! The clone: from the runtime's process to the container's first one, with as few processes as the kernel allows.
//!
//! One clone3(2) carries every new namespace but two: the cgroup namespace, whose root is the cgroup its maker is in
//! (init unshares it once it has been moved), and the time namespace, whose offsets must be set before anybody
//! enters (the parent makes it and leaves it again). A second process is needed only where the right to enter a
//! namespace comes from a user namespace that must be joined first, since joining a pid or time namespace takes
//! effect in children; and for `exec`, whose process must have nothing of the host when those inside first see it.

use std::convert::Infallible;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::error::{During, Error, Result};
use crate::fds;
use crate::idmap::{self, Caller};
use crate::log;
use crate::namespaces::{Target, Visit, open_targets, unshare_time};
use crate::plan::ids::Ids;
use crate::plan::namespaces::{Kind, Namespaces};
use crate::protocol::{InitEnd, Order, ParentEnd, Report, channel};
use crate::sys::{self, Named, Side};

/// A child of ours: the container's first process, or one that `exec` puts beside it.
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
}

impl Child {
    /// Ends it and takes its exit status, so that nothing is left. An error is of no use to the caller, who is on the
    /// way out with another one already: the child has been told by the closed channel too.
    pub(crate) fn kill_and_reap(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = self.reap();
    }

    fn reap(&self) -> Result<()> {
        loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(sys::Errno::INTR) => {}
                result => return Ok(result.map(drop).named(|| "waitid(child)".into())?),
            }
        }
    }
}

/// What the child is born into.
pub(crate) struct Birth<'a> {
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) ids: &'a Ids,
    pub(crate) caller: Caller,
    /// For `CLONE_INTO_CGROUP`.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
}

impl Birth<'_> {
    /// Clones; the child runs `body`, which ends in execve or in an error that is reported to the parent.
    pub(crate) fn spawn(
        &self,
        body: impl FnOnce(&InitEnd) -> Result<Infallible>,
    ) -> Result<(Child, ParentEnd)> {
        let targets = open_targets(&self.namespaces.join)?;
        let ends = channel()?;
        if self.needs_process_between() {
            self.spawn_through(targets, ends, body)
        } else {
            self.spawn_directly(targets, ends, body)
        }
    }

    fn needs_process_between(&self) -> bool {
        let new_time_without_rights = self.namespaces.is_new(Kind::Time)
            && self.namespaces.is_new(Kind::User)
            && self.caller != Caller::Privileged;
        self.namespaces.joins(Kind::User) || new_time_without_rights
    }

    fn spawn_directly(
        &self,
        targets: Vec<Target>,
        (parent_end, init_end): (ParentEnd, InitEnd),
        body: impl FnOnce(&InitEnd) -> Result<Infallible>,
    ) -> Result<(Child, ParentEnd)> {
        let (mut visit, refused) = Visit::enter(targets)?;
        if let Some(target) = refused.first() {
            return Err(target.refusal());
        }
        if self.namespaces.is_new(Kind::Time) {
            visit.new_time(&self.namespaces.clock_offsets)?;
        }
        let flags = self.namespaces.new_flags(&[Kind::Time, Kind::Cgroup]);
        match clone(flags, self.cgroup)? {
            Side::Child => {
                drop((visit, parent_end));
                run_child(&init_end, |end| {
                    self.await_mapped(end)?;
                    body(end)
                })
            }
            Side::Parent { pid, pidfd } => {
                drop(init_end);
                let child = Child { pid, pidfd };
                let settled = visit.leave().and_then(|()| self.map_ids(child.pid, &parent_end));
                settled.inspect_err(|_| child.kill_and_reap())?;
                Ok((child, parent_end))
            }
        }
    }

    fn spawn_through(
        &self,
        targets: Vec<Target>,
        (parent_end, init_end): (ParentEnd, InitEnd),
        body: impl FnOnce(&InitEnd) -> Result<Infallible>,
    ) -> Result<(Child, ParentEnd)> {
        let new_user = self.namespaces.new_flags(&[]) & Kind::User.flag();
        match clone(new_user, self.cgroup)? {
            Side::Child => {
                drop(parent_end);
                run_child(&init_end, |end| self.stand_between(targets, end, body))
            }
            Side::Parent { pid, pidfd } => {
                drop(init_end);
                let between = Child { pid, pidfd };
                let init = self.map_ids(between.pid, &parent_end).and_then(|()| receive_init(&parent_end));
                init.inspect_err(|_| between.kill_and_reap()).and_then(|init| {
                    between.reap().inspect_err(|_| init.kill_and_reap())?;
                    Ok((init, parent_end))
                })
            }
        }
    }

    /// The process in between: takes the rights of the user namespace, enters the rest, and leaves init behind as a
    /// sibling of its own.
    fn stand_between(
        &self,
        targets: Vec<Target>,
        end: &InitEnd,
        body: impl FnOnce(&InitEnd) -> Result<Infallible>,
    ) -> Result<Infallible> {
        self.await_mapped(end)?;
        hide_from_those_inside()?;
        // The host's namespaces first, while the host's rights last: never to return.
        let (_, refused) = Visit::enter(targets)?;
        let (user, rest): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|target| target.kind == Kind::User);
        user.iter().chain(&rest).try_for_each(Target::enter)?;
        if self.namespaces.is_new(Kind::Time) {
            unshare_time(&self.namespaces.clock_offsets)?;
        }
        let flags = self.namespaces.new_flags(&[Kind::User, Kind::Time, Kind::Cgroup]);
        fork_sibling(end, flags, body)
    }

    fn await_mapped(&self, end: &InitEnd) -> Result<()> {
        if self.namespaces.is_new(Kind::User) { end.await_order(Order::Mapped) } else { Ok(()) }
    }

    fn map_ids(&self, pid: Pid, end: &ParentEnd) -> Result<()> {
        if !self.namespaces.is_new(Kind::User) {
            return Ok(());
        }
        idmap::write(pid, self.ids, self.caller)?;
        end.order(Order::Mapped)
    }
}

/// Where `exec` puts a process: beside a container's first process.
pub(crate) struct Beside<'a> {
    /// Of the container's first process.
    pub(crate) init: BorrowedFd<'a>,
    /// `CLONE_NEW*` of the namespaces that the container does not share with us.
    pub(crate) namespaces: i32,
    /// For `CLONE_INTO_CGROUP`.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// The first descriptor that the program must not have.
    pub(crate) first_private: u32,
    /// What `body` needs of those all the same.
    pub(crate) keep: Option<BorrowedFd<'a>>,
}

impl Beside<'_> {
    /// Clones; the child runs `body` inside the container's namespaces.
    pub(crate) fn spawn(
        &self,
        body: impl FnOnce(&InitEnd) -> Result<Infallible>,
    ) -> Result<(Child, ParentEnd)> {
        let (parent_end, init_end) = channel()?;
        // A pid or time namespace takes effect in children. One that was born in the container's pid namespace with what
        // this process has would show the host's directories to whoever has CAP_SYS_PTRACE there: so a process that
        // nobody inside can see lets go of them and enters, and its child is born with nothing.
        let for_children = self.namespaces & (Kind::Pid.flag() | Kind::Time.flag()) != 0;
        match clone(0, self.cgroup)? {
            Side::Child => {
                drop(parent_end);
                run_child(&init_end, |end| {
                    hide_from_those_inside()?;
                    self.close_the_rest(end)?;
                    self.enter()?;
                    if for_children { fork_sibling(end, 0, body) } else { body(end) }
                })
            }
            Side::Parent { pid, pidfd } => {
                drop(init_end);
                let child = Child { pid, pidfd };
                if !for_children {
                    return Ok((child, parent_end));
                }
                let init = receive_init(&parent_end).inspect_err(|_| child.kill_and_reap())?;
                child.reap().inspect_err(|_| init.kill_and_reap())?;
                Ok((init, parent_end))
            }
        }
    }

    /// The owners of what is closed are never dropped, since the child never returns.
    fn close_the_rest(&self, end: &InitEnd) -> Result<()> {
        let keep = [Some(end.as_fd()), Some(self.init), self.keep, log::descriptor()];
        fds::close_from(self.first_private, &keep)
    }

    fn enter(&self) -> Result<()> {
        if self.namespaces == 0 {
            return Ok(());
        }
        sys::setns(self.init, self.namespaces).during(|| "join the container's namespaces".into())
    }
}

/// CVE-2016-9962: to be done before a user namespace that others are in is entered. From then on whoever has
/// CAP_SYS_PTRACE there could attach, and this process still holds the host's descriptors. What it clones inherits it.
fn hide_from_those_inside() -> Result<()> {
    Ok(sys::set_undumpable()?)
}

/// Leaves init behind as a sibling of this process, which ends.
fn fork_sibling(
    end: &InitEnd,
    flags: i32,
    body: impl FnOnce(&InitEnd) -> Result<Infallible>,
) -> Result<Infallible> {
    match clone(flags | libc::CLONE_PARENT, None)? {
        Side::Child => {
            end.await_order(Order::Adopted)?;
            body(end)
        }
        Side::Parent { pidfd, .. } => {
            end.forked(pidfd.as_fd())?;
            sys::exit_now(0)
        }
    }
}

fn clone(flags: i32, cgroup: Option<BorrowedFd<'_>>) -> Result<Side> {
    // The flags are bits; none is the sign.
    let flags = u64::from(flags.cast_unsigned());
    sys::clone3(flags, cgroup).during(|| "start the container's first process".into())
}

/// The child's whole life before execve.
fn run_child(end: &InitEnd, body: impl FnOnce(&InitEnd) -> Result<Infallible>) -> ! {
    log::debug(format_args!("nsexec container setup"));
    let Err(error) = body(end);
    give_up(end, &error)
}

/// Tells the parent what went wrong, or, when it is gone, the container's stderr; and ends this process at once, so
/// that nothing it shares with the parent is closed or flushed twice.
pub(crate) fn give_up(end: &InitEnd, error: &Error) -> ! {
    if end.failed(error).is_err() {
        // The last resort: nothing is left to report a failure to.
        let _ = writeln!(std::io::stderr(), "{}", error.line());
    }
    sys::exit_now(1)
}

/// Learns of init from the process in between.
fn receive_init(end: &ParentEnd) -> Result<Child> {
    match end.report()? {
        Some(Report::Forked(pidfd)) => {
            let init = Child { pid: pid_of(&pidfd)?, pidfd };
            end.order(Order::Adopted).inspect_err(|_| init.kill_and_reap())?;
            Ok(init)
        }
        Some(Report::Failed(error)) => Err(error),
        _ => Err(Error::WrongState("the process that joins the namespaces ended too early".into())),
    }
}

/// The pid behind a pidfd, as this process's /proc numbers it (`fdinfo`, see pidfd_open(2)).
fn pid_of(pidfd: &OwnedFd) -> Result<Pid> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(&path).named(|| format!("read {path}"))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.and_then(Pid::from_raw)
        .ok_or_else(|| Error::WrongState("the container's first process ended at once".into()))
}
