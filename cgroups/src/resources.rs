//! `linux.resources` of the runtime specification 1.3, as lenient as Go's decoder: `null` is the same as absent,
//! unknown fields are ignored, numbers have the widths of `specs-go`. Nothing is checked here; see [`crate::Limits`].
//!
//! Fields without a comment are described in the specification's `config-linux.md`, section "Control groups".

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// All limits of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub devices: Vec<DeviceRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none")]
    pub block_io: Option<BlockIo>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub hugepage_limits: Vec<HugepageLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// By name of the RDMA device.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub rdma: BTreeMap<String, RdmaLimit>,
    /// cgroup v2 only: file name to what is written in it, line by line.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub unified: BTreeMap<String, String>,
}

/// One entry of the device list; later entries win.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceRule {
    #[serde(deserialize_with = "null_as_default")]
    pub allow: bool,
    /// `a`, `b`, `c`, or empty for `a`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Any of `r`, `w`, `m`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub access: String,
}

/// Sizes in bytes; -1 is "no limit".
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<i64>,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<i64>,
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<i64>,
    /// 0 to 100, cgroup v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub disable_oom_killer: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_hierarchy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_before_update: Option<bool>,
}

/// Times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_runtime: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_period: Option<u64>,
    /// A list as in cpuset(7): `0-3,7`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub cpus: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub mems: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<i64>,
}

/// Number of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Pids {
    /// Absent leaves what is there; negative is "no limit".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// Weights 10 to 1000, rates per second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockIo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub weight_device: Vec<WeightDevice>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    #[serde(
        rename = "throttleReadIOPSDevice",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    #[serde(
        rename = "throttleWriteIOPSDevice",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightDevice {
    #[serde(deserialize_with = "null_as_default")]
    pub major: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ThrottleDevice {
    #[serde(deserialize_with = "null_as_default")]
    pub major: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub minor: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub rate: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HugepageLimit {
    /// As the kernel names the files: `2MB`, `1GB`, `64KB`.
    #[serde(deserialize_with = "null_as_default")]
    pub page_size: String,
    /// In bytes.
    #[serde(deserialize_with = "null_as_default")]
    pub limit: u64,
}

/// cgroup v1 only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Network {
    #[serde(rename = "classID", skip_serializing_if = "Option::is_none")]
    pub class_id: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub priorities: Vec<InterfacePriority>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct InterfacePriority {
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub priority: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RdmaLimit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_handles: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_objects: Option<u32>,
}

/// For what is no `Option`: `null` is what Go's zero value is.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_absent_are_the_same_and_unknown_fields_are_ignored() {
        let nulls = r#"{"devices":null,"memory":null,"cpu":{"cpus":null,"shares":null},"pids":{"limit":null},
            "blockIO":{"weightDevice":null},"hugepageLimits":null,"network":{"priorities":null},
            "rdma":null,"unified":null,"cloud":{"x":1}}"#;
        let absent = r#"{"cpu":{},"pids":{},"blockIO":{},"network":{}}"#;
        let parse = |text| serde_json::from_str::<Resources>(text).unwrap();
        assert_eq!(parse(nulls), parse(absent));
        assert_eq!(serde_json::to_string(&parse(nulls)).unwrap(), absent);
    }

    #[test]
    fn null_numbers_and_names_are_zero_and_empty() {
        let text = r#"{"blockIO":{"weightDevice":[{"major":null,"weight":null}],"throttleReadBpsDevice":[{"rate":null}]},
            "hugepageLimits":[{"pageSize":null,"limit":null}],"network":{"priorities":[{"name":null,"priority":null}]}}"#;
        let resources: Resources = serde_json::from_str(text).unwrap();
        assert_eq!(resources.hugepage_limits, [HugepageLimit::default()]);
        let block_io = resources.block_io.unwrap();
        assert_eq!(block_io.weight_device, [WeightDevice::default()]);
        assert_eq!(block_io.throttle_read_bps_device, [ThrottleDevice::default()]);
        assert_eq!(resources.network.unwrap().priorities, [InterfacePriority::default()]);
    }

    #[test]
    fn every_field_survives_a_round_trip_under_its_name() {
        let text = r#"{"devices":[{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}],
"memory":{"limit":1,"reservation":2,"swap":-1,"kernel":4,"kernelTCP":5,"swappiness":6,"disableOOMKiller":true,"useHierarchy":false,"checkBeforeUpdate":true},
"cpu":{"shares":1,"quota":-1,"burst":3,"period":4,"realtimeRuntime":5,"realtimePeriod":6,"cpus":"0-3","mems":"0","idle":1},
"pids":{"limit":-1},
"blockIO":{"weight":10,"leafWeight":20,"weightDevice":[{"major":8,"minor":0,"weight":30,"leafWeight":40}],
"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":18446744073709551615}],"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":4}]},
"hugepageLimits":[{"pageSize":"2MB","limit":9223372036854771712}],
"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":500}]},
"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000}},
"unified":{"memory.high":"1"}}"#;
        let resources: Resources = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&resources).unwrap(), text.replace('\n', ""));
    }
}
