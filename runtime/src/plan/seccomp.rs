//! `linux.seccomp`, compiled (config-linux.md, Seccomp), and when its filter goes on.

use knarr_seccomp::{Profile, Program};

use crate::error::{Error, Result};

/// A filter, ready to be installed.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) program: Program,
    pub(crate) moment: Moment,
    /// Where the listener goes, when the filter has one.
    pub(crate) agent: Option<Agent>,
}

/// What is said to the agent, and where it is.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) path: String,
    pub(crate) metadata: String,
}

/// The kernel takes a filter from who has CAP_SYS_ADMIN or has given up new privileges for good (seccomp(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Without noNewPrivileges: while there are capabilities, so the profile must allow the calls that drop them.
    WithPrivileges,
    /// Late, with a listener: as long as the parent is there to hand it over.
    WhenFound,
    /// As late as can be: only execve, and startContainer hooks, come after.
    Last,
}

impl Filter {
    /// None where the profile does nothing.
    pub(crate) fn plan(profile: Option<&Profile>, no_new_privileges: bool) -> Result<Option<Self>> {
        let Some(profile) = profile.filter(|profile| !profile.is_disabled()) else { return Ok(None) };
        let program = knarr_seccomp::compile(profile).map_err(|error| refused(&error))?;
        let agent = program.wants_listener().then(|| Agent {
            path: profile.listener_path.clone(),
            metadata: profile.listener_metadata.clone(),
        });
        let moment = match (no_new_privileges, &agent) {
            (false, _) => Moment::WithPrivileges,
            (true, Some(_)) => Moment::WhenFound,
            (true, None) => Moment::Last,
        };
        Ok(Some(Self { program, moment, agent }))
    }
}

/// What a profile is refused for begins with the field.
fn refused(error: &knarr_seccomp::Error) -> Error {
    let text = error.to_string();
    let field = text.split(": ").next().unwrap_or_default();
    let pointer = format!("/{}", field.replace(['.', '['], "/").replace(']', ""));
    Error::refused(pointer, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(json: &str, no_new_privileges: bool) -> Option<Moment> {
        let profile: Profile = serde_json::from_str(json).unwrap();
        Filter::plan(Some(&profile), no_new_privileges).unwrap().map(|filter| filter.moment)
    }

    #[test]
    fn the_moment_follows_from_privileges_and_listener() {
        let plain =
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["kill"],"action":"SCMP_ACT_ERRNO"}]}"#;
        let listening = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent",
            "syscalls":[{"names":["kill"],"action":"SCMP_ACT_NOTIFY"}]}"#;
        assert_eq!(moment(plain, false), Some(Moment::WithPrivileges));
        assert_eq!(moment(plain, true), Some(Moment::Last));
        assert_eq!(moment(listening, false), Some(Moment::WithPrivileges));
        assert_eq!(moment(listening, true), Some(Moment::WhenFound));
    }

    #[test]
    fn an_empty_profile_is_none() {
        assert_eq!(moment("{}", true), None);
        assert!(Filter::plan(None, true).unwrap().is_none());
    }

    #[test]
    fn the_field_of_a_bad_profile_is_a_pointer() {
        for (json, field) in [
            (r#"{"defaultAction":"?"}"#, "/linux/seccomp/defaultAction"),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_LOG",
                    "args":[{"index":0,"op":"?"}]}]}"#,
                "/linux/seccomp/syscalls/0/args/0/op",
            ),
        ] {
            let profile: Profile = serde_json::from_str(json).unwrap();
            assert_eq!(Filter::plan(Some(&profile), true).unwrap_err().field(), Some(field));
        }
    }
}
