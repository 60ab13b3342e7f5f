//! The arguments of `exec`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::create::{parse_fd_count, path};
use super::flag::Flag;
use super::scan::Stop;
use super::verb::{Count, Manual, Verb};
use crate::error::{Error, Result};

/// What is not given comes from the container's own `process`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExecArgs {
    pub(crate) id: String,
    /// The program and its arguments; empty is right only with `process`.
    pub(crate) args: Vec<String>,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// Empty: not given, as the next three.
    pub(crate) cwd: String,
    pub(crate) process_label: String,
    pub(crate) apparmor: String,
    /// `uid[:gid]`.
    pub(crate) user: String,
    pub(crate) env: Vec<String>,
    pub(crate) tty: bool,
    pub(crate) additional_gids: Vec<u32>,
    /// A whole `process` in a file, in place of everything about the program here.
    pub(crate) process: Option<PathBuf>,
    pub(crate) detach: bool,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) no_new_privs: Option<bool>,
    pub(crate) caps: Vec<String>,
    pub(crate) preserve_fds: u32,
    cgroups: Vec<String>,
    pub(crate) ignore_paused: bool,
}

impl ExecArgs {
    /// The sub-cgroups to join, by controller (cgroup v1), or one with an empty controller (cgroup v2).
    pub(crate) fn sub_cgroups(&self) -> Result<BTreeMap<String, String>> {
        let mut paths = BTreeMap::new();
        for given in &self.cgroups {
            let Some((controllers, path)) = given.split_once(':') else {
                if self.cgroups.len() != 1 {
                    let why = format!("invalid --cgroup argument: {given} (missing <controller>: prefix)");
                    return Err(Error::Usage(why));
                }
                paths.insert(String::new(), given.clone());
                continue;
            };
            for controller in controllers.split(',') {
                if controller.is_empty() {
                    let why = format!("invalid --cgroup argument: {given} (empty <controller> prefix)");
                    return Err(Error::Usage(why));
                }
                if paths.insert(controller.to_owned(), path.to_owned()).is_some() {
                    let why = format!(
                        "invalid --cgroup argument(s): controller {controller} specified multiple times"
                    );
                    return Err(Error::Usage(why));
                }
            }
        }
        Ok(paths)
    }
}

pub(super) const EXEC: Verb<ExecArgs> = Verb {
    manual: Manual {
        name: "exec",
        summary: "execute new process inside the container",
        arguments: "<container-id> <command> [command options]  || -p process.json <container-id>",
        about: "Flags stand before the container's id; all that follows it is the program's.",
    },
    flags: &[FLAGS],
    count: Count::AtLeast(1),
    stop: Stop::AfterFirst,
    take: |args, positional| {
        args.id = positional[0].into();
        args.args = positional[1..].iter().map(|&word| word.into()).collect();
    },
};

const FLAGS: &[Flag<ExecArgs>] = &[
    Flag::text(
        &["console-socket"],
        |a, text| a.console_socket = path(text),
        "unix socket that gets the master end of the program's terminal",
    ),
    Flag::text(
        &["pidfd-socket"],
        |a, text| a.pidfd_socket = path(text),
        "unix socket that gets a pidfd of the program",
    ),
    Flag::text(&["cwd"], |a, text| a.cwd = text.into(), "working directory, in the container"),
    Flag::text(&["env", "e"], |a, text| a.env.push(text.into()), "set NAME=value; may be repeated"),
    Flag::switch(&["tty", "t"], |a, on| a.tty = on, "give the program a terminal"),
    Flag::text(&["user", "u"], |a, text| a.user = text.into(), "ids to run as: uid[:gid]"),
    Flag::parsed(
        &["additional-gids", "g"],
        |a, text| parse_gid(text).map(|gid| a.additional_gids.push(gid)),
        "one more group id; may be repeated",
    ),
    Flag::text(&["process", "p"], |a, text| a.process = path(text), "file with a JSON process object"),
    Flag::switch(&["detach", "d"], |a, on| a.detach = on, "do not wait for the program"),
    Flag::text(&["pid-file"], |a, text| a.pid_file = path(text), "file to write the process id to"),
    Flag::text(&["process-label"], |a, text| a.process_label = text.into(), "SELinux label of the program"),
    Flag::text(&["apparmor"], |a, text| a.apparmor = text.into(), "AppArmor profile of the program"),
    Flag::switch(
        &["no-new-privs"],
        |a, on| a.no_new_privs = Some(on),
        "forbid the program to gain privileges by executing another",
    ),
    Flag::text(&["cap", "c"], |a, text| a.caps.push(text.into()), "add a capability; may be repeated"),
    Flag::parsed(
        &["preserve-fds"],
        |a, text| parse_fd_count(text).map(|n| a.preserve_fds = n),
        "pass this many more descriptors to the program, after stdio and $LISTEN_FDS (default: 0)",
    ),
    Flag::text(
        &["cgroup"],
        |a, text| a.cgroups.push(text.into()),
        "run in an existing sub-cgroup, [controller[,controller]:]path; may be repeated",
    ),
    Flag::switch(
        &["ignore-paused"],
        |a, on| a.ignore_paused = on,
        "do it even if the container is paused; the program then runs once it is resumed",
    ),
];

fn parse_gid(text: &str) -> Result<u32, String> {
    if text.starts_with('-') {
        return Err(format!("additional-gids must be a positive number {text}"));
    }
    text.parse().map_err(|error: std::num::ParseIntError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cgroups(cgroups: &[&str]) -> Result<BTreeMap<String, String>> {
        let cgroups = cgroups.iter().map(|&cgroup| cgroup.into()).collect();
        ExecArgs { cgroups, ..ExecArgs::default() }.sub_cgroups()
    }

    #[test]
    fn sub_cgroups_are_one_path_or_one_per_controller() {
        assert_eq!(with_cgroups(&[]).unwrap(), BTreeMap::new());
        assert_eq!(with_cgroups(&["a/b"]).unwrap(), BTreeMap::from([(String::new(), "a/b".into())]));
        let paths = with_cgroups(&["cpu,cpuacct:x", "memory:y:z"]).unwrap();
        assert_eq!(paths.len(), 3);
        assert_eq!((paths["cpuacct"].as_str(), paths["memory"].as_str()), ("x", "y:z"));
        for (cgroups, text) in [
            (vec!["a", "b"], "invalid --cgroup argument: a (missing <controller>: prefix)"),
            (vec!["cpu,:a"], "invalid --cgroup argument: cpu,:a (empty <controller> prefix)"),
            (vec!["cpu:a", "cpu:b"], "invalid --cgroup argument(s): controller cpu specified multiple times"),
        ] {
            assert_eq!(with_cgroups(&cgroups).unwrap_err().line(), text);
        }
    }
}
