//! The writes of version 2: `cgroup-v2.rst` of the kernel's admin-guide.

use crate::error::Refusal;
use crate::limits::{Policy, Write, convert, v1};
use crate::resources::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};

/// `unified` comes last: it may say otherwise.
pub(super) fn writes(resources: &Resources) -> Result<Vec<Write>, Refusal> {
    let mut writes = Vec::new();
    let pids = resources.pids.as_ref().and_then(|pids| pids.limit);
    writes.extend(pids.map(|limit| Write::new("pids", "pids.max", convert::pids_max(limit))));
    if let Some(memory) = &resources.memory {
        memory_limits(&mut writes, memory)?;
    }
    if let Some(block_io) = &resources.block_io {
        block_io_limits(&mut writes, block_io);
    }
    if let Some(cpu) = &resources.cpu {
        cpu_limits(&mut writes, cpu);
    }
    for limit in &resources.hugepage_limits {
        let file = |kind: &str| format!("hugetlb.{}{kind}.max", limit.page_size);
        writes.push(Write::new("hugetlb", file(""), limit.limit));
        writes.push(Write::new("hugetlb", file(".rsvd"), limit.limit).or(Policy::IfPresent));
    }
    writes.extend(v1::rdma(resources));
    for (key, value) in &resources.unified {
        unified(&mut writes, key, value)?;
    }
    Ok(writes)
}

/// What version 2 has no file for. Other runtimes ignore these without a word.
pub(super) fn warnings(resources: &Resources) -> Vec<String> {
    let memory = resources.memory.clone().unwrap_or_default();
    let cpu = resources.cpu.clone().unwrap_or_default();
    let network = resources.network.clone().unwrap_or_default();
    let leaf_weights = resources.block_io.iter().any(|block_io| {
        block_io.leaf_weight.is_some()
            || block_io.weight_device.iter().any(|device| device.leaf_weight.is_some())
    });
    let unused = [
        ("memory.swappiness", memory.swappiness.is_some()),
        ("memory.disableOOMKiller", memory.disable_oom_killer == Some(true)),
        ("memory.useHierarchy", memory.use_hierarchy == Some(false)),
        ("cpu.realtimeRuntime", cpu.realtime_runtime.is_some_and(|value| value != 0)),
        ("cpu.realtimePeriod", cpu.realtime_period.is_some_and(|value| value != 0)),
        ("blockIO.leafWeight", leaf_weights),
        ("network.classID", network.class_id.is_some_and(|value| value != 0)),
        ("network.priorities", !network.priorities.is_empty()),
    ];
    let text = |field: &str| format!("linux.resources.{field} has no effect on cgroup v2");
    unused.iter().filter(|(_, given)| *given).map(|(field, _)| text(field)).collect()
}

/// Without swap accounting there is no file: then neither "all of it" nor "none" needs one.
fn memory_limits(writes: &mut Vec<Write>, memory: &Memory) -> Result<(), Refusal> {
    let limit = memory.limit.unwrap_or(0);
    if let Some(swap) = convert::swap_max(limit, memory.swap.unwrap_or(0))? {
        let policy = if swap == "max" || swap == "0" { Policy::IfPresent } else { Policy::Must };
        writes.push(Write::new("memory", "memory.swap.max", swap).or(policy));
    }
    writes.extend(convert::size(limit).map(|value| Write::new("memory", "memory.max", value)));
    let reservation = convert::size(memory.reservation.unwrap_or(0));
    writes.extend(reservation.map(|value| Write::new("memory", "memory.low", value)));
    Ok(())
}

/// The BFQ scheduler has its own weights, on the old scale; without it `io.weight` has a wider one.
fn block_io_limits(writes: &mut Vec<Write>, block_io: &BlockIo) {
    if let Some(weight) = block_io.weight.filter(|weight| *weight != 0) {
        let instead = Policy::Else("io.weight", convert::io_weight(weight).to_string());
        writes.push(Write::new("io", "io.bfq.weight", weight).or(instead));
    }
    for device in &block_io.weight_device {
        if let Some(weight) = device.weight.filter(|weight| *weight != 0) {
            let number = format!("{}:{}", device.major, device.minor);
            let instead = Policy::Else("io.weight", format!("{number} {}", convert::io_weight(weight)));
            writes.push(Write::new("io", "io.bfq.weight", format!("{number} {weight}")).or(instead));
        }
    }
    throttle(writes, "rbps", &block_io.throttle_read_bps_device);
    throttle(writes, "wbps", &block_io.throttle_write_bps_device);
    throttle(writes, "riops", &block_io.throttle_read_iops_device);
    throttle(writes, "wiops", &block_io.throttle_write_iops_device);
}

fn throttle(writes: &mut Vec<Write>, key: &str, devices: &[ThrottleDevice]) {
    let line = |device: &ThrottleDevice| format!("{}:{} {key}={}", device.major, device.minor, device.rate);
    writes.extend(devices.iter().map(|device| Write::new("io", "io.max", line(device))));
}

/// A burst is checked against the quota, which may be about to change.
fn cpu_limits(writes: &mut Vec<Write>, cpu: &Cpu) {
    writes.extend(cpu.idle.map(|idle| Write::new("cpu", "cpu.idle", idle)));
    let shares = cpu.shares.filter(|shares| *shares != 0);
    writes.extend(shares.map(|shares| Write::new("cpu", "cpu.weight", convert::weight_of_shares(shares))));
    writes.extend(cpu.burst.map(|burst| Write::new("cpu", "cpu.max.burst", burst).or(Policy::Defer)));
    let (quota, period) = (cpu.quota.unwrap_or(0), cpu.period.unwrap_or(0));
    if quota != 0 || period != 0 {
        let quota = if quota > 0 { quota.to_string() } else { "max".to_owned() };
        let period = if period == 0 { convert::DEFAULT_PERIOD } else { period };
        writes.push(Write::new("cpu", "cpu.max", format!("{quota} {period}")));
    }
    for (file, list) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
        if !list.is_empty() {
            writes.push(Write::new("cpuset", file, list));
        }
    }
}

fn unified(writes: &mut Vec<Write>, key: &str, value: &str) -> Result<(), Refusal> {
    if key.contains('/') {
        return Err(Refusal::UnifiedSlash(key.to_owned()));
    }
    let Some((controller, _)) = key.split_once('.') else {
        return Err(Refusal::UnifiedForm(key.to_owned()));
    };
    writes.extend(value.lines().map(|line| Write {
        controller: controller.to_owned().into(),
        file: key.to_owned().into(),
        value: line.to_owned(),
        policy: Policy::Unified,
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(json: &str) -> Result<Vec<String>, Refusal> {
        let mark = |policy: &Policy| match policy {
            Policy::Must => String::new(),
            Policy::Else(file, value) => format!(" else {file}={value}"),
            policy => format!(" {policy:?}"),
        };
        let writes = writes(&serde_json::from_str(json).unwrap())?;
        Ok(writes
            .iter()
            .map(|w| format!("{}/{}={}{}", w.controller, w.file, w.value, mark(&w.policy)))
            .collect())
    }

    fn lines(json: &str) -> Vec<String> {
        compile(json).unwrap()
    }

    #[test]
    fn memory() {
        assert_eq!(
            lines(r#"{"memory":{"limit":100,"swap":300,"reservation":50}}"#),
            ["memory/memory.swap.max=200", "memory/memory.max=100", "memory/memory.low=50"]
        );
        assert_eq!(
            lines(r#"{"memory":{"limit":100,"swap":100}}"#),
            ["memory/memory.swap.max=0 IfPresent", "memory/memory.max=100"]
        );
        assert_eq!(
            lines(r#"{"memory":{"limit":-1,"reservation":-1}}"#),
            ["memory/memory.swap.max=max IfPresent", "memory/memory.max=max", "memory/memory.low=max"]
        );
        assert_eq!(
            compile(r#"{"memory":{"swap":300}}"#).unwrap_err().to_string(),
            "unable to set swap limit without memory limit"
        );
        assert_eq!(
            compile(r#"{"memory":{"limit":300,"swap":100}}"#).unwrap_err().to_string(),
            "memory+swap limit should be >= memory limit"
        );
    }

    #[test]
    fn cpu_and_cpuset() {
        assert_eq!(
            lines(r#"{"cpu":{"shares":1024,"quota":5000,"burst":100,"cpus":"0","mems":"1","idle":0}}"#),
            [
                "cpu/cpu.idle=0",
                "cpu/cpu.weight=100",
                "cpu/cpu.max.burst=100 Defer",
                "cpu/cpu.max=5000 100000",
                "cpuset/cpuset.cpus=0",
                "cpuset/cpuset.mems=1",
            ]
        );
        assert_eq!(lines(r#"{"cpu":{"period":20000}}"#), ["cpu/cpu.max=max 20000"]);
        assert_eq!(lines(r#"{"cpu":{"quota":-1}}"#), ["cpu/cpu.max=max 100000"]);
        assert!(lines(r#"{"cpu":{"shares":0,"quota":0,"realtimeRuntime":5}}"#).is_empty());
    }

    #[test]
    fn block_io() {
        assert_eq!(
            lines(
                r#"{"blockIO":{"weight":100,"weightDevice":[{"major":8,"minor":1,"weight":1000}],
                "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
                "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":4}]}}"#
            ),
            [
                "io/io.bfq.weight=100 else io.weight=910",
                "io/io.bfq.weight=8:1 1000 else io.weight=8:1 10000",
                "io/io.max=8:0 rbps=1",
                "io/io.max=8:0 wbps=2",
                "io/io.max=8:0 riops=3",
                "io/io.max=8:0 wiops=4",
            ]
        );
    }

    #[test]
    fn the_others() {
        assert_eq!(
            lines(
                r#"{"pids":{"limit":7},"hugepageLimits":[{"pageSize":"1GB","limit":0}],
                "rdma":{"m":{"hcaHandles":3}},"unified":{"memory.high":"1","io.max":"8:0 rbps=1\n8:16 wbps=2"}}"#
            ),
            [
                "pids/pids.max=7",
                "hugetlb/hugetlb.1GB.max=0",
                "hugetlb/hugetlb.1GB.rsvd.max=0 IfPresent",
                "rdma/rdma.max=m hca_handle=3",
                "io/io.max=8:0 rbps=1 Unified",
                "io/io.max=8:16 wbps=2 Unified",
                "memory/memory.high=1 Unified",
            ]
        );
    }

    #[test]
    fn unified_keys() {
        assert_eq!(
            compile(r#"{"unified":{"../x.y":"1"}}"#).unwrap_err().to_string(),
            "unified resource \"../x.y\" must be a file name (no slashes)"
        );
        assert_eq!(
            compile(r#"{"unified":{"memory":"1"}}"#).unwrap_err().to_string(),
            "unified resource \"memory\" must be in the form CONTROLLER.PARAMETER"
        );
    }

    #[test]
    fn fields_of_version_1_are_reported() {
        let json = r#"{"memory":{"swappiness":1,"disableOOMKiller":true},"cpu":{"realtimePeriod":1},"network":{"classID":1}}"#;
        assert_eq!(
            warnings(&serde_json::from_str(json).unwrap()),
            [
                "linux.resources.memory.swappiness has no effect on cgroup v2",
                "linux.resources.memory.disableOOMKiller has no effect on cgroup v2",
                "linux.resources.cpu.realtimePeriod has no effect on cgroup v2",
                "linux.resources.network.classID has no effect on cgroup v2",
            ]
        );
    }
}
