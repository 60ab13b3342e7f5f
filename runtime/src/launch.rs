//! The tail that `create`, `run` and `exec` share: from a process in the container's namespaces to its program.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::process::{Gid, Pid, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::error::Result;
use crate::fds::Passed;
use crate::identity::{self, Setgroups};
use crate::plan::process::{Home, ProcessPlan};
use crate::plan::seccomp::{Filter, Moment};
use crate::proc::{Proc, Scope};
use crate::protocol::InitEnd;
use crate::sys::{self, Named};
use crate::tty::Pseudoterminal;
use crate::working_directory::{self, Entered};
use crate::{
    capabilities, fds, log, lsm, mempolicy, oom_score, personality, program, scheduler, seccomp, users,
};

/// Whether a process that is to enter a container may be traced once it has nothing of the host any more, which a user
/// without privileges needs: to enter a container that waits, and to take over a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracing {
    /// Somebody else is in its namespaces and could make use of it, or nobody needs it.
    Forbidden,
    /// Nobody but the user is there.
    Harmless,
}

/// The first acts of a process that is to enter a container.
pub(crate) fn begin() -> Result<()> {
    log::debug(format_args!("child process in init()"));
    guard()
}

/// What a change of ids takes back (prctl(2)), so that it is to be said again after one.
fn guard() -> Result<()> {
    // The parent's death ends us until we are on record; the closed channel tells what the signal may have missed.
    sys::set_parent_death_signal(libc::SIGKILL)?;
    // CVE-2016-9962: what shares our pid namespace must not trace us or read our descriptors.
    sys::set_undumpable()?;
    Ok(())
}

/// From here on the parent may go.
pub(crate) fn outlive_parent() -> Result<()> {
    Ok(sys::set_parent_death_signal(0)?)
}

/// Becomes the root of the user namespace just entered: until then this process has its rights, but an id outside its
/// maps, which owns what it makes.
pub(crate) fn become_root() -> Result<()> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    set_thread_res_gid(gid, gid, gid).named(|| "setresgid(0, 0, 0)".into())?;
    set_thread_res_uid(uid, uid, uid).named(|| "setresuid(0, 0, 0)".into())?;
    guard()
}

/// The labels that the program will have.
pub(crate) fn set_labels(process: &ProcessPlan, proc: &Proc) -> Result<()> {
    if let Some(profile) = &process.apparmor {
        lsm::set_apparmor_profile(proc, profile)?;
    }
    if let Some(label) = &process.selinux {
        lsm::set_selinux_label(proc, label)?;
    }
    Ok(())
}

/// From outside: lowering the score needs a capability of the initial user namespace.
pub(crate) fn set_oom_score(process: &ProcessPlan, pid: Pid) -> Result<()> {
    let Some(score) = process.oom_score_adj else { return Ok(()) };
    if let Some(warning) = oom_score::set(&Proc::open(Scope::Processes)?, pid, score)? {
        log::warn(format_args!("{warning}"));
    }
    Ok(())
}

/// The master goes to the console socket, or to the parent; the slave becomes stdio.
pub(crate) fn hand_over(terminal: Pseudoterminal, console: Option<&OwnedFd>, end: &InitEnd) -> Result<()> {
    match console {
        Some(socket) => terminal.send_master(socket.as_fd())?,
        None => end.terminal(terminal.master())?,
    }
    terminal.become_stdio()
}

/// The attributes that one system call each sets, and that survive execve.
pub(crate) fn set_attributes(process: &ProcessPlan, cpus: &str) -> Result<()> {
    if process.no_new_privileges {
        identity::forbid_new_privileges()?;
    }
    if let Some(attr) = &process.scheduler {
        scheduler::set_policy(attr, cpus)?;
    }
    process.io_priority.map_or(Ok(()), scheduler::set_io_priority)?;
    process.personality.map_or(Ok(()), personality::set)?;
    process.memory_policy.as_ref().map_or(Ok(()), mempolicy::set)
}

/// What execve needs, found as the user who will run it.
pub(crate) struct Prepared {
    program: CString,
    env: Vec<CString>,
}

impl Prepared {
    /// Name and value of each variable, for hooks that inherit the process's environment.
    pub(crate) fn variables(&self) -> Vec<(OsString, OsString)> {
        let split = |entry: &CString| {
            let bytes = entry.as_bytes();
            let equals = bytes.iter().position(|byte| *byte == b'=')?;
            let string = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
            Some((string(&bytes[..equals]), string(&bytes[equals + 1..])))
        };
        self.env.iter().filter_map(split).collect()
    }
}

/// What the last steps need from files: their limits may leave no descriptor to open one with.
pub(crate) struct Known {
    setgroups: Setgroups,
    env: Vec<CString>,
}

impl Known {
    /// Reads a file of the image: no descriptor of the host may be open any more, whose number a link could name.
    pub(crate) fn read(process: &ProcessPlan, setgroups: Setgroups, passed: Passed) -> Self {
        Self { setgroups, env: environment(process, passed) }
    }
}

/// A user namespace mapped by an unprivileged user forbids supplementary groups.
pub(crate) fn setgroups(proc: &Proc, user_namespace: bool) -> Result<Setgroups> {
    let denied = user_namespace && proc.read_own("setgroups")?.trim_ascii() == b"deny";
    Ok(if denied { Setgroups::Deny } else { Setgroups::Allow })
}

/// Takes on labels, ids and capabilities, and finds the program. The order is the kernel's: each step needs a
/// privilege that a later one drops.
pub(crate) fn take_identity(
    process: &ProcessPlan,
    known: Known,
    filter: Option<&Filter>,
    tracing: Tracing,
    end: &InitEnd,
) -> Result<Prepared> {
    seccomp::install_at(Moment::WithPrivileges, filter, tracing, end)?;
    // As root first: a directory that only root may enter is fine. What only the user may enter comes below.
    let entered = working_directory::try_enter(&process.cwd)?;
    if let Some(sets) = &process.capabilities {
        capabilities::drop_bounding(sets)?;
        // Root that stays root keeps them anyway.
        if process.identity.uid != 0 {
            capabilities::keep()?;
        }
    }
    fds::own_stdio(process.identity.uid)?;
    identity::apply(&process.identity, known.setgroups)?;
    if entered == Entered::NotYet {
        working_directory::enter(&process.cwd)?;
    }
    working_directory::verify()?;
    if let Some(sets) = &process.capabilities {
        for warning in capabilities::apply(sets)? {
            end.warning(&warning)?;
        }
    }
    let program = program::find(&process.args[0], &process.env.path)?;
    seccomp::install_at(Moment::WhenFound, filter, tracing, end)?;
    Ok(Prepared { program, env: known.env })
}

/// The configured variables, what systemd's sockets need, and HOME where it is missing.
fn environment(process: &ProcessPlan, passed: Passed) -> Vec<CString> {
    let mut env = process.env.vars.clone();
    env.extend(passed.environment().into_iter().filter_map(|variable| CString::new(variable).ok()));
    if process.env.home == Home::Missing {
        let (home, warning) = users::home(process.identity.uid);
        if let Some(warning) = warning {
            log::debug(format_args!("{warning}"));
        }
        let variable = [b"HOME=", home.as_bytes()].concat();
        env.extend(CString::new(variable).ok());
    }
    env
}

/// The end of this program: execve. Returns only an error. What this program ignores, execve would hand on: SIGPIPE is
/// restored before, and before the filter where it can be, which then needs to allow nothing but execve.
pub(crate) fn execute(process: &ProcessPlan, prepared: &Prepared) -> Result<Infallible> {
    Err(program::execute(&prepared.program, &process.args, &prepared.env))
}
