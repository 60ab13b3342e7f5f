//! Writes the id maps of a new user namespace from outside (user_namespaces(7)).

use std::process::{Command, Stdio};

use rustix::process::Pid;

use crate::error::{During, Error, Result};
use crate::plan::ids::{Ids, Map};
use crate::sys::Named;

/// What the caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// CAP_SETUID and CAP_SETGID in the parent user namespace: any map, in one write.
    Privileged,
    /// Its own ids only; more with the set-user-ID helpers newuidmap(1) and newgidmap(1).
    Unprivileged { uid: u32, gid: u32 },
}

/// Writes both maps for process `pid`, which waits for them.
pub(crate) fn write(pid: Pid, ids: &Ids, caller: Caller) -> Result<()> {
    match caller {
        Caller::Privileged => {
            write_file(pid, "uid_map", &ids.uid_map.lines())?;
            write_file(pid, "gid_map", &ids.gid_map.lines())
        }
        Caller::Unprivileged { uid, gid } => {
            if is_own_id(&ids.uid_map, uid) {
                write_file(pid, "uid_map", &ids.uid_map.lines())?;
            } else {
                run_helper("newuidmap", pid, &ids.uid_map)?;
            }
            if is_own_id(&ids.gid_map, gid) {
                // CVE-2014-8989: dropping a group must not widen rights, so setgroups(2) goes first.
                write_file(pid, "setgroups", "deny")?;
                write_file(pid, "gid_map", &ids.gid_map.lines())
            } else {
                run_helper("newgidmap", pid, &ids.gid_map)
            }
        }
    }
}

fn is_own_id(map: &Map, id: u32) -> bool {
    matches!(map.0.as_slice(), [range] if range.host == id && range.size == 1)
}

fn write_file(pid: Pid, name: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{}/{name}", pid.as_raw_nonzero());
    std::fs::write(&path, text)
        .named(|| format!("write {:?} to {path}", text.trim_end()))
        .during(|| "map the ids of the user namespace".into())
}

fn run_helper(name: &str, pid: Pid, map: &Map) -> Result<()> {
    let mut command = Command::new(name);
    command.arg(pid.as_raw_nonzero().to_string());
    for range in &map.0 {
        command.args([range.container, range.host, range.size].map(|number| number.to_string()));
    }
    let output = command.stdin(Stdio::null()).output().named(|| format!("run {name}")).during(|| {
        format!(
            "map the ids of the user namespace: {name} (package uidmap) is needed for more than one's own id"
        )
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::WrongState(format!("map the ids of the user namespace: {name}: {}", said.trim())))
}
