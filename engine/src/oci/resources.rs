//! Limits of a container: cgroup resources and rlimits.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType,
};

use super::devices;
use crate::error::{Error, Result, words};
use crate::wire::{HostConfig, ThrottleDevice, Ulimit};

/// Microseconds in which a quota is spent, when CPUs are counted.
const PERIOD: u64 = 100_000;

/// Limits by the names of `--ulimit`.
pub(crate) const RLIMITS: [(&str, PosixRlimitType); 15] = [
    ("as", PosixRlimitType::RlimitAs),
    ("core", PosixRlimitType::RlimitCore),
    ("cpu", PosixRlimitType::RlimitCpu),
    ("data", PosixRlimitType::RlimitData),
    ("fsize", PosixRlimitType::RlimitFsize),
    ("locks", PosixRlimitType::RlimitLocks),
    ("memlock", PosixRlimitType::RlimitMemlock),
    ("msgqueue", PosixRlimitType::RlimitMsgqueue),
    ("nice", PosixRlimitType::RlimitNice),
    ("nofile", PosixRlimitType::RlimitNofile),
    ("nproc", PosixRlimitType::RlimitNproc),
    ("rss", PosixRlimitType::RlimitRss),
    ("rtprio", PosixRlimitType::RlimitRtprio),
    ("rttime", PosixRlimitType::RlimitRttime),
    ("sigpending", PosixRlimitType::RlimitSigpending),
];

/// `linux.resources` without devices, for a start and for an update.
pub(crate) fn resources(host: &HostConfig) -> Result<LinuxResources> {
    let mut resources = LinuxResources::default();
    resources
        .set_memory(memory(host))
        .set_cpu(cpu(host)?)
        .set_pids(host.pids_limit.map(pids))
        .set_block_io(Some(block_io(host)?));
    Ok(resources)
}

fn memory(host: &HostConfig) -> Option<LinuxMemory> {
    let limit = |bytes: i64| Some(bytes).filter(|bytes| *bytes > 0);
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(limit(host.memory))
        .set_reservation(limit(host.memory_reservation))
        // Without a limit of its own swap is not limited: -1 needs no words, and fails where swap is not counted.
        .set_swap(limit(host.memory_swap))
        .set_swappiness(host.memory_swappiness.and_then(|percent| u64::try_from(percent).ok()))
        .set_disable_oom_killer(host.oom_kill_disable);
    (memory != LinuxMemory::default()).then_some(memory)
}

fn pids(limit: i64) -> LinuxPids {
    let mut pids = LinuxPids::default();
    pids.set_limit(if limit <= 0 { -1 } else { limit });
    pids
}

fn cpu(host: &HostConfig) -> Result<Option<LinuxCpu>> {
    let shares = u64::try_from(host.cpu_shares).map_err(|_| {
        Error::invalid(format!("invalid CPU shares ({}): value must be a positive integer", host.cpu_shares))
    })?;
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    let counted = (host.nano_cpus > 0).then(|| (PERIOD, nano_cpus_quota(host.nano_cpus)));
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(shares).filter(|shares| *shares > 0))
        .set_cpus(text(&host.cpuset_cpus))
        .set_mems(text(&host.cpuset_mems))
        .set_period(positive(host.cpu_period).or(counted.map(|(period, _)| period)))
        .set_quota(Some(host.cpu_quota).filter(|quota| *quota != 0).or(counted.map(|(_, quota)| quota)))
        .set_realtime_period(positive(host.cpu_realtime_period))
        .set_realtime_runtime(Some(host.cpu_realtime_runtime).filter(|runtime| *runtime != 0));
    Ok((cpu != LinuxCpu::default()).then_some(cpu))
}

fn nano_cpus_quota(nano_cpus: i64) -> i64 {
    let quota = i128::from(nano_cpus) * i128::from(PERIOD) / 1_000_000_000;
    i64::try_from(quota).unwrap_or(i64::MAX)
}

fn block_io(host: &HostConfig) -> Result<LinuxBlockIo> {
    let weights = host.blkio_weight_device.iter().flatten().map(|device| {
        let (major, minor) = numbers(&device.path)?;
        let weight = LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(device.weight);
        weight.build().map_err(Error::system)
    });
    let weights = weights.collect::<Result<Vec<_>>>()?;
    let mut io = LinuxBlockIo::default();
    io.set_weight(Some(host.blkio_weight).filter(|weight| *weight > 0))
        .set_weight_device(Some(weights).filter(|list| !list.is_empty()))
        .set_throttle_read_bps_device(throttles(host.blkio_device_read_bps.as_deref())?)
        .set_throttle_write_bps_device(throttles(host.blkio_device_write_bps.as_deref())?)
        .set_throttle_read_iops_device(throttles(host.blkio_device_read_iops.as_deref())?)
        .set_throttle_write_iops_device(throttles(host.blkio_device_write_iops.as_deref())?);
    Ok(io)
}

fn throttles(devices: Option<&[ThrottleDevice]>) -> Result<Option<Vec<LinuxThrottleDevice>>> {
    let devices = devices.unwrap_or_default().iter().map(|device| {
        let (major, minor) = numbers(&device.path)?;
        let throttle = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(device.rate);
        throttle.build().map_err(Error::system)
    });
    let devices = devices.collect::<Result<Vec<_>>>()?;
    Ok(Some(devices).filter(|list| !list.is_empty()))
}

fn numbers(path: &str) -> Result<(i64, i64)> {
    let metadata =
        fs::metadata(path).map_err(|error| Error::system(format!("stat {path}: {}", words(&error))))?;
    Ok(devices::numbers(metadata.rdev()))
}

/// The limits of a container's processes. Which names there are was checked.
pub(super) fn rlimits(ulimits: Option<&[Ulimit]>) -> Result<Vec<PosixRlimit>> {
    let one = |ulimit: &Ulimit| {
        let name = ulimit.name.to_lowercase();
        let kind = RLIMITS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| Error::invalid(format!("invalid ulimit type: {}", ulimit.name)))?;
        // -1 is no limit: all bits, as the kernel has it.
        let limit = PosixRlimitBuilder::default().typ(kind);
        let limit = limit.hard(ulimit.hard.cast_unsigned()).soft(ulimit.soft.cast_unsigned());
        limit.build().map_err(Error::system)
    };
    ulimits.unwrap_or_default().iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(host: &HostConfig) -> Value {
        serde_json::to_value(resources(host).unwrap()).unwrap()
    }

    #[test]
    fn nothing_asked_for_is_nothing_written() {
        assert_eq!(written(&HostConfig::default()), json!({"blockIO": {}}));
    }

    #[test]
    fn limits_become_resources() {
        let table = [
            (
                HostConfig { memory: 1, memory_swap: 2, ..<_>::default() },
                "memory",
                json!({"limit": 1, "swap": 2}),
            ),
            (HostConfig { memory: 1, memory_swap: -1, ..<_>::default() }, "memory", json!({"limit": 1})),
            (HostConfig { memory_reservation: 7, ..<_>::default() }, "memory", json!({"reservation": 7})),
            (
                HostConfig { memory_swappiness: Some(0), oom_kill_disable: Some(false), ..<_>::default() },
                "memory",
                json!({"swappiness": 0, "disableOOMKiller": false}),
            ),
            (
                HostConfig { nano_cpus: 1_500_000_000, ..<_>::default() },
                "cpu",
                json!({"period": 100_000, "quota": 150_000}),
            ),
            (
                HostConfig { nano_cpus: 10_000_000, ..<_>::default() },
                "cpu",
                json!({"period": 100_000, "quota": 1000}),
            ),
            (
                HostConfig { cpu_quota: -1, cpu_period: 5000, ..<_>::default() },
                "cpu",
                json!({"period": 5000, "quota": -1}),
            ),
            (
                HostConfig {
                    cpu_shares: 512,
                    cpuset_cpus: "0-1".into(),
                    cpuset_mems: "0".into(),
                    ..<_>::default()
                },
                "cpu",
                json!({"shares": 512, "cpus": "0-1", "mems": "0"}),
            ),
            (HostConfig { pids_limit: Some(0), ..<_>::default() }, "pids", json!({"limit": -1})),
            (HostConfig { pids_limit: Some(77), ..<_>::default() }, "pids", json!({"limit": 77})),
            (HostConfig { blkio_weight: 300, ..<_>::default() }, "blockIO", json!({"weight": 300})),
            (
                HostConfig {
                    blkio_device_read_iops: Some(vec![ThrottleDevice { path: "/dev/zero".into(), rate: 9 }]),
                    ..<_>::default()
                },
                "blockIO",
                json!({"throttleReadIOPSDevice": [{"major": 1, "minor": 5, "rate": 9}]}),
            ),
        ];
        for (host, part, expected) in table {
            assert_eq!(written(&host)[part], expected);
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let devices = Some(vec![ThrottleDevice { path: "/dev/not-there".into(), rate: 1 }]);
        let host = HostConfig { blkio_device_write_bps: devices, ..HostConfig::default() };
        let error = resources(&host).unwrap_err();
        assert!(error.message.starts_with("stat /dev/not-there:"), "{error}");
    }

    #[test]
    fn ulimits_become_rlimits() {
        let ulimit = |name: &str, soft, hard| Ulimit { name: name.to_owned(), hard, soft };
        let found = rlimits(Some(&[ulimit("nofile", 10, 20), ulimit("core", -1, -1)])).unwrap();
        let found = serde_json::to_value(found).unwrap();
        let expected = json!([
            {"type": "RLIMIT_NOFILE", "hard": 20, "soft": 10},
            {"type": "RLIMIT_CORE", "hard": u64::MAX, "soft": u64::MAX},
        ]);
        assert_eq!(found, expected);
        assert_eq!(rlimits(Some(&[ulimit("x", 1, 1)])).unwrap_err().message, "invalid ulimit type: x");
    }
}
