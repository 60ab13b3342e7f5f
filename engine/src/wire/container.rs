//! Containers as lists and `inspect` show them, and what is answered to acts on them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Config, EndpointSettings, HostConfig, MountPoint, PortBinding};

/// An entry of `GET /containers/json`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerSummary {
    pub(crate) id: String,
    /// With a leading slash.
    pub(crate) names: Vec<String>,
    /// As asked for; the ID if that name has another image now.
    pub(crate) image: String,
    #[serde(rename = "ImageID")]
    pub(crate) image_id: String,
    pub(crate) command: String,
    /// Seconds since 1970.
    pub(crate) created: i64,
    pub(crate) ports: Vec<Port>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) size_rw: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) size_root_fs: u64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) state: &'static str,
    pub(crate) status: String,
    pub(crate) host_config: HostConfigSummary,
    pub(crate) network_settings: NetworkSettingsSummary,
    pub(crate) mounts: Vec<MountPoint>,
}

/// A port of a running container; on the host as well if it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(clippy::struct_field_names)] // Docker's
pub(crate) struct Port {
    #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
    pub(crate) ip: String,
    pub(crate) private_port: u16,
    #[serde(skip_serializing_if = "is_no_port")]
    pub(crate) public_port: u16,
    /// `tcp`, `udp`, `sctp`.
    #[serde(rename = "Type")]
    pub(crate) protocol: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfigSummary {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) network_mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkSettingsSummary {
    pub(crate) networks: BTreeMap<String, EndpointSettings>,
}

/// The answer to `GET /containers/{id}/json`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerInspect {
    pub(crate) id: String,
    pub(crate) created: String,
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    pub(crate) state: StateInspect,
    /// ID of the image.
    pub(crate) image: String,
    pub(crate) resolv_conf_path: String,
    pub(crate) hostname_path: String,
    pub(crate) hosts_path: String,
    pub(crate) log_path: String,
    /// With a leading slash.
    pub(crate) name: String,
    pub(crate) restart_count: u32,
    pub(crate) driver: &'static str,
    pub(crate) platform: &'static str,
    pub(crate) mount_label: &'static str,
    pub(crate) process_label: &'static str,
    pub(crate) app_armor_profile: &'static str,
    /// None if there is none.
    #[serde(rename = "ExecIDs")]
    pub(crate) exec_ids: Option<Vec<String>>,
    pub(crate) host_config: HostConfig,
    pub(crate) graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size_root_fs: Option<u64>,
    pub(crate) mounts: Vec<MountPoint>,
    pub(crate) config: Config,
    pub(crate) network_settings: NetworkSettings,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StateInspect {
    pub(crate) status: &'static str,
    pub(crate) running: bool,
    pub(crate) paused: bool,
    pub(crate) restarting: bool,
    #[serde(rename = "OOMKilled")]
    pub(crate) oom_killed: bool,
    pub(crate) dead: bool,
    pub(crate) pid: i32,
    pub(crate) exit_code: i32,
    pub(crate) error: String,
    pub(crate) started_at: String,
    pub(crate) finished_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<HealthInspect>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HealthInspect {
    pub(crate) status: String,
    pub(crate) failing_streak: u32,
    pub(crate) log: Vec<ProbeInspect>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ProbeInspect {
    pub(crate) start: String,
    pub(crate) end: String,
    pub(crate) exit_code: i32,
    pub(crate) output: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GraphDriver {
    /// Folders of the overlay; none when they are gone.
    pub(crate) data: Option<BTreeMap<&'static str, String>>,
    pub(crate) name: &'static str,
}

/// `NetworkSettings` of an inspect. The fields from `endpoint_id` to `mac_address` are those of the default bridge.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkSettings {
    pub(crate) bridge: &'static str,
    #[serde(rename = "SandboxID")]
    pub(crate) sandbox_id: String,
    pub(crate) sandbox_key: String,
    /// None: exposed, and not published.
    pub(crate) ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    pub(crate) hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    pub(crate) link_local_ipv6_address: &'static str,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub(crate) link_local_ipv6_prefix_len: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    pub(crate) secondary_ip_addresses: Option<()>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    pub(crate) secondary_ipv6_addresses: Option<()>,
    #[serde(rename = "EndpointID")]
    pub(crate) endpoint_id: String,
    pub(crate) gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub(crate) global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub(crate) global_ipv6_prefix_len: u8,
    #[serde(rename = "IPAddress")]
    pub(crate) ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub(crate) ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    pub(crate) ipv6_gateway: String,
    pub(crate) mac_address: String,
    pub(crate) networks: BTreeMap<String, EndpointSettings>,
}

/// The answer to `GET /containers/{id}/top`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TopAnswer {
    pub(crate) titles: Vec<String>,
    pub(crate) processes: Vec<Vec<String>>,
}

/// The answer to `POST /containers/prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainersPruned {
    /// None if there was none.
    pub(crate) containers_deleted: Option<Vec<String>>,
    /// Bytes.
    pub(crate) space_reclaimed: u64,
}

/// `0001-01-01T00:00:00Z` for what never was, as Go writes it.
pub(crate) fn go_time(time: Option<jiff::Timestamp>) -> String {
    time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_no_port(value: &u16) -> bool {
    *value == 0
}
