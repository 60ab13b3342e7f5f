//! The writes of version 1: `cgroup-v1/` of the kernel's admin-guide.

use crate::limits::{Policy, Write, check, convert};
use crate::resources::{BlockIo, Cpu, Memory, Network, Resources, ThrottleDevice};

/// In the order of the controllers in which runc sets them; nothing depends on it.
pub(super) fn writes(resources: &Resources) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(cpu) = &resources.cpu {
        cpuset(&mut writes, cpu);
    }
    if let Some(memory) = &resources.memory {
        memory_limits(&mut writes, memory);
        writes.extend(
            check::swappiness(resources).map(|value| Write::new("memory", "memory.swappiness", value)),
        );
    }
    if let Some(cpu) = &resources.cpu {
        cpu_limits(&mut writes, cpu);
    }
    let pids = resources.pids.as_ref().and_then(|pids| pids.limit);
    writes.extend(pids.map(|limit| Write::new("pids", "pids.max", convert::pids_max(limit))));
    if let Some(block_io) = &resources.block_io {
        block_io_limits(&mut writes, block_io);
    }
    for limit in &resources.hugepage_limits {
        let file = |kind: &str| format!("hugetlb.{}{kind}.limit_in_bytes", limit.page_size);
        writes.push(Write::new("hugetlb", file(""), limit.limit));
        writes.push(Write::new("hugetlb", file(".rsvd"), limit.limit).or(Policy::IfPresent));
    }
    if let Some(network) = &resources.network {
        network_marks(&mut writes, network);
    }
    writes.extend(rdma(resources));
    writes
}

fn cpuset(writes: &mut Vec<Write>, cpu: &Cpu) {
    for (file, list) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
        if !list.is_empty() {
            writes.push(Write::new("cpuset", file, list));
        }
    }
}

/// Zero is "leave it" everywhere. Whether the limit or memory+swap must be moved first depends on what is in force, so
/// both may be put off; -1 without swap lifts both, where swap is counted.
fn memory_limits(writes: &mut Vec<Write>, memory: &Memory) {
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    let (limit, swap) = (set(memory.limit), set(memory.swap));
    writes.extend(limit.map(|value| Write::new("memory", "memory.limit_in_bytes", value).or(Policy::Defer)));
    let swap_file = "memory.memsw.limit_in_bytes";
    match (limit, swap) {
        (Some(-1), None) => writes.push(Write::new("memory", swap_file, -1).or(Policy::IfPresent)),
        _ => writes.extend(swap.map(|value| Write::new("memory", swap_file, value).or(Policy::Defer))),
    }
    writes.extend(
        set(memory.reservation).map(|value| Write::new("memory", "memory.soft_limit_in_bytes", value)),
    );
    if let Some(hierarchical) = memory.use_hierarchy {
        writes.push(Write::new("memory", "memory.use_hierarchy", u8::from(hierarchical)));
    }
    if memory.disable_oom_killer == Some(true) {
        writes.push(Write::new("memory", "memory.oom_control", 1));
    }
}

/// The kernel checks quota/period and runtime/period pairs against the parent's at each write, hence the deferring.
fn cpu_limits(writes: &mut Vec<Write>, cpu: &Cpu) {
    let mut push = |file, value: Option<String>, policy| {
        writes.extend(value.map(|value| Write::new("cpu", file, value).or(policy)));
    };
    let unsigned = |value: Option<u64>| value.filter(|value| *value != 0).map(|value| value.to_string());
    let signed = |value: Option<i64>| value.filter(|value| *value != 0).map(|value| value.to_string());
    push("cpu.shares", unsigned(cpu.shares), Policy::ReadBack);
    push("cpu.cfs_period_us", unsigned(cpu.period), Policy::Defer);
    push("cpu.cfs_burst_us", cpu.burst.map(|value| value.to_string()), Policy::DeferIfPresent);
    push("cpu.cfs_quota_us", signed(cpu.quota), Policy::Must);
    push("cpu.idle", cpu.idle.map(|value| value.to_string()), Policy::Must);
    push("cpu.rt_period_us", unsigned(cpu.realtime_period), Policy::Defer);
    push("cpu.rt_runtime_us", signed(cpu.realtime_runtime), Policy::Must);
}

/// The weight files have `bfq` in their names when that scheduler alone offers them.
fn block_io_limits(writes: &mut Vec<Write>, block_io: &BlockIo) {
    let set = |weight: Option<u16>| weight.filter(|weight| *weight != 0).map(|weight| weight.to_string());
    if let Some(weight) = set(block_io.weight) {
        let instead = Policy::Else("blkio.bfq.weight", weight.clone());
        writes.push(Write::new("blkio", "blkio.weight", weight).or(instead));
    }
    writes.extend(set(block_io.leaf_weight).map(|weight| Write::new("blkio", "blkio.leaf_weight", weight)));
    for device in &block_io.weight_device {
        let line = |weight: String| format!("{}:{} {weight}", device.major, device.minor);
        if let Some(line) = set(device.weight).map(line) {
            let instead = Policy::Else("blkio.bfq.weight_device", line.clone());
            writes.push(Write::new("blkio", "blkio.weight_device", line).or(instead));
        }
        writes.extend(
            set(device.leaf_weight)
                .map(|weight| Write::new("blkio", "blkio.leaf_weight_device", line(weight))),
        );
    }
    throttle(writes, "blkio.throttle.read_bps_device", &block_io.throttle_read_bps_device);
    throttle(writes, "blkio.throttle.write_bps_device", &block_io.throttle_write_bps_device);
    throttle(writes, "blkio.throttle.read_iops_device", &block_io.throttle_read_iops_device);
    throttle(writes, "blkio.throttle.write_iops_device", &block_io.throttle_write_iops_device);
}

fn throttle(writes: &mut Vec<Write>, file: &'static str, devices: &[ThrottleDevice]) {
    let line = |device: &ThrottleDevice| format!("{}:{} {}", device.major, device.minor, device.rate);
    writes.extend(devices.iter().map(|device| Write::new("blkio", file, line(device))));
}

fn network_marks(writes: &mut Vec<Write>, network: &Network) {
    if let Some(class) = network.class_id.filter(|class| *class != 0) {
        writes.push(Write::new("net_cls", "net_cls.classid", class));
    }
    for entry in &network.priorities {
        writes.push(Write::new(
            "net_prio",
            "net_prio.ifpriomap",
            format!("{} {}", entry.name, entry.priority),
        ));
    }
}

/// The same file on both versions.
pub(super) fn rdma(resources: &Resources) -> impl Iterator<Item = Write> {
    resources.rdma.iter().map(|(device, limit)| {
        let handles = limit.hca_handles.map(|value| format!(" hca_handle={value}")).unwrap_or_default();
        let objects = limit.hca_objects.map(|value| format!(" hca_object={value}")).unwrap_or_default();
        Write::new("rdma", "rdma.max", format!("{device}{handles}{objects}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `controller/file=value`, with a mark for the policy.
    fn lines(json: &str) -> Vec<String> {
        let mark = |policy: &Policy| match policy {
            Policy::Must => String::new(),
            Policy::Else(file, value) => format!(" else {file}={value}"),
            policy => format!(" {policy:?}"),
        };
        let writes = writes(&serde_json::from_str(json).unwrap());
        writes.iter().map(|w| format!("{}/{}={}{}", w.controller, w.file, w.value, mark(&w.policy))).collect()
    }

    #[test]
    fn memory() {
        assert_eq!(
            lines(
                r#"{"memory":{"limit":100,"swap":300,"reservation":50,"swappiness":7,"disableOOMKiller":true,"useHierarchy":true}}"#
            ),
            [
                "memory/memory.limit_in_bytes=100 Defer",
                "memory/memory.memsw.limit_in_bytes=300 Defer",
                "memory/memory.soft_limit_in_bytes=50",
                "memory/memory.use_hierarchy=1",
                "memory/memory.oom_control=1",
                "memory/memory.swappiness=7",
            ]
        );
        assert_eq!(
            lines(r#"{"memory":{"limit":-1}}"#),
            ["memory/memory.limit_in_bytes=-1 Defer", "memory/memory.memsw.limit_in_bytes=-1 IfPresent"]
        );
        assert!(
            lines(r#"{"memory":{"limit":0,"swap":0,"reservation":0,"disableOOMKiller":false}}"#).is_empty()
        );
    }

    #[test]
    fn cpu_and_cpuset() {
        assert_eq!(
            lines(
                r#"{"cpu":{"shares":512,"quota":-1,"burst":0,"period":20000,"realtimeRuntime":950,"realtimePeriod":1000,
                "cpus":"0-1","mems":"0","idle":1}}"#
            ),
            [
                "cpuset/cpuset.cpus=0-1",
                "cpuset/cpuset.mems=0",
                "cpu/cpu.shares=512 ReadBack",
                "cpu/cpu.cfs_period_us=20000 Defer",
                "cpu/cpu.cfs_burst_us=0 DeferIfPresent",
                "cpu/cpu.cfs_quota_us=-1",
                "cpu/cpu.idle=1",
                "cpu/cpu.rt_period_us=1000 Defer",
                "cpu/cpu.rt_runtime_us=950",
            ]
        );
        assert!(lines(r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":""}}"#).is_empty());
    }

    #[test]
    fn block_io() {
        assert_eq!(
            lines(
                r#"{"blockIO":{"weight":10,"leafWeight":20,"weightDevice":[{"major":8,"minor":1,"weight":30,"leafWeight":40}],
                "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
                "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]}}"#
            ),
            [
                "blkio/blkio.weight=10 else blkio.bfq.weight=10",
                "blkio/blkio.leaf_weight=20",
                "blkio/blkio.weight_device=8:1 30 else blkio.bfq.weight_device=8:1 30",
                "blkio/blkio.leaf_weight_device=8:1 40",
                "blkio/blkio.throttle.read_bps_device=8:0 1",
                "blkio/blkio.throttle.write_bps_device=8:0 2",
                "blkio/blkio.throttle.read_iops_device=8:0 3",
                "blkio/blkio.throttle.write_iops_device=8:0 0",
            ]
        );
    }

    #[test]
    fn the_others() {
        assert_eq!(
            lines(
                r#"{"pids":{"limit":0},"hugepageLimits":[{"pageSize":"2MB","limit":9}],
                "network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]},
                "rdma":{"m":{"hcaHandles":3,"hcaObjects":10},"n":{"hcaObjects":1}}}"#
            ),
            [
                "pids/pids.max=1",
                "hugetlb/hugetlb.2MB.limit_in_bytes=9",
                "hugetlb/hugetlb.2MB.rsvd.limit_in_bytes=9 IfPresent",
                "net_cls/net_cls.classid=1048577",
                "net_prio/net_prio.ifpriomap=eth0 5",
                "rdma/rdma.max=m hca_handle=3 hca_object=10",
                "rdma/rdma.max=n hca_object=1",
            ]
        );
        assert_eq!(lines(r#"{"pids":{"limit":-5}}"#), ["pids/pids.max=max"]);
        assert!(lines(r#"{"pids":{}}"#).is_empty());
    }
}
