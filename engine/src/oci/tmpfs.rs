//! Options of a tmpfs: Docker's defaults below the user's, each thing once.

use crate::error::{Error, Result};

const DEFAULTS: [&str; 4] = ["noexec", "nosuid", "nodev", "rprivate"];

/// Options by what they decide: a later one replaces an earlier one of its row.
const FLAGS: [&[&str]; 12] = [
    &["ro", "rw"],
    &["suid", "nosuid"],
    &["dev", "nodev"],
    &["exec", "noexec"],
    &["sync", "async"],
    &["dirsync"],
    &["mand", "nomand"],
    &["atime", "noatime"],
    &["diratime", "nodiratime"],
    &["relatime", "norelatime"],
    &["strictatime", "nostrictatime"],
    &[
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "unbindable",
        "runbindable",
        "bind",
        "rbind",
    ],
];
const VALUES: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// The options of a mount whose user asked for these, separated by commas.
pub(super) fn options(asked: &str) -> Result<Vec<String>> {
    let asked = asked.split(',').filter(|option| !option.is_empty() && *option != "defaults");
    let mut merged: Vec<(&str, &str)> = Vec::new();
    for option in DEFAULTS.into_iter().chain(asked) {
        let key = key(option).ok_or_else(|| Error::invalid(format!("invalid tmpfs option \"{option}\"")))?;
        merged.retain(|(other, _)| *other != key);
        merged.push((key, option));
    }
    Ok(merged.into_iter().map(|(_, option)| option.to_owned()).collect())
}

/// What an option decides.
fn key(option: &str) -> Option<&str> {
    if let Some(row) = FLAGS.iter().find(|row| row.contains(&option)) {
        return row.first().copied();
    }
    option.split_once('=').map(|(name, _)| name).filter(|name| VALUES.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_options_replace_the_defaults() {
        for (asked, expected) in [
            ("", "noexec,nosuid,nodev,rprivate"),
            ("size=64m,mode=1777", "noexec,nosuid,nodev,rprivate,size=64m,mode=1777"),
            ("exec,rw", "nosuid,nodev,rprivate,exec,rw"),
            ("noexec,exec,size=1,size=2", "nosuid,nodev,rprivate,exec,size=2"),
            ("shared,defaults", "noexec,nosuid,nodev,shared"),
        ] {
            assert_eq!(options(asked).unwrap().join(","), expected, "{asked}");
        }
        for asked in ["sizes=1", "nonsense", "context=x", "remount", "=1"] {
            assert_eq!(options(asked).unwrap_err().message, format!("invalid tmpfs option \"{asked}\""));
        }
    }
}
