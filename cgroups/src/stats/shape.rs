//! `data` of a `stats` event as runc writes it: names, order, and what is left out when it is zero.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// All of it. Times are nanoseconds, sizes bytes, unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    pub cpu: CpuStats,
    /// Version 1 only.
    pub cpuset: CpuSetStats,
    pub memory: MemoryStats,
    pub pids: PidsStats,
    pub blkio: Blkio,
    /// By page size: `2MB`, `1GB`.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuStats {
    #[serde(skip_serializing_if = "is_default")]
    pub usage: CpuUsage,
    #[serde(skip_serializing_if = "is_default")]
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    #[serde(skip_serializing_if = "is_default")]
    pub total: u64,
    /// One number a CPU, as the next two; version 1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    #[serde(skip_serializing_if = "is_default")]
    pub periods: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_periods: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_time: u64,
}

/// Pressure stall information.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    #[serde(skip_serializing_if = "is_default")]
    pub some: PressureLine,
    #[serde(skip_serializing_if = "is_default")]
    pub full: PressureLine,
}

/// Percents over the last 10, 60 and 300 seconds, and microseconds in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PressureLine {
    #[serde(serialize_with = "as_go_does")]
    pub avg10: f64,
    #[serde(serialize_with = "as_go_does")]
    pub avg60: f64,
    #[serde(serialize_with = "as_go_does")]
    pub avg300: f64,
    pub total: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuSetStats {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryStats {
    #[serde(skip_serializing_if = "is_default")]
    pub cache: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub usage: MemoryEntry,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "is_default")]
    pub swap: MemoryEntry,
    #[serde(skip_serializing_if = "is_default")]
    pub kernel: MemoryEntry,
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_default")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// A limit of `u64::MAX` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    pub limit: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    pub failcnt: u64,
}

/// A limit of 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PidsStats {
    #[serde(skip_serializing_if = "is_default")]
    pub current: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub limit: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    #[serde(skip_serializing_if = "is_default")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    #[serde(skip_serializing_if = "is_default")]
    pub value: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HugetlbStats {
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    pub failcnt: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Without a fraction there is no point.
// Serde asks for a reference; a percentage is far below what an integer holds.
#[allow(clippy::trivially_copy_pass_by_ref, clippy::cast_possible_truncation)]
fn as_go_does<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        serializer.serialize_i64(*value as i64)
    } else {
        serializer.serialize_f64(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_used_is_what_runc_writes() {
        assert_eq!(
            serde_json::to_string(&Stats::default()).unwrap(),
            concat!(
                r#"{"cpu":{},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"#,
                r#""memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"#,
                r#""sched_relax_domain_level":0},"memory":{},"pids":{},"blkio":{},"hugetlb":{}}"#
            )
        );
    }

    #[test]
    fn names_are_runcs() {
        let mut stats = Stats::default();
        stats.cpu.usage =
            CpuUsage { total: 3, percpu: vec![1, 2], kernel: 1, user: 2, ..CpuUsage::default() };
        stats.cpu.throttling = Throttling { periods: 1, throttled_periods: 2, throttled_time: 3 };
        stats.memory.usage = MemoryEntry { limit: 9, usage: 1, max: 2, failcnt: 0 };
        stats.memory.kernel_tcp.limit = 7;
        let entry = BlkioEntry { major: 8, minor: 0, op: "Read".into(), value: 5 };
        stats.blkio.io_queued_recursive = vec![entry];
        let json = serde_json::to_string(&stats).unwrap();
        for part in [
            r#""cpu":{"usage":{"total":3,"percpu":[1,2],"kernel":1,"user":2},"throttling":{"periods":1,"throttledPeriods":2,"throttledTime":3}}"#,
            r#""memory":{"usage":{"limit":9,"usage":1,"max":2,"failcnt":0},"kernelTCP":{"limit":7,"failcnt":0}}"#,
            r#""blkio":{"ioQueueRecursive":[{"major":8,"op":"Read","value":5}]}"#,
        ] {
            assert!(json.contains(part), "{part} is not in {json}");
        }
    }
}
