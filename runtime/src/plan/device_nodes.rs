//! The device nodes of a container: the ones every container has, and `linux.devices`.
//!
//! What a process may do with a device is decided by its cgroup, not here. See the runtime specification's
//! `config-linux.md` (Default Devices, Devices).

use crate::error::{Error, Result};
use crate::spec::Device;

use super::mounts::in_root;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Character,
    Block,
    Fifo,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceNode {
    /// Inside the container, without the leading slash.
    pub(crate) path: String,
    pub(crate) kind: NodeKind,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Permission bits.
    pub(crate) mode: u32,
    /// As seen inside.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Position in `linux.devices`; none for a default device.
    pub(crate) index: Option<usize>,
}

const DEFAULTS: [(&str, u32, u32); 6] = [
    ("dev/null", 1, 3),
    ("dev/random", 1, 8),
    ("dev/full", 1, 7),
    ("dev/tty", 5, 0),
    ("dev/zero", 1, 5),
    ("dev/urandom", 1, 9),
];

/// The defaults, each replaced by an entry of the same path, then the other entries. `/dev/ptmx` is never a node:
/// it is a link into the container's own devpts.
pub(crate) fn device_nodes(devices: &[Device]) -> Result<Vec<DeviceNode>> {
    let listed = devices.iter().enumerate().map(|(index, device)| from_device(index, device));
    let listed = listed.collect::<Result<Vec<_>>>()?;
    let defaults = DEFAULTS.into_iter().map(default_node);
    let defaults = defaults.filter(|node| listed.iter().all(|other| other.path != node.path));
    Ok(defaults.chain(listed.iter().filter(|node| node.path != "dev/ptmx").cloned()).collect())
}

fn default_node((path, major, minor): (&str, u32, u32)) -> DeviceNode {
    let path = path.to_owned();
    DeviceNode { path, kind: NodeKind::Character, major, minor, mode: 0o666, uid: 0, gid: 0, index: None }
}

fn from_device(index: usize, device: &Device) -> Result<DeviceNode> {
    let field = |name: &str| format!("/linux/devices/{index}/{name}");
    let path = in_root(&device.path);
    if path.is_empty() || device.path.contains('\0') {
        return Err(Error::refused(field("path"), format!("invalid device path {:?}", device.path)));
    }
    let kind = match device.kind.as_str() {
        "c" | "u" => NodeKind::Character,
        "b" => NodeKind::Block,
        "p" => NodeKind::Fifo,
        other => {
            return Err(Error::refused(field("type"), format!("invalid device type {other:?}")));
        }
    };
    let number = |name: &str, value: i64| match kind {
        NodeKind::Fifo => Ok(0),
        _ => u32::try_from(value).map_err(|_| {
            Error::refused(field(name), format!("device {} has no {name} number: {value}", device.path))
        }),
    };
    Ok(DeviceNode {
        path,
        kind,
        major: number("major", device.major)?,
        minor: number("minor", device.minor)?,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        index: Some(index),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(path: &str, kind: &str, major: i64, minor: i64) -> Device {
        Device { path: path.into(), kind: kind.into(), major, minor, ..Device::default() }
    }

    #[test]
    fn entry_replaces_default_of_the_same_path() {
        let mut null = device("/dev/../dev//null", "c", 1, 3);
        null.file_mode = Some(0o100_600);
        null.uid = Some(5);
        let nodes = device_nodes(&[null, device("/dev/ptmx", "c", 5, 2)]).unwrap();
        assert_eq!(nodes.len(), 6);
        let null = nodes.iter().find(|node| node.path == "dev/null").unwrap();
        assert_eq!((null.mode, null.uid, null.gid), (0o600, 5, 0));
    }

    #[test]
    fn kinds_and_numbers() {
        let nodes = device_nodes(&[
            device("/dev/a", "u", 4, 64),
            device("/x/b", "b", 8, 1),
            device("/f", "p", -1, -1),
        ])
        .unwrap();
        let kinds: Vec<_> =
            nodes[6..].iter().map(|node| (node.path.as_str(), node.kind, node.major)).collect();
        assert_eq!(
            kinds,
            [("dev/a", NodeKind::Character, 4), ("x/b", NodeKind::Block, 8), ("f", NodeKind::Fifo, 0)]
        );
    }

    #[test]
    fn bad_entries_are_refused_by_name() {
        for (device, field) in [
            (device("/dev/a", "a", 1, 1), "/linux/devices/0/type"),
            (device("/dev/a", "c", -1, 1), "/linux/devices/0/major"),
            (device("/dev/a", "c", 1, 1 << 40), "/linux/devices/0/minor"),
            (device("/..", "c", 1, 1), "/linux/devices/0/path"),
        ] {
            assert_eq!(device_nodes(&[device]).unwrap_err().field(), Some(field));
        }
    }
}
