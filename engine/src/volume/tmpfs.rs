//! Options of a tmpfs: as `--mount` gives them, and put together with the defaults for the runtime.

use crate::error::{Error, Result};
use crate::wire::mount_options::TmpfsOptions;

/// What a tmpfs of a container has unless it is asked otherwise.
const DEFAULTS: [&str; 4] = ["noexec", "nosuid", "nodev", "rprivate"];

/// Flags of mount(8), each with what it is a setting of: of two settings of the same thing, the last one counts.
const FLAGS: [(&str, &str); 31] = [
    ("ro", "ro"),
    ("rw", "ro"),
    ("suid", "suid"),
    ("nosuid", "suid"),
    ("dev", "dev"),
    ("nodev", "dev"),
    ("exec", "exec"),
    ("noexec", "exec"),
    ("sync", "sync"),
    ("async", "sync"),
    ("dirsync", "dirsync"),
    ("mand", "mand"),
    ("nomand", "mand"),
    ("atime", "atime"),
    ("noatime", "atime"),
    ("diratime", "diratime"),
    ("nodiratime", "diratime"),
    ("relatime", "relatime"),
    ("norelatime", "relatime"),
    ("strictatime", "strictatime"),
    ("nostrictatime", "strictatime"),
    ("unbindable", "propagation"),
    ("runbindable", "propagation"),
    ("private", "propagation"),
    ("rprivate", "propagation"),
    ("shared", "propagation"),
    ("rshared", "propagation"),
    ("slave", "propagation"),
    ("rslave", "propagation"),
    ("bind", "propagation"),
    ("rbind", "propagation"),
];
/// Of tmpfs(5).
const VALUES: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// The options of an entry of `Mounts`, in mount(8)'s words.
pub(super) fn words(options: &TmpfsOptions, read_only: bool) -> std::result::Result<String, String> {
    let mut words = Vec::new();
    if read_only {
        words.push("ro".to_owned());
    }
    if options.mode != 0 {
        words.push(format!("mode={:o}", options.mode));
    }
    if options.size_bytes != 0 {
        words.push(format!("size={}", size(options.size_bytes)));
    }
    for option in &options.options {
        let [flag, value @ ..] = option.as_slice() else {
            return Err("invalid option array length".to_owned());
        };
        if value.len() > 1 {
            return Err("invalid option array length".to_owned());
        }
        if flag != "exec" && flag != "noexec" {
            return Err(format!("invalid option: {flag}"));
        }
        words.push(option.join("="));
    }
    Ok(words.join(","))
}

/// With the greatest unit that leaves a whole number.
fn size(bytes: i64) -> String {
    let units = [("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes % unit == 0) {
        Some((suffix, unit)) => format!("{}{suffix}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Options on top of the defaults, each thing set once.
pub(super) fn merged(asked: &str) -> Result<Vec<String>> {
    let mut options: Vec<String> = Vec::new();
    let mut settings = Vec::new();
    let asked = asked.split(',').filter(|option| !option.is_empty() && *option != "defaults");
    for option in DEFAULTS.into_iter().chain(asked).collect::<Vec<_>>().into_iter().rev() {
        let setting = setting(option).ok_or_else(|| unknown(option))?;
        if !settings.contains(&setting) {
            settings.push(setting);
            options.push(option.to_owned());
        }
    }
    options.reverse();
    Ok(options)
}

/// As Go prints a list of strings.
fn unknown(option: &str) -> Error {
    let parts: Vec<String> = option.splitn(2, '=').map(|part| format!("{part:?}")).collect();
    Error::invalid(format!("invalid tmpfs option [{}]", parts.join(" ")))
}

fn setting(option: &str) -> Option<&str> {
    if let Some((_, setting)) = FLAGS.iter().find(|(flag, _)| *flag == option) {
        return Some(setting);
    }
    let (name, _) = option.split_once('=')?;
    VALUES.contains(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_whole_units() {
        for (bytes, text) in
            [(1 << 30, "1g"), (3 << 20, "3m"), (1 << 10, "1k"), (1000, "1000"), (1025, "1025")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn the_last_setting_counts() {
        let table = [
            ("", "noexec,nosuid,nodev,rprivate"),
            ("size=1m,exec", "nosuid,nodev,rprivate,size=1m,exec"),
            ("size=1m,size=2m,rw,ro", "noexec,nosuid,nodev,rprivate,size=2m,ro"),
            ("defaults,mode=1777", "noexec,nosuid,nodev,rprivate,mode=1777"),
            ("rshared", "noexec,nosuid,nodev,rshared"),
        ];
        for (asked, options) in table {
            assert_eq!(merged(asked).unwrap().join(","), options, "{asked}");
        }
        assert_eq!(merged("size=1m,foo").unwrap_err().message, "invalid tmpfs option [\"foo\"]");
        assert_eq!(merged("foo=1").unwrap_err().message, "invalid tmpfs option [\"foo\" \"1\"]");
    }

    #[test]
    fn options_of_mounts_become_words() {
        let options = |options: &[&[&str]]| TmpfsOptions {
            options: options.iter().map(|one| one.iter().map(|word| (*word).to_owned()).collect()).collect(),
            ..TmpfsOptions::default()
        };
        assert_eq!(words(&options(&[&["exec"]]), true).unwrap(), "ro,exec");
        assert_eq!(words(&options(&[&[]]), false).unwrap_err(), "invalid option array length");
        assert_eq!(words(&options(&[&["size", "1"]]), false).unwrap_err(), "invalid option: size");
        assert_eq!(
            words(&TmpfsOptions { mode: 0o700, size_bytes: 4096, ..TmpfsOptions::default() }, false).unwrap(),
            "mode=700,size=4k"
        );
    }
}
