//! Processes of a container: the first one, and those of exec.

use std::io::Read as _;
use std::os::fd::BorrowedFd;

use oci_spec::runtime::{Box as Size, BoxBuilder, Process, User};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::{Security, Spec, capabilities, defaults, mounts, resources, user};
use crate::container::Record;
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::wire::{ExecCreate, HostConfig};

/// The first process.
pub(super) fn of_start(spec: &Spec<'_>, security: &Security, hostname: &str) -> Result<Process> {
    let (record, host) = (spec.record, &spec.record.host_config);
    let mut process = common(record, security)?;
    let own = [record.path.clone()].into_iter().chain(record.args.iter().cloned());
    let args = if has_init(host, spec.settings) {
        [mounts::INIT, "--"].map(str::to_owned).into_iter().chain(own).collect()
    } else {
        own.collect()
    };
    let size = Some(host.console_size).filter(|_| record.config.tty);
    let environment = merge(environment(hostname, record.config.tty.into()), record.config.env.as_deref());
    process
        .set_terminal(Some(record.config.tty))
        .set_console_size(console(size)?)
        .set_args(Some(args))
        .set_env(Some(environment))
        .set_cwd(directory(&record.config.working_dir))
        .set_user(user(spec.root, &record.config.user, host)?)
        .set_capabilities(Some(capabilities::sets(&capabilities::of_container(host)?)?));
    Ok(process)
}

/// A process beside the first one. `root` is the container's as it is now.
pub(crate) fn process(
    record: &Record,
    asked: &ExecCreate,
    console_size: Option<[u32; 2]>,
    root: BorrowedFd<'_>,
) -> Result<Process> {
    let host = &record.host_config;
    let security = Security::parse(host)?;
    let mut process = common(record, &security)?;
    if asked.cmd.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    let hostname = match record.config.hostname.as_str() {
        "" => own_hostname(root),
        name => name.to_owned(),
    };
    let environment = merge(environment(&hostname, asked.tty.into()), record.config.env.as_deref());
    let environment = merge(environment, Some(&asked.env));
    let who = if asked.user.is_empty() { &record.config.user } else { &asked.user };
    let cwd = if asked.working_dir.is_empty() { &record.config.working_dir } else { &asked.working_dir };
    let names = if asked.privileged { capabilities::every() } else { capabilities::of_container(host)? };
    let size = console_size.or(asked.console_size).filter(|_| asked.tty);
    process
        .set_terminal(Some(asked.tty))
        .set_console_size(console(size)?)
        .set_args(Some(asked.cmd.clone()))
        .set_env(Some(environment))
        .set_cwd(directory(cwd))
        .set_user(user(root, who, host)?)
        .set_capabilities(Some(capabilities::sets(&names)?));
    Ok(process)
}

/// What all processes of a container have in common.
fn common(record: &Record, security: &Security) -> Result<Process> {
    let host = &record.host_config;
    let score = i32::try_from(host.oom_score_adj).map_err(|_| {
        Error::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ))
    })?;
    let rlimits = resources::rlimits(host.ulimits.as_deref())?;
    let mut process = Process::default();
    process
        .set_no_new_privileges(Some(security.no_new_privileges))
        .set_apparmor_profile(security.apparmor.clone())
        .set_selinux_label(None)
        .set_oom_score_adj(Some(score))
        .set_rlimits(Some(rlimits).filter(|list| !list.is_empty()));
    Ok(process)
}

/// A process that reaps has a use only where it is the first of its namespace.
pub(super) fn has_init(host: &HostConfig, settings: &Settings) -> bool {
    host.init.unwrap_or(settings.init_by_default) && host.pid_mode.is_empty()
}

fn directory(path: &str) -> std::path::PathBuf {
    if path.is_empty() { "/" } else { path }.into()
}

/// Rows and columns; 0 of both is none.
fn console(size: Option<[u32; 2]>) -> Result<Option<Size>> {
    let Some([rows, columns]) = size.filter(|size| *size != [0; 2]) else { return Ok(None) };
    let size = BoxBuilder::default().height(rows).width(columns).build();
    size.map(Some).map_err(Error::system)
}

fn user(root: BorrowedFd<'_>, name: &str, host: &HostConfig) -> Result<User> {
    let found = user::look_up(root, name, host.group_add.as_deref().unwrap_or_default())?;
    let mut user = User::default();
    user.set_uid(found.uid).set_gid(found.gid).set_additional_gids(Some(found.groups));
    Ok(user)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminal {
    Yes,
    No,
}

impl From<bool> for Terminal {
    fn from(there: bool) -> Self {
        if there { Self::Yes } else { Self::No }
    }
}

/// What Docker puts into every environment.
fn environment(hostname: &str, terminal: Terminal) -> Vec<String> {
    let mut list = vec![defaults::PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if terminal == Terminal::Yes {
        list.push("TERM=xterm".to_owned());
    }
    list
}

/// Puts variables above others. A name without a value takes the variable away.
fn merge(mut below: Vec<String>, above: Option<&[String]>) -> Vec<String> {
    fn name(variable: &str) -> &str {
        variable.split_once('=').map_or(variable, |(name, _)| name)
    }
    for variable in above.unwrap_or_default() {
        let place = below.iter().position(|other| name(other) == name(variable));
        match (place, variable.contains('=')) {
            (Some(place), true) => variable.clone_into(&mut below[place]),
            (Some(place), false) => drop(below.remove(place)),
            (None, true) => below.push(variable.clone()),
            (None, false) => {}
        }
    }
    below
}

/// The name that a container has from the one whose network it shares.
fn own_hostname(root: BorrowedFd<'_>) -> String {
    const LONGEST: u64 = 256;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut text = String::new();
    if let Ok(file) = openat2(root, "etc/hostname", flags, Mode::empty(), resolve) {
        // A name that cannot be read is none.
        let _ = std::fs::File::from(file).take(LONGEST).read_to_string(&mut text);
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn variables_replace_add_and_take_away() {
        let below = words(&["PATH=/bin", "HOSTNAME=h", "TERM=xterm"]);
        for (above, expected) in [
            (&[][..], &["PATH=/bin", "HOSTNAME=h", "TERM=xterm"][..]),
            (&["A=b"], &["PATH=/bin", "HOSTNAME=h", "TERM=xterm", "A=b"]),
            (&["PATH=/usr", "A=b", "A=c"], &["PATH=/usr", "HOSTNAME=h", "TERM=xterm", "A=c"]),
            (&["TERM", "NOT_THERE"], &["PATH=/bin", "HOSTNAME=h"]),
            (&["HOSTNAME="], &["PATH=/bin", "HOSTNAME=", "TERM=xterm"]),
            (&["A=b=c"], &["PATH=/bin", "HOSTNAME=h", "TERM=xterm", "A=b=c"]),
        ] {
            assert_eq!(merge(below.clone(), Some(&words(above))), expected, "{above:?}");
        }
    }

    #[test]
    fn init_needs_a_namespace_of_its_own() {
        let host = |init, pid_mode: &str| HostConfig {
            init,
            pid_mode: pid_mode.to_owned(),
            ..HostConfig::default()
        };
        let mut settings = Settings::new(std::path::Path::new("/"));
        for (host, expected) in [
            (host(Some(true), ""), true),
            (host(Some(true), "host"), false),
            (host(Some(true), "container:x"), false),
            (host(Some(false), ""), false),
            (host(None, ""), false),
        ] {
            assert_eq!(has_init(&host, &settings), expected);
        }
        settings.init_by_default = true;
        for (host, expected) in
            [(host(None, ""), true), (host(None, "host"), false), (host(Some(false), ""), false)]
        {
            assert_eq!(has_init(&host, &settings), expected);
        }
    }
}
