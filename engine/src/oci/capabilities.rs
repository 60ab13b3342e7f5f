//! Which capabilities a container has (moby's oci/caps).

use std::sync::OnceLock;

use oci_spec::runtime::{Capabilities, LinuxCapabilities};

use super::defaults;
use crate::error::{Error, Result};
use crate::wire::{HostConfig, Words};

/// All, by their numbers (linux/capability.h).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const ALL: &str = "ALL";

/// Those that the engine itself could have, and so may give.
fn available() -> &'static [&'static str] {
    static AVAILABLE: OnceLock<Vec<&str>> = OnceLock::new();
    AVAILABLE.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        let bounding = bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
        (0..).zip(NAMES).filter(|(number, _)| bounding & (1 << number) != 0).map(|(_, name)| name).collect()
    })
}

/// Names in capitals with `CAP_` before them; `ALL` stays.
pub(crate) fn normalize(names: Option<&Words>) -> Result<Vec<String>> {
    names.iter().flat_map(|words| &words.0).map(|name| normalize_one(name, available())).collect()
}

fn normalize_one(name: &str, available: &[&str]) -> Result<String> {
    let name = name.to_uppercase();
    if name == ALL {
        return Ok(name);
    }
    let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
    if !NAMES.contains(&name.as_str()) {
        return Err(Error::invalid(format!("unknown capability: \"{name}\"")));
    }
    if !available.contains(&name.as_str()) {
        let why = "capability not supported by your kernel or not available in the current environment";
        return Err(Error::invalid(format!("{why}: \"{name}\"")));
    }
    Ok(name)
}

/// What a container has: bounding, permitted and effective set alike.
pub(super) fn of_container(host: &HostConfig) -> Result<Vec<String>> {
    if host.privileged {
        return Ok(every());
    }
    let added = normalize(host.cap_add.as_ref())?;
    let dropped = normalize(host.cap_drop.as_ref())?;
    Ok(tweak(&added, &dropped))
}

pub(super) fn every() -> Vec<String> {
    available().iter().map(|name| (*name).to_owned()).collect()
}

fn tweak(added: &[String], dropped: &[String]) -> Vec<String> {
    let has = |list: &[String], name: &str| list.iter().any(|one| one == name);
    let without_dropped = |names: &[&str]| -> Vec<String> {
        names.iter().filter(|name| !has(dropped, name)).map(|name| (*name).to_owned()).collect()
    };
    let given = if has(added, ALL) {
        without_dropped(available())
    } else if has(dropped, ALL) {
        added.to_vec()
    } else {
        let mut names = without_dropped(&defaults::CAPABILITIES);
        names.extend_from_slice(added);
        names
    };
    let mut once = Vec::with_capacity(given.len());
    for name in given {
        if !has(&once, &name) {
            once.push(name);
        }
    }
    once
}

/// The sets of a process that keeps nothing over a change of its user.
pub(super) fn sets(names: &[String]) -> Result<LinuxCapabilities> {
    let set = names.iter().map(|name| {
        let short = name.strip_prefix("CAP_").unwrap_or(name);
        short.parse().map_err(|_| Error::system(format!("capability {name} cannot be written")))
    });
    let set: Capabilities = set.collect::<Result<_>>()?;
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(set.clone()))
        .set_effective(Some(set.clone()))
        .set_permitted(Some(set))
        .set_inheritable(None)
        .set_ambient(None);
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_are_normalised_and_checked() {
        let some = ["CAP_CHOWN", "CAP_NET_RAW"];
        for (given, expected) in [
            ("chown", Ok("CAP_CHOWN")),
            ("Cap_Chown", Ok("CAP_CHOWN")),
            ("all", Ok("ALL")),
            ("NET_RAW", Ok("CAP_NET_RAW")),
            ("CAP_FOO", Err("unknown capability: \"CAP_FOO\"")),
            ("CAP_ALL", Err("unknown capability: \"CAP_ALL\"")),
            ("", Err("unknown capability: \"CAP_\"")),
            (
                "SYS_ADMIN",
                Err(
                    "capability not supported by your kernel or not available in the current environment: \"CAP_SYS_ADMIN\"",
                ),
            ),
        ] {
            let found = normalize_one(given, &some).map_err(|error| error.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{given}");
        }
    }

    #[test]
    fn added_and_dropped() {
        let default = words(&defaults::CAPABILITIES);
        assert_eq!(tweak(&[], &[]), default);
        let without: Vec<_> = default.iter().filter(|name| *name != "CAP_MKNOD").cloned().collect();
        assert_eq!(tweak(&[], &words(&["CAP_MKNOD"])), without);
        let with: Vec<_> = default.iter().cloned().chain(words(&["CAP_SYS_TIME"])).collect();
        assert_eq!(tweak(&words(&["CAP_SYS_TIME"]), &[]), with);
        assert_eq!(tweak(&words(&["CAP_CHOWN"]), &[]), default);
        assert_eq!(tweak(&[], &words(&["ALL"])), words(&[]));
        assert_eq!(tweak(&words(&["CAP_KILL"]), &words(&["ALL"])), words(&["CAP_KILL"]));
        let all = tweak(&words(&["ALL"]), &words(&["CAP_CHOWN"]));
        assert!(!all.contains(&"CAP_CHOWN".to_owned()) && all.len() + 1 == available().len());
        // Docker's order of precedence: ALL that is added wins over ALL that is dropped.
        assert_eq!(tweak(&words(&["ALL"]), &words(&["ALL"])), every());
    }

    #[test]
    fn every_name_can_be_written() {
        let sets = sets(&words(&NAMES)).unwrap();
        let text = serde_json::to_value(sets).unwrap();
        let mut found: Vec<&str> =
            text["bounding"].as_array().unwrap().iter().filter_map(|v| v.as_str()).collect();
        let mut all = NAMES.to_vec();
        found.sort_unstable();
        all.sort_unstable();
        assert_eq!(found, all);
        assert!(text.get("ambient").is_none() && text.get("inheritable").is_none());
    }
}
