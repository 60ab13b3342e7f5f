//! `--security-opt`: what it says, and what of it this host can do.

use super::Host;
use crate::error::{Error, Kind, Result};
use crate::wire::HostConfig;

/// The options of a container, each at most once: the last one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Security {
    pub(super) no_new_privileges: bool,
    /// None: as the container is privileged.
    pub(super) writable_cgroups: Option<bool>,
    /// `unconfined`, `builtin`, or a profile's text; empty: the default.
    pub(super) seccomp: String,
    /// A profile that the host has loaded.
    pub(super) apparmor: Option<String>,
}

impl Security {
    pub(crate) fn parse(host: &HostConfig) -> Result<Self> {
        let mut security = Self::default();
        for option in host.security_opt.iter().flatten() {
            security.take(option, Host::get())?;
        }
        Ok(security)
    }

    fn take(&mut self, option: &str, host: &Host) -> Result<()> {
        let bad = |number| Error::invalid(format!("invalid --security-opt {number}: {option:?}"));
        match option {
            "no-new-privileges" => self.no_new_privileges = true,
            "writable-cgroups" => self.writable_cgroups = Some(true),
            "disable" => {}
            _ => {
                // A colon is what old clients write.
                let split =
                    if option.contains('=') { option.split_once('=') } else { option.split_once(':') };
                let (name, value) = split.ok_or_else(|| bad(1))?;
                match name {
                    "no-new-privileges" => self.no_new_privileges = boolean(value).ok_or_else(|| bad(2))?,
                    "writable-cgroups" => self.writable_cgroups = Some(boolean(value).ok_or_else(|| bad(2))?),
                    "seccomp" => value.clone_into(&mut self.seccomp),
                    "apparmor" => self.apparmor = apparmor(value, host)?,
                    "label" => label(value)?,
                    // `systempaths` as well, of which clients make masked and read-only paths.
                    _ => return Err(bad(2)),
                }
            }
        }
        Ok(())
    }
}

/// As Go's `ParseBool` reads it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn apparmor(profile: &str, host: &Host) -> Result<Option<String>> {
    match profile {
        "" | "unconfined" if !host.apparmor => Ok(None),
        "" => Ok(None),
        "unconfined" => Ok(Some(profile.to_owned())),
        _ if !host.apparmor => {
            let why = format!("apparmor={profile}: AppArmor is not enabled on this host");
            Err(Error::new(Kind::InvalidParameter, why))
        }
        _ => Ok(Some(profile.to_owned())),
    }
}

/// SELinux labels are not given: a container has none, which is what `disable` asks for.
fn label(value: &str) -> Result<()> {
    let known = ["user", "role", "type", "level", "filetype", "nested"];
    if value == "disable" {
        return Ok(());
    }
    match value.split_once(':').map(|(name, _)| name) {
        Some(name) if known.contains(&name) => {
            Err(Error::not_implemented(format!("label={value}: SELinux labels are not supported")))
        }
        Some(name) => {
            let list = "disable, filetype, level, nested, role, type, user";
            Err(Error::invalid(format!("bad label option {name:?}, valid options are one of {list}")))
        }
        None => {
            Err(Error::invalid(format!("bad label option {value:?}, valid options 'disable' or name:value")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str], apparmor: bool) -> Result<Security> {
        let mut security = Security::default();
        let host = Host { apparmor, ..Host::default() };
        options.iter().try_for_each(|option| security.take(option, &host)).map(|()| security)
    }

    #[test]
    fn options_as_docker_reads_them() {
        let base = Security::default;
        for (options, expected) in [
            (&["no-new-privileges"][..], Security { no_new_privileges: true, ..base() }),
            (&["no-new-privileges:true"], Security { no_new_privileges: true, ..base() }),
            (&["no-new-privileges=true", "no-new-privileges=0"], base()),
            (&["writable-cgroups=false"], Security { writable_cgroups: Some(false), ..base() }),
            (&["seccomp=unconfined"], Security { seccomp: "unconfined".into(), ..base() }),
            (&["seccomp:unconfined"], Security { seccomp: "unconfined".into(), ..base() }),
            (&["seccomp={\"a\":1}"], Security { seccomp: "{\"a\":1}".into(), ..base() }),
            (&["label=disable", "disable", "label:disable"], base()),
            (&["apparmor=unconfined"], base()),
        ] {
            assert_eq!(parse(options, false).unwrap(), expected, "{options:?}");
        }
        let mine = parse(&["apparmor=mine"], true).unwrap();
        assert_eq!(mine.apparmor.as_deref(), Some("mine"));
    }

    #[test]
    fn what_is_refused() {
        for (option, text) in [
            ("nonsense", "invalid --security-opt 1: \"nonsense\""),
            ("non=sense", "invalid --security-opt 2: \"non=sense\""),
            ("no-new-privileges=maybe", "invalid --security-opt 2: \"no-new-privileges=maybe\""),
            ("apparmor=mine", "apparmor=mine: AppArmor is not enabled on this host"),
            ("label=type:x", "label=type:x: SELinux labels are not supported"),
            ("label=x", "bad label option \"x\", valid options 'disable' or name:value"),
        ] {
            assert_eq!(parse(&[option], false).unwrap_err().message, text);
        }
    }
}
