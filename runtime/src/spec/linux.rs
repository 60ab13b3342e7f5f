//! `linux` of config.json (config-linux.md), but for `resources`, `intelRdt` and `seccomp`, which belong to the
//! crates that apply them.

use std::collections::BTreeMap;

use knarr_cgroups::Resources;
use knarr_cgroups::rdt::IntelRdt;
use knarr_seccomp::Profile;
use serde::{Deserialize, Serialize};

use super::is_zero;

/// The whole of `linux`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Linux {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) uid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) gid_mappings: Vec<IdMapping>,
    /// Values by name, with dots or slashes as sysctl(8) takes them.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) sysctl: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resources: Option<Resources>,
    /// A path below the cgroup mount, or `slice:prefix:name` with `--systemd-cgroup`. Empty: chosen by us.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) cgroups_path: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) namespaces: Vec<Namespace>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) devices: Vec<Device>,
    /// Network devices to move into the container, by their name on the host.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) net_devices: BTreeMap<String, NetDevice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seccomp: Option<Profile>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rootfs_propagation: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) masked_paths: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) readonly_paths: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) mount_label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) intel_rdt: Option<IntelRdt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_policy: Option<MemoryPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) personality: Option<Personality>,
    /// By clock: `monotonic` or `boottime`.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) time_offsets: BTreeMap<String, TimeOffset>,
}

/// One line of a user namespace's id map (`user_namespaces(7)`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct IdMapping {
    #[serde(rename = "containerID")]
    pub(crate) container_id: u32,
    #[serde(rename = "hostID")]
    pub(crate) host_id: u32,
    pub(crate) size: u32,
}

/// One element of `linux.namespaces`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Namespace {
    /// `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup` or `time`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Of the namespace to join. Empty: a new one is made.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) path: String,
}

/// One element of `linux.devices` (mknod(2)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Device {
    pub(crate) path: String,
    /// `c`, `u`, `b` or `p`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) major: i64,
    pub(crate) minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gid: Option<u32>,
}

/// One value of `linux.netDevices`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct NetDevice {
    /// The name inside. Empty: as on the host.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) name: String,
}

/// `linux.memoryPolicy` (`set_mempolicy(2)`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct MemoryPolicy {
    /// `MPOL_DEFAULT` and so on.
    pub(crate) mode: String,
    /// A list as `0-3,7`.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) nodes: String,
    /// `MPOL_F_STATIC_NODES` and so on.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) flags: Vec<String>,
}

/// `linux.personality` (personality(2)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Personality {
    /// `LINUX` or `LINUX32`.
    pub(crate) domain: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) flags: Vec<String>,
}

/// One value of `linux.timeOffsets` (`time_namespaces(7)`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct TimeOffset {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) secs: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) nanosecs: u32,
}
