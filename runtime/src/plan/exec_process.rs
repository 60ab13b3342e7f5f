//! The process of an `exec`: the container's own with what the flags override, or one from `--process FILE` completed
//! with the container's.

use crate::error::{Error, Result};
use crate::spec;

/// The flags of `exec` that describe the process. Absent and empty both mean "as in config.json".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExecFlags {
    pub(crate) args: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) env: Vec<String>,
    /// `--tty`; the `terminal` of config.json does not count.
    pub(crate) terminal: bool,
    pub(crate) user: Option<UserFlag>,
    pub(crate) additional_gids: Vec<u32>,
    pub(crate) process_label: String,
    pub(crate) apparmor: String,
    pub(crate) no_new_privileges: Option<bool>,
    pub(crate) capabilities: Vec<String>,
}

/// `--user UID[:GID]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserFlag {
    pub(crate) uid: u32,
    pub(crate) gid: Option<u32>,
}

impl UserFlag {
    /// Takes numbers only, and nothing after them: a name would have to be looked up in files of the container.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (uid, gid) = match text.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (text, None),
        };
        Ok(Self { uid: id(uid, "bad uid")?, gid: gid.map(|gid| id(gid, "bad gid")).transpose()? })
    }
}

impl ExecFlags {
    /// The process of config.json with the flags laid over it.
    pub(crate) fn override_process(self, mut process: spec::Process) -> Result<spec::Process> {
        if self.args.is_empty() {
            return Err(Error::Usage("exec args cannot be empty".into()));
        }
        process.args = self.args;
        process.terminal = self.terminal;
        process.env.extend(self.env);
        replace(&mut process.cwd, self.cwd);
        replace(&mut process.apparmor_profile, self.apparmor);
        replace(&mut process.selinux_label, self.process_label);
        process.no_new_privileges = self.no_new_privileges.unwrap_or(process.no_new_privileges);
        if let Some(UserFlag { uid, gid }) = self.user {
            process.user.uid = uid;
            process.user.gid = gid.unwrap_or(process.user.gid);
        }
        process.user.additional_gids.extend(self.additional_gids);
        if let Some(sets) = &mut process.capabilities {
            add_capabilities(sets, &self.capabilities);
        }
        Ok(process)
    }
}

/// A process from a file, with what it leaves out taken from the container's. `noNewPrivileges`, the environment and
/// the terminal are the file's own.
pub(crate) fn complete(mut process: spec::Process, container: &spec::Process) -> spec::Process {
    replace_if_empty(&mut process.apparmor_profile, &container.apparmor_profile);
    replace_if_empty(&mut process.selinux_label, &container.selinux_label);
    if process.rlimits.is_empty() {
        process.rlimits.clone_from(&container.rlimits);
    }
    process.capabilities = process.capabilities.or_else(|| container.capabilities.clone());
    process.scheduler = process.scheduler.or_else(|| container.scheduler.clone());
    process.io_priority = process.io_priority.or_else(|| container.io_priority.clone());
    process.exec_cpu_affinity = process.exec_cpu_affinity.or_else(|| container.exec_cpu_affinity.clone());
    process.oom_score_adj = process.oom_score_adj.or(container.oom_score_adj);
    process.user.umask = process.user.umask.or(container.user.umask);
    process
}

/// An ambient capability must be inheritable too. `--cap` does not make one inheritable, so it becomes ambient only
/// where config.json speaks of inheritable ones at all.
fn add_capabilities(sets: &mut spec::Capabilities, names: &[String]) {
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.extend_from_slice(names);
    }
    if sets.inheritable.is_some() {
        sets.ambient.extend_from_slice(names);
    }
}

fn replace(field: &mut String, flag: String) {
    if !flag.is_empty() {
        *field = flag;
    }
}

fn replace_if_empty(field: &mut String, fallback: &str) {
    if field.is_empty() {
        fallback.clone_into(field);
    }
}

fn id(text: &str, what: &str) -> Result<u32> {
    // `parse` would take a leading plus.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(id) if digits => Ok(id),
        _ => Err(Error::Usage(format!("{what}: {text:?} is not a number from 0 to 4294967295"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> spec::Process {
        spec::Process {
            args: vec!["sh".into()],
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            terminal: true,
            no_new_privileges: true,
            apparmor_profile: "docker-default".into(),
            user: spec::User { uid: 1, gid: 2, umask: Some(0o27), ..spec::User::default() },
            rlimits: vec![spec::Rlimit { kind: "RLIMIT_CORE".into(), soft: 1, hard: 2 }],
            capabilities: Some(spec::Capabilities::default()),
            oom_score_adj: Some(7),
            ..spec::Process::default()
        }
    }

    fn flags() -> ExecFlags {
        ExecFlags { args: vec!["ls".into(), "-l".into()], ..ExecFlags::default() }
    }

    #[test]
    fn flags_left_out_keep_the_config_but_for_args_and_terminal() {
        let process = flags().override_process(config()).expect("a process");
        assert_eq!(
            process,
            spec::Process { args: vec!["ls".into(), "-l".into()], terminal: false, ..config() }
        );
    }

    #[test]
    fn flags_given_win() {
        let flags = ExecFlags {
            cwd: "/tmp".into(),
            env: vec!["PATH=/sbin".into()],
            user: Some(UserFlag { uid: 5, gid: None }),
            additional_gids: vec![9],
            apparmor: "other".into(),
            no_new_privileges: Some(false),
            ..flags()
        };
        let process = flags.override_process(config()).expect("a process");
        assert_eq!((process.user.uid, process.user.gid, process.user.additional_gids), (5, 2, vec![9]));
        assert_eq!(process.env, ["PATH=/bin", "PATH=/sbin"]);
        assert_eq!((process.cwd.as_str(), process.apparmor_profile.as_str()), ("/tmp", "other"));
        assert!(!process.no_new_privileges);
    }

    #[test]
    fn a_capability_becomes_ambient_only_where_inheritable_ones_are_configured() {
        let flags = ExecFlags { capabilities: vec!["CAP_CHOWN".into()], ..flags() };
        let process = flags.clone().override_process(config()).expect("a process");
        let sets = process.capabilities.expect("sets");
        assert_eq!(sets.bounding, ["CAP_CHOWN"]);
        assert_eq!((sets.inheritable, sets.ambient.len()), (None, 0));

        let mut config = config();
        config.capabilities = Some(spec::Capabilities { inheritable: Some(vec![]), ..Default::default() });
        let sets = flags.override_process(config).expect("a process").capabilities.expect("sets");
        assert_eq!((sets.inheritable, sets.ambient), (Some(vec![]), vec!["CAP_CHOWN".into()]));
    }

    #[test]
    fn no_args_are_refused() {
        let error = ExecFlags::default().override_process(config()).expect_err("no args");
        assert_eq!(error.line(), "exec args cannot be empty");
    }

    #[test]
    fn a_file_is_completed_from_the_container() {
        let file = spec::Process { args: vec!["true".into()], cwd: "/".into(), ..Default::default() };
        let process = complete(file.clone(), &config());
        assert_eq!(process.rlimits, config().rlimits);
        assert_eq!(process.apparmor_profile, "docker-default");
        assert_eq!((process.user.uid, process.user.umask), (0, Some(0o27)));
        assert_eq!(process.oom_score_adj, Some(7));
        assert!(!process.no_new_privileges && !process.terminal && process.env.is_empty());

        let own = spec::Process { oom_score_adj: Some(0), apparmor_profile: "x".into(), ..file };
        let process = complete(own, &config());
        assert_eq!((process.oom_score_adj, process.apparmor_profile.as_str()), (Some(0), "x"));
    }

    #[test]
    fn user_flags_are_numbers() {
        let good = [
            ("0", UserFlag { uid: 0, gid: None }),
            ("1000:5", UserFlag { uid: 1000, gid: Some(5) }),
            ("4294967295:0", UserFlag { uid: u32::MAX, gid: Some(0) }),
        ];
        for (text, user) in good {
            assert_eq!(UserFlag::parse(text).expect("a user"), user);
        }
        for text in ["", "root", "-1", "+1", "1:", ":1", "1:2:3", "1 ", "0x1", "4294967296"] {
            assert!(UserFlag::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
