//! What `knarr doctor` finds: one [`Check`] for each thing a container needs or can do without, each by a trial and none by
//! a version number. docs/kernel-features.md lists what the trials are about.

mod cgroups;
mod host;
mod kernel;

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde::Serialize;

use crate::error::Error;
use crate::hint;
use crate::sys::{self, Errno, Named as _, Side};

/// Ordered from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    /// Something else does instead.
    Fallback,
    /// Only what asks for it fails.
    Missing,
    /// No container can be made.
    Broken,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) status: Status,
    /// What the trial showed.
    pub(crate) found: String,
    /// What follows from that; empty when all is well.
    pub(crate) effect: &'static str,
    /// What to do; empty when all is well or nothing is known.
    pub(crate) advice: String,
}

/// Everything that was looked at. `root` is the directory of the states.
pub(crate) fn examine(root: &Path) -> Vec<Check> {
    let mut checks = kernel::checks();
    checks.extend(cgroups::checks());
    checks.extend(host::checks(root));
    checks
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), effect: "", advice: String::new() }
    }

    /// From the outcome of a trial: what was found, or why not, and what follows from that.
    fn of<T: Into<String>, E: Into<Error>>(
        name: &'static str,
        tried: Result<T, E>,
        otherwise: (Status, &'static str),
    ) -> Self {
        match tried {
            Ok(found) => Self::ok(name, found),
            Err(error) => Self::failed(name, &error.into(), otherwise),
        }
    }

    fn failed(name: &'static str, error: &Error, (status, effect): (Status, &'static str)) -> Self {
        let advice = hint::of(error).unwrap_or_default();
        Self { name, status, found: error.line(), effect, advice }
    }

    /// Replaces an advice that nobody gave.
    fn advise(mut self, advice: &str) -> Self {
        if self.status > Status::Ok && self.advice.is_empty() {
            advice.clone_into(&mut self.advice);
        }
        self
    }
}

/// The same trial in a child that has new namespaces or another cgroup, so that nothing of it stays.
fn in_child(
    flags: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
    trial: &dyn Fn() -> sys::Result<()>,
) -> sys::Result<()> {
    match sys::clone3(flags.unsigned_abs().into(), cgroup)? {
        Side::Child => sys::exit_now(trial().map_or_else(|error| error.errno.raw_os_error(), |()| 0)),
        Side::Parent { pidfd, .. } => {
            let id = WaitId::PidFd(pidfd.as_fd());
            let ended = sys::retry(|| waitid(id.clone(), WaitIdOptions::EXITED)).named(|| "waitid".into())?;
            match ended.and_then(|ended| ended.exit_status()) {
                Some(0) => Ok(()),
                Some(errno) => {
                    Err(sys::Error { call: "not here".into(), errno: Errno::from_raw_os_error(errno) })
                }
                None => Err(sys::Error { call: "a child that was killed".into(), errno: Errno::INTR }),
            }
        }
    }
}

/// What the caller has to add to make other namespaces: nothing, or a user namespace around them.
fn around() -> libc::c_int {
    if rustix::process::geteuid().is_root() { 0 } else { libc::CLONE_NEWUSER }
}

/// A setting of the kernel, trimmed; none where there is no such setting.
fn setting(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// A name that no container of this machine has.
fn own_name() -> String {
    format!("knarr-doctor-{}", std::process::id())
}
