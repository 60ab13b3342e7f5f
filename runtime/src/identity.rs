//! The user a process runs as (credentials(7)): supplementary groups, then group, then user, as each step needs the
//! privilege that the next one drops.
//!
//! The raw calls change the calling thread alone, which is the whole process here.

use rustix::process::{Gid, Uid};
use rustix::thread::{set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid};

use crate::error::{Error, Result};
use crate::sys::{Errno, Named as _};

/// Ids as the container sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups; the ones of the runtime are always dropped.
    pub(crate) groups: Vec<u32>,
}

/// Whether the user namespace lets its processes call setgroups(2) (`user_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setgroups {
    Allow,
    Deny,
}

/// Makes the caller run as `identity`. Without the "keep capabilities" flag, leaving uid 0 drops all capabilities.
pub(crate) fn apply(identity: &Identity, setgroups: Setgroups) -> Result<()> {
    if setgroups == Setgroups::Allow {
        let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
        set_thread_groups(&groups).named(|| format!("setgroups({:?})", identity.groups))?;
    }
    set_gid(identity.gid)?;
    set_uid(identity.uid)
}

/// Forbids the caller, for good, to gain privileges by execve (`PR_SET_NO_NEW_PRIVS`).
pub(crate) fn forbid_new_privileges() -> Result<()> {
    set_no_new_privs(true).named(|| "prctl(SET_NO_NEW_PRIVS)".into())?;
    Ok(())
}

fn set_gid(gid: u32) -> Result<()> {
    match set_thread_gid(Gid::from_raw(gid)) {
        Err(Errno::INVAL) => Err(Error::refused(
            "/process/user/gid",
            format!("cannot setgid to unmapped gid {gid} in user namespace"),
        )),
        result => Ok(result.named(|| format!("setgid({gid})"))?),
    }
}

fn set_uid(uid: u32) -> Result<()> {
    match set_thread_uid(Uid::from_raw(uid)) {
        Err(Errno::INVAL) => Err(Error::refused(
            "/process/user/uid",
            format!("cannot setuid to unmapped uid {uid} in user namespace"),
        )),
        result => Ok(result.named(|| format!("setuid({uid})"))?),
    }
}
