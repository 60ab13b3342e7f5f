//! `process` of config.json, checked and typed: what the first program of a container, or of an `exec`, starts with.
//!
//! Owns the program itself: arguments, environment, directory, user, terminal. The attributes that a system call
//! each sets are compiled in `process_attributes`. Rules: config.md "Process"; texts are runc's where it has one.

use std::collections::BTreeSet;
use std::ffi::CString;

use super::process_attributes as attributes;
use crate::affinity::Affinity;
use crate::capabilities::CapSets;
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::mempolicy::MemoryPolicy;
use crate::personality::Personality;
use crate::rlimits::Rlimit;
use crate::scheduler::IoPriority;
use crate::spec;
use crate::sys::attributes::SchedAttr;
use crate::tty::Size;

const DEFAULT_UMASK: u32 = 0o022;

/// All that a process is before it executes its program.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    /// `args[0]` is the program to look for; there is at least one.
    pub(crate) args: Vec<CString>,
    pub(crate) env: Environment,
    pub(crate) cwd: CString,
    pub(crate) terminal: Terminal,
    pub(crate) identity: Identity,
    pub(crate) umask: u32,
    /// `None`: all sets stay as they are.
    pub(crate) capabilities: Option<CapSets>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) no_new_privileges: bool,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) scheduler: Option<SchedAttr>,
    pub(crate) io_priority: Option<IoPriority>,
    /// For `exec` alone.
    pub(crate) affinity: Affinity,
    pub(crate) personality: Option<Personality>,
    pub(crate) memory_policy: Option<MemoryPolicy>,
    /// The profile to change to at execve.
    pub(crate) apparmor: Option<String>,
    /// The label to execute with.
    pub(crate) selinux: Option<String>,
    /// The session keyring to make or join; `None` keeps the caller's.
    pub(crate) keyring: Option<CString>,
    /// What runc lets pass with a warning.
    pub(crate) warnings: Vec<String>,
}

/// What the plan is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) process: &'a spec::Process,
    pub(crate) linux: &'a spec::Linux,
    pub(crate) support: Support,
    /// The id of the container, unless `--no-new-keyring`.
    pub(crate) keyring_for: Option<&'a str>,
}

/// What this kernel has of the things a process may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Support {
    /// The highest capability number.
    pub(crate) last_capability: u32,
    pub(crate) apparmor: bool,
    pub(crate) selinux: bool,
}

/// The environment of the program: one value per name, the last one given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `NAME=value`, in the order given. An empty `HOME` is left out.
    pub(crate) vars: Vec<CString>,
    /// Where to look for a program without a slash; empty: nowhere.
    pub(crate) path: String,
    pub(crate) home: Home,
}

/// Whether `HOME` has to be looked up inside the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Home {
    Given,
    #[default]
    Missing,
}

/// What file descriptors 0 to 2 are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// The caller's own.
    Inherited,
    /// A new pseudoterminal of the container; without a size it has none.
    New(Option<Size>),
}

impl ProcessPlan {
    /// # Errors
    /// The first rule that is broken, with the pointer of its field.
    pub(crate) fn new(given: Given<'_>) -> Result<Self> {
        let Given { process, linux, support, .. } = given;
        let mut warnings = Vec::new();
        Ok(Self {
            cwd: cwd(&process.cwd)?,
            args: args(&process.args)?,
            env: Environment::new(&process.env)?,
            terminal: terminal(process)?,
            identity: Identity {
                uid: process.user.uid,
                gid: process.user.gid,
                groups: process.user.additional_gids.clone(),
            },
            umask: umask(process.user.umask)?,
            capabilities: attributes::capabilities(process, support.last_capability, &mut warnings),
            rlimits: attributes::rlimits(&process.rlimits)?,
            no_new_privileges: process.no_new_privileges,
            oom_score_adj: attributes::oom_score_adj(process.oom_score_adj)?,
            scheduler: process.scheduler.as_ref().map(attributes::scheduler).transpose()?,
            io_priority: process.io_priority.as_ref().map(attributes::io_priority).transpose()?,
            affinity: attributes::affinity(process.exec_cpu_affinity.as_ref())?,
            personality: attributes::personality(linux.personality.as_ref(), &mut warnings)?,
            memory_policy: linux.memory_policy.as_ref().map(attributes::memory_policy).transpose()?,
            apparmor: attributes::apparmor(&process.apparmor_profile, support)?,
            selinux: attributes::selinux(&process.selinux_label, support)?,
            keyring: given.keyring_for.map(keyring).transpose()?,
            warnings,
        })
    }
}

impl Environment {
    fn new(env: &[String]) -> Result<Self> {
        let mut environment = Self::default();
        let mut seen = BTreeSet::new();
        for (index, variable) in env.iter().enumerate().rev() {
            environment.add(variable, &mut seen).map_err(|reason| {
                Error::refused(
                    format!("/process/env/{index}"),
                    format!("invalid environment variable{reason}"),
                )
            })?;
        }
        environment.vars.reverse();
        Ok(environment)
    }

    /// Adds one variable, coming from the last to the first.
    fn add<'a>(&mut self, variable: &'a str, seen: &mut BTreeSet<&'a str>) -> Result<(), String> {
        let (name, value) = variable.split_once('=').ok_or(": missing '='")?;
        if name.is_empty() {
            return Err(": name cannot be empty".into());
        }
        if !seen.insert(name) {
            return Ok(());
        }
        let text = CString::new(variable).map_err(|_| format!(" {name:?}: contains nul byte (\\x00)"))?;
        match name {
            "HOME" if value.is_empty() => return Ok(()),
            "HOME" => self.home = Home::Given,
            "PATH" => value.clone_into(&mut self.path),
            _ => {}
        }
        self.vars.push(text);
        Ok(())
    }
}

fn args(args: &[String]) -> Result<Vec<CString>> {
    if args.is_empty() {
        return Err(Error::refused("/process/args", "args must not be empty"));
    }
    args.iter().enumerate().map(|(index, arg)| c_string(arg, &format!("/process/args/{index}"))).collect()
}

fn cwd(cwd: &str) -> Result<CString> {
    match cwd {
        "" => Err(Error::refused("/process/cwd", "Cwd property must not be empty")),
        _ if !cwd.starts_with('/') => Err(Error::refused("/process/cwd", "Cwd must be an absolute path")),
        _ => c_string(cwd, "/process/cwd"),
    }
}

fn terminal(process: &spec::Process) -> Result<Terminal> {
    if !process.terminal {
        return Ok(Terminal::Inherited);
    }
    let Some(size) = process.console_size else {
        return Ok(Terminal::New(None));
    };
    let side = |name: &str, value: u64| {
        u16::try_from(value).map_err(|_| {
            let reason = format!("invalid consoleSize.{name}: {value}: must be at most 65535");
            Error::refused(format!("/process/consoleSize/{name}"), reason)
        })
    };
    let size = Size { rows: side("height", size.height)?, columns: side("width", size.width)? };
    Ok(Terminal::New((size.rows != 0 && size.columns != 0).then_some(size)))
}

fn umask(umask: Option<u32>) -> Result<u32> {
    match umask.unwrap_or(DEFAULT_UMASK) {
        umask @ 0..=0o777 => Ok(umask),
        umask => Err(Error::refused(
            "/process/user/umask",
            format!("invalid umask: {umask:#o}: must be at most 0o777"),
        )),
    }
}

/// The name by which `exec` finds the keyring again; other containers can join it too.
fn keyring(id: &str) -> Result<CString> {
    c_string(&format!("_ses.{id}"), "id")
}

fn c_string(text: &str, field: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::refused(field, format!("{text:?} contains nul byte (\\x00)")))
}

#[cfg(test)]
mod tests;
