//! What a container uses, as `GET /containers/{id}/stats` tells it. Times are nanoseconds, sizes bytes.

use std::collections::BTreeMap;

use serde::Serialize;

/// One sample, and the processor's part of the one before.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StatsAnswer {
    /// With a leading slash.
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) read: String,
    pub(crate) preread: String,
    pub(crate) pids_stats: PidsStats,
    pub(crate) blkio_stats: BlkioStats,
    /// Of Windows, as `storage_stats`.
    pub(crate) num_procs: u32,
    pub(crate) storage_stats: Nothing,
    pub(crate) cpu_stats: CpuStats,
    pub(crate) precpu_stats: CpuStats,
    pub(crate) memory_stats: MemoryStats,
    /// By name of the interface.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) networks: BTreeMap<String, NetworkStats>,
}

/// `{}`
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Nothing {}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PidsStats {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) current: u64,
    /// None without one.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) limit: u64,
}

/// None where the kernel counts nothing of the kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_field_names)] // Docker's
pub(crate) struct BlkioStats {
    pub(crate) io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
    pub(crate) io_serviced_recursive: Option<Vec<BlkioEntry>>,
    pub(crate) io_queue_recursive: Option<Vec<BlkioEntry>>,
    pub(crate) io_service_time_recursive: Option<Vec<BlkioEntry>>,
    pub(crate) io_wait_time_recursive: Option<Vec<BlkioEntry>>,
    pub(crate) io_merged_recursive: Option<Vec<BlkioEntry>>,
    pub(crate) io_time_recursive: Option<Vec<BlkioEntry>>,
    pub(crate) sectors_recursive: Option<Vec<BlkioEntry>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BlkioEntry {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) op: String,
    pub(crate) value: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CpuStats {
    pub(crate) cpu_usage: CpuUsage,
    /// Of the whole machine.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) system_cpu_usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) online_cpus: u64,
    pub(crate) throttling_data: Throttling,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CpuUsage {
    pub(crate) total_usage: u64,
    /// Of cgroup v1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) percpu_usage: Vec<u64>,
    pub(crate) usage_in_kernelmode: u64,
    pub(crate) usage_in_usermode: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Throttling {
    pub(crate) periods: u64,
    pub(crate) throttled_periods: u64,
    pub(crate) throttled_time: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct MemoryStats {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) usage: u64,
    /// Of cgroup v1.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) max_usage: u64,
    /// What the kernel's `memory.stat` has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) stats: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) failcnt: u64,
    /// That of the machine without one of its own.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) limit: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct NetworkStats {
    pub(crate) rx_bytes: u64,
    pub(crate) rx_packets: u64,
    pub(crate) rx_errors: u64,
    pub(crate) rx_dropped: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) tx_packets: u64,
    pub(crate) tx_errors: u64,
    pub(crate) tx_dropped: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_zero(value: &u64) -> bool {
    *value == 0
}
