//! Devices of a container: nodes below its /dev, and the rules of what it may do to which device.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType as Kind};

use super::defaults;
use crate::error::{Error, Result};
use crate::wire::{DeviceMapping, HostConfig};

/// What is below /dev and belongs to the container's own mounts, or to tools of the host.
const NOT_DEVICES: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

pub(super) struct Devices {
    pub(super) nodes: Vec<LinuxDevice>,
    pub(super) rules: Vec<LinuxDeviceCgroup>,
}

/// A rule as `--device-cgroup-rule` has it: `c 1:3 rwm`, with `*` for any number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    kind: Kind,
    major: Option<i64>,
    minor: Option<i64>,
    access: String,
}

impl Rule {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| Error::invalid(format!("invalid {what}device cgroup rule format: '{text}'"));
        let words: Vec<&str> = text.split(' ').collect();
        let [kind, numbers, access] = words[..] else { return Err(bad("")) };
        let kind = match kind {
            "a" => Kind::A,
            "b" => Kind::B,
            "c" => Kind::C,
            _ => return Err(bad("")),
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(|| bad(""))?;
        let number = |text: &str, what: &str| match text {
            "*" => Ok(None),
            digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map(Some).map_err(|_| bad(&format!("{what} value in ")))
            }
            _ => Err(bad("")),
        };
        if !is_access(access) {
            return Err(bad(""));
        }
        Ok(Self {
            kind,
            major: number(major, "major")?,
            minor: number(minor, "minor")?,
            access: access.to_owned(),
        })
    }

    fn allow(&self) -> LinuxDeviceCgroup {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true)
            .set_typ(Some(self.kind))
            .set_major(Some(self.major.unwrap_or(-1)))
            .set_minor(Some(self.minor.unwrap_or(-1)))
            .set_access(Some(self.access.clone()));
        rule
    }
}

fn is_access(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.bytes().all(|byte| b"rwm".contains(&byte))
}

/// Refuses what is no access to a device.
pub(crate) fn check_permissions(device: &DeviceMapping) -> Result<()> {
    let mode = &device.cgroup_permissions;
    if is_access(mode) { Ok(()) } else { Err(Error::invalid(format!("invalid device mode: {mode}"))) }
}

pub(super) fn plan(host: &HostConfig) -> Result<Devices> {
    let asked = host.devices.iter().flatten();
    if host.privileged {
        let mut nodes = Vec::new();
        of_host(Path::new("/dev"), &mut nodes)?;
        for device in asked.filter(|device| device.path_on_host != device.path_in_container) {
            nodes.extend(at(device)?);
        }
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true).set_access(Some("rwm".to_owned()));
        return Ok(Devices { nodes, rules: [defaults::device_rules(), vec![rule]].concat() });
    }
    let (mut nodes, mut rules) = (Vec::new(), defaults::device_rules());
    for device in asked {
        let found = at(device)?;
        rules.extend(found.iter().map(|node| rule(node, &device.cgroup_permissions).allow()));
        nodes.extend(found);
    }
    for text in host.device_cgroup_rules.iter().flatten() {
        rules.push(Rule::parse(text)?.allow());
    }
    Ok(Devices { nodes, rules })
}

fn rule(node: &LinuxDevice, access: &str) -> Rule {
    Rule { kind: node.typ(), major: Some(node.major()), minor: Some(node.minor()), access: access.to_owned() }
}

/// A device, or all devices below a folder.
fn at(device: &DeviceMapping) -> Result<Vec<LinuxDevice>> {
    let path = Path::new(&device.path_on_host);
    let failed = |why: &dyn std::fmt::Display| {
        let act = "error gathering device information while adding custom device";
        Error::system(format!("{act} \"{}\": {why}", device.path_on_host))
    };
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let metadata = fs::symlink_metadata(&real).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed(&"no such file or directory"),
        _ => failed(&error),
    })?;
    let inside = PathBuf::from(&device.path_in_container);
    if let Some(node) = node(&inside, &metadata) {
        return Ok(vec![node]);
    }
    let mut found = Vec::new();
    if metadata.is_dir() {
        below(&real, &inside, &mut found);
    }
    if found.is_empty() { Err(failed(&"not a device node")) } else { Ok(found) }
}

/// All devices below a folder; what cannot be looked at is left out, as Docker does.
fn below(folder: &Path, inside: &Path, found: &mut Vec<LinuxDevice>) {
    for entry in sorted(folder).unwrap_or_default() {
        let Ok(metadata) = fs::symlink_metadata(folder.join(&entry)) else { continue };
        if metadata.is_dir() {
            below(&folder.join(&entry), &inside.join(&entry), found);
        } else {
            found.extend(node(&inside.join(&entry), &metadata));
        }
    }
}

/// All devices of the host but those a container has of its own.
fn of_host(folder: &Path, found: &mut Vec<LinuxDevice>) -> Result<()> {
    let names =
        sorted(folder).map_err(|error| Error::system(format!("read {}: {error}", folder.display())))?;
    for name in names {
        let path = folder.join(&name);
        // It may have gone meanwhile.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            if !NOT_DEVICES.iter().any(|other| name.as_os_str() == *other) {
                of_host(&path, found)?;
            }
        } else if name.as_os_str() != "console" {
            found.extend(node(&path, &metadata).filter(|node| node.typ() != Kind::P));
        }
    }
    Ok(())
}

fn sorted(folder: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort();
    Ok(names)
}

fn node(path: &Path, metadata: &fs::Metadata) -> Option<LinuxDevice> {
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_block_device() => Kind::B,
        () if kind.is_char_device() => Kind::C,
        () if kind.is_fifo() => Kind::P,
        () => return None,
    };
    let (major, minor) = numbers(metadata.rdev());
    let mut node = LinuxDevice::default();
    node.set_path(path.to_owned())
        .set_typ(kind)
        .set_major(major)
        .set_minor(minor)
        .set_file_mode(Some(metadata.mode() & 0o7777))
        .set_uid(Some(metadata.uid()))
        .set_gid(Some(metadata.gid()));
    Some(node)
}

/// Major and minor number of a device.
pub(super) fn numbers(device: u64) -> (i64, i64) {
    (rustix::fs::major(device).into(), rustix::fs::minor(device).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_as_docker_reads_them() {
        let rule = |kind, major, minor, access: &str| Rule { kind, major, minor, access: access.to_owned() };
        for (text, expected) in [
            ("c 1:1 rwm", rule(Kind::C, Some(1), Some(1), "rwm")),
            ("b *:* r", rule(Kind::B, None, None, "r")),
            ("a 7:* mr", rule(Kind::A, Some(7), None, "mr")),
        ] {
            assert_eq!(Rule::parse(text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "a",
            "c 1:1",
            "c  1:1 rwm",
            "d 1:1 rwm",
            "c 1 rwm",
            "c 1:1 x",
            "c 1:1 rwmr",
            "c -1:1 r",
            "c 1:1 rwm ",
        ] {
            let expected = format!("invalid device cgroup rule format: '{text}'");
            assert_eq!(Rule::parse(text).unwrap_err().message, expected);
        }
        let long = Rule::parse("c 99999999999999999999:1 r").unwrap_err().message;
        assert_eq!(long, "invalid major value in device cgroup rule format: 'c 99999999999999999999:1 r'");
    }

    fn mapping(on_host: &str, inside: &str) -> DeviceMapping {
        DeviceMapping {
            path_on_host: on_host.into(),
            path_in_container: inside.into(),
            cgroup_permissions: "rw".into(),
        }
    }

    #[test]
    fn a_device_keeps_its_numbers_under_another_name() {
        let host =
            HostConfig { devices: Some(vec![mapping("/dev/zero", "/dev/nothing")]), ..HostConfig::default() };
        let devices = plan(&host).unwrap();
        let [node] = &devices.nodes[..] else { panic!("{:?}", devices.nodes) };
        assert_eq!((node.path().as_path(), node.major(), node.minor()), (Path::new("/dev/nothing"), 1, 5));
        let last = devices.rules.last().unwrap();
        assert_eq!(
            (last.allow(), last.major(), last.minor(), last.access().as_deref()),
            (true, Some(1), Some(5), Some("rw"))
        );
    }

    #[test]
    fn a_link_leads_to_the_device_and_a_folder_to_all_of_its() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let found = at(&mapping(link.to_str().unwrap(), "/dev/x")).unwrap();
        assert_eq!((found[0].major(), found[0].minor()), (1, 3));
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let found = at(&mapping(folder.path().to_str().unwrap(), "/dev/all")).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path().as_path(), Path::new("/dev/all/fifo"));
    }

    #[test]
    fn what_is_no_device() {
        let text = |path| at(&mapping(path, "/dev/x")).unwrap_err().message;
        let act = "error gathering device information while adding custom device";
        assert_eq!(text("/dev/not-there"), format!("{act} \"/dev/not-there\": no such file or directory"));
        assert_eq!(text("/etc/passwd"), format!("{act} \"/etc/passwd\": not a device node"));
    }

    #[test]
    fn a_privileged_container_has_all() {
        let host = HostConfig { privileged: true, ..HostConfig::default() };
        let devices = plan(&host).unwrap();
        assert!(devices.nodes.iter().any(|node| node.path().as_path() == Path::new("/dev/null")));
        assert!(
            devices.nodes.iter().all(|node| !node.path().starts_with("/dev/pts") && node.typ() != Kind::P)
        );
        let last = devices.rules.last().unwrap();
        assert!(last.allow() && last.major().is_none() && last.typ().is_none());
    }
}
