//! The tail that `create`, `run` and `exec` share: from a process in the container's namespaces to its program.

use std::convert::Infallible;
use std::ffi::CString;

use rustix::fs::Mode;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_no_new_privs, set_thread_res_gid, set_thread_res_uid};

use crate::error::{During, Error, Result};
use crate::identity::{self, Setgroups};
use crate::plan::process::{Home, ProcessPlan};
use crate::proc::Proc;
use crate::program::{self, Program};
use crate::sys::{self, Errno, Named};
use crate::{capabilities, fds, log, lsm, mempolicy, personality, scheduler, users};

/// The first acts of a process that is to enter a container.
pub(crate) fn begin() -> Result<()> {
    // The parent's death ends us until we are on record; the closed channel tells what the signal may have missed.
    sys::set_parent_death_signal(libc::SIGKILL)?;
    // CVE-2016-9962: what shares our pid namespace must not trace us or read our descriptors.
    sys::set_undumpable()?;
    // Every file the runtime makes has the mode it asks for.
    rustix::process::umask(Mode::empty());
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
    Ok(())
}

/// The attributes that one system call each sets, and that survive execve.
pub(crate) fn set_attributes(process: &ProcessPlan, cpus: &str) -> Result<()> {
    if process.no_new_privileges {
        set_no_new_privs(true).named(|| "prctl(PR_SET_NO_NEW_PRIVS, 1)".into())?;
    }
    if let Some(attr) = &process.scheduler {
        scheduler::set_policy(attr, cpus)?;
    }
    process.io_priority.map_or(Ok(()), scheduler::set_io_priority)?;
    process.personality.map_or(Ok(()), personality::set)?;
    process.memory_policy.as_ref().map_or(Ok(()), mempolicy::set)
}

/// Takes on labels, ids and capabilities, and finds the program as the one who will run it. The order is the
/// kernel's: each step needs a privilege that a later one drops.
pub(crate) fn take_identity(process: &ProcessPlan, proc: &Proc, setgroups: Setgroups) -> Result<Prepared> {
    if let Some(label) = &process.selinux {
        lsm::set_selinux_exec(proc, label)?;
    }
    // As root first: a directory that only root may enter is fine. What only the user may enter comes below.
    let entered = enter_cwd(process);
    let home = match process.env.home {
        Home::Given => None,
        Home::Missing => Some(users::home(process.identity.uid)?),
    };
    if let Some(sets) = &process.capabilities {
        capabilities::drop_bounding(sets.bounding)?;
        capabilities::keep()?;
    }
    fds::own_stdio(process.identity.uid)?;
    identity::apply(&process.identity, setgroups)?;
    match entered {
        Err(Error::Sys(sys::Error { errno: Errno::ACCESS, .. })) => enter_cwd(process),
        other => other,
    }
    .during(|| format!("chdir to cwd ({:?}) set in config.json failed", process.cwd))?;
    verify_cwd()?;
    if let Some(sets) = &process.capabilities {
        for warning in capabilities::apply(sets)? {
            log::warn(format_args!("{warning}"));
        }
    }
    let program = program::find(&process.args[0], &process.env.path)?;
    Ok(Prepared { program, env: environment(process, home) })
}

/// All that execve needs.
pub(crate) struct Prepared {
    program: Program,
    env: Vec<CString>,
}

fn environment(process: &ProcessPlan, home: Option<CString>) -> Vec<CString> {
    process.env.vars.iter().cloned().chain(home).collect()
}

fn enter_cwd(process: &ProcessPlan) -> Result<()> {
    let path = process.cwd.to_string_lossy();
    rustix::process::chdir(process.cwd.as_c_str()).named(|| format!("chdir {path}"))?;
    Ok(())
}

/// CVE-2024-21626: a working directory outside the root has no path inside it.
fn verify_cwd() -> Result<()> {
    let refuse = || Error::refused("/process/cwd", "current working directory is outside of container mount namespace root");
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) if path.as_bytes().starts_with(b"/") => Ok(()),
        Ok(_) | Err(Errno::NOENT) => Err(refuse()),
        Err(errno) => Err(errno).named(|| "getcwd()".into()).map_err(Error::from),
    }
}

/// The end of this program: execve. Returns only an error.
pub(crate) fn execute(process: &ProcessPlan, prepared: &Prepared) -> Result<Infallible> {
    Err(prepared.program.execute(&process.args, &prepared.env))
}
