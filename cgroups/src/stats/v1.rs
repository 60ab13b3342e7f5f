//! Statistics of version 1, a file a number: `cgroup-v1/`.

use crate::cgroup::Cgroup;
use crate::dir::Dir;
use crate::error::Result;

use super::files::{keyed, list, malformed, number, number_if_present, numbers};
use super::shape::{
    Blkio, BlkioEntry, CpuSetStats, CpuUsage, HugetlbStats, MemoryEntry, MemoryStats, PidsStats, Stats,
    Throttling,
};

/// `USER_HZ`, the same on every architecture.
const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / 100;

pub(super) fn stats(cgroup: &Cgroup) -> Result<Stats> {
    let mut stats = Stats::default();
    if let Some(dir) = cgroup.dir_of("cpuset")? {
        stats.cpuset = cpuset(dir)?;
    }
    if let Some(dir) = cgroup.dir_of("memory")? {
        stats.memory = memory(dir)?;
    }
    if let Some(dir) = cgroup.dir_of("cpu")? {
        let stat = keyed(dir, "cpu.stat")?;
        let get = |key: &str| stat.get(key).copied().unwrap_or(0);
        let (periods, throttled_periods) = (get("nr_periods"), get("nr_throttled"));
        stats.cpu.throttling =
            Throttling { periods, throttled_periods, throttled_time: get("throttled_time") };
    }
    if let Some(dir) = cgroup.dir_of("cpuacct")? {
        stats.cpu.usage = cpu_usage(dir)?;
    }
    if let Some(dir) = cgroup.dir_of("pids")? {
        let limit = number(dir, "pids.max")?;
        stats.pids = PidsStats {
            current: number(dir, "pids.current")?,
            limit: if limit == u64::MAX { 0 } else { limit },
        };
    }
    if let Some(dir) = cgroup.dir_of("blkio")? {
        stats.blkio = block_io(dir)?;
    }
    if let Some(dir) = cgroup.dir_of("hugetlb")? {
        for size in page_sizes(dir)? {
            let entry = hugetlb(dir, &size)?;
            stats.hugetlb.insert(size, entry);
        }
    }
    Ok(stats)
}

fn cpuset(dir: &Dir) -> Result<CpuSetStats> {
    let flag = |name: &str| number(dir, &format!("cpuset.{name}"));
    let level = dir.read_if_present("cpuset.sched_relax_domain_level")?.unwrap_or_default();
    Ok(CpuSetStats {
        cpus: list(dir, "cpuset.cpus")?,
        cpu_exclusive: flag("cpu_exclusive")?,
        mems: list(dir, "cpuset.mems")?,
        mem_hardwall: flag("mem_hardwall")?,
        mem_exclusive: flag("mem_exclusive")?,
        memory_migrate: flag("memory_migrate")?,
        memory_spread_page: flag("memory_spread_page")?,
        memory_spread_slab: flag("memory_spread_slab")?,
        memory_pressure: flag("memory_pressure")?,
        sched_load_balance: flag("sched_load_balance")?,
        sched_relax_domain_level: level.trim().parse().unwrap_or(0),
    })
}

fn memory(dir: &Dir) -> Result<MemoryStats> {
    let raw = keyed(dir, "memory.stat")?;
    Ok(MemoryStats {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: memory_entry(dir, "memory")?,
        swap: memory_entry(dir, "memory.memsw")?,
        kernel: memory_entry(dir, "memory.kmem")?,
        kernel_tcp: memory_entry(dir, "memory.kmem.tcp")?,
        raw,
        psi: None,
    })
}

fn memory_entry(dir: &Dir, name: &str) -> Result<MemoryEntry> {
    let file = |kind: &str| format!("{name}.{kind}");
    let Some(usage) = number_if_present(dir, &file("usage_in_bytes"))? else {
        return Ok(MemoryEntry::default());
    };
    let (max, failcnt) = (number(dir, &file("max_usage_in_bytes"))?, number(dir, &file("failcnt"))?);
    Ok(MemoryEntry { limit: number(dir, &file("limit_in_bytes"))?, usage, max, failcnt })
}

fn cpu_usage(dir: &Dir) -> Result<CpuUsage> {
    let stat = keyed(dir, "cpuacct.stat")?;
    let ticks = |key: &str| stat.get(key).copied().unwrap_or(0) * NANOSECONDS_PER_TICK;
    let mut usage = CpuUsage { total: number(dir, "cpuacct.usage")?, ..CpuUsage::default() };
    usage.percpu = numbers(dir, "cpuacct.usage_percpu")?;
    (usage.kernel, usage.user) = (ticks("system"), ticks("user"));
    // A header, then `cpu user system` a line.
    let file = "cpuacct.usage_all";
    for line in dir.read_if_present(file)?.unwrap_or_default().lines().skip(1) {
        let mut words = line.split(' ').skip(1).map(str::parse);
        let (Some(Ok(user)), Some(Ok(kernel))) = (words.next(), words.next()) else {
            return Err(malformed(dir, file, line));
        };
        usage.percpu_user.push(user);
        usage.percpu_kernel.push(kernel);
    }
    Ok(usage)
}

fn hugetlb(dir: &Dir, size: &str) -> Result<HugetlbStats> {
    let file = |kind: &str, name: &str| format!("hugetlb.{size}{kind}.{name}");
    let reserved = number_if_present(dir, &file(".rsvd", "usage_in_bytes"))?;
    let kind = if reserved.is_some() { ".rsvd" } else { "" };
    let usage = reserved.map_or_else(|| number(dir, &file("", "usage_in_bytes")), Ok)?;
    let (max, failcnt) =
        (number(dir, &file(kind, "max_usage_in_bytes"))?, number(dir, &file(kind, "failcnt"))?);
    Ok(HugetlbStats { usage, max, failcnt })
}

/// The page sizes that the files in the directory speak of, on both versions.
pub(super) fn page_sizes(dir: &Dir) -> Result<Vec<String>> {
    let mut sizes: Vec<String> = Vec::new();
    for (name, _) in dir.names()? {
        if let Some(size) = name.strip_prefix("hugetlb.").and_then(|rest| rest.split('.').next())
            && !sizes.iter().any(|known| known == size)
        {
            sizes.push(size.to_owned());
        }
    }
    Ok(sizes)
}

type Table = fn(&mut Blkio) -> &mut Vec<BlkioEntry>;

/// Which files there are depends on the scheduler and the kernel. The first group whose first file has lines is taken.
const GROUPS: [&[(&str, Table)]; 5] = [
    &[
        ("blkio.bfq.sectors_recursive", |b| &mut b.sectors_recursive),
        ("blkio.bfq.io_service_time_recursive", |b| &mut b.io_service_time_recursive),
        ("blkio.bfq.io_wait_time_recursive", |b| &mut b.io_wait_time_recursive),
        ("blkio.bfq.io_merged_recursive", |b| &mut b.io_merged_recursive),
        ("blkio.bfq.io_queued_recursive", |b| &mut b.io_queued_recursive),
        ("blkio.bfq.time_recursive", |b| &mut b.io_time_recursive),
        ("blkio.bfq.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("blkio.bfq.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("blkio.bfq.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("blkio.bfq.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("blkio.sectors_recursive", |b| &mut b.sectors_recursive),
        ("blkio.io_service_time_recursive", |b| &mut b.io_service_time_recursive),
        ("blkio.io_wait_time_recursive", |b| &mut b.io_wait_time_recursive),
        ("blkio.io_merged_recursive", |b| &mut b.io_merged_recursive),
        ("blkio.io_queued_recursive", |b| &mut b.io_queued_recursive),
        ("blkio.time_recursive", |b| &mut b.io_time_recursive),
        ("blkio.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("blkio.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("blkio.throttle.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("blkio.throttle.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("blkio.throttle.io_serviced", |b| &mut b.io_serviced_recursive),
        ("blkio.throttle.io_service_bytes", |b| &mut b.io_service_bytes_recursive),
    ],
];

fn block_io(dir: &Dir) -> Result<Blkio> {
    let mut blkio = Blkio::default();
    for group in GROUPS {
        for (index, (file, table)) in group.iter().enumerate() {
            let entries = block_io_entries(dir, file)?;
            if entries.is_empty() && index == 0 {
                break;
            }
            *table(&mut blkio) = entries;
            if index + 1 == group.len() {
                return Ok(blkio);
            }
        }
    }
    Ok(blkio)
}

fn block_io_entries(dir: &Dir, file: &str) -> Result<Vec<BlkioEntry>> {
    let text = dir.read_if_present(file)?.unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with("Total"));
    lines.map(|line| parse_entry(line).ok_or_else(|| malformed(dir, file, line))).collect()
}

/// `8:0 Read 123`, or `8:0 123`.
fn parse_entry(line: &str) -> Option<BlkioEntry> {
    let words: Vec<&str> = line.split(' ').collect();
    let (device, op, value) = match words.as_slice() {
        [device, value] => (device, "", value),
        [device, op, value] => (device, *op, value),
        _ => return None,
    };
    let (major, minor) = device.split_once(':')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    Some(BlkioEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blkio_lines() {
        let entry = |op: &str, value| Some(BlkioEntry { major: 8, minor: 1, op: op.into(), value });
        assert_eq!(parse_entry("8:1 Read 5"), entry("Read", 5));
        assert_eq!(parse_entry("8:1 5"), entry("", 5));
        for line in ["8 5", "8:1", "8:1 a b c", "8:1 Read x"] {
            assert_eq!(parse_entry(line), None, "{line}");
        }
    }
}
