//! Statistics of version 2: `cgroup-v2.rst`.

use crate::cgroup::Cgroup;
use crate::dir::Dir;
use crate::error::Result;

use super::files::{keyed, malformed, number, number_if_present, pressure};
use super::shape::{Blkio, BlkioEntry, CpuStats, HugetlbStats, MemoryEntry, MemoryStats, PidsStats, Stats};

/// The kernel counts microseconds.
const NANOSECONDS: u64 = 1000;

pub(super) fn stats(cgroup: &Cgroup) -> Result<Stats> {
    let mut stats = Stats::default();
    let Some(dir) = cgroup.dir_of("memory")? else { return Ok(stats) };
    stats.cpu = cpu(dir)?;
    stats.memory = memory(dir)?;
    stats.pids = pids(cgroup, dir)?;
    stats.blkio = block_io(dir)?;
    for size in super::v1::page_sizes(dir)? {
        let file = |name: &str| format!("hugetlb.{size}.{name}");
        let reserved = number_if_present(dir, &file("rsvd.current"))?;
        let usage = reserved.map_or_else(|| number(dir, &file("current")), Ok)?;
        let failcnt = keyed(dir, &file("events"))?.get("max").copied().unwrap_or(0);
        stats.hugetlb.insert(size, HugetlbStats { usage, max: 0, failcnt });
    }
    Ok(stats)
}

fn cpu(dir: &Dir) -> Result<CpuStats> {
    let stat = keyed(dir, "cpu.stat")?;
    let get = |key: &str| stat.get(key).copied().unwrap_or(0);
    let mut cpu = CpuStats::default();
    cpu.usage.total = get("usage_usec") * NANOSECONDS;
    cpu.usage.user = get("user_usec") * NANOSECONDS;
    cpu.usage.kernel = get("system_usec") * NANOSECONDS;
    cpu.throttling.periods = get("nr_periods");
    cpu.throttling.throttled_periods = get("nr_throttled");
    cpu.throttling.throttled_time = get("throttled_usec") * NANOSECONDS;
    cpu.psi = pressure(dir, "cpu.pressure")?;
    Ok(cpu)
}

/// Swap is told together with memory, as version 1 has it.
fn memory(dir: &Dir) -> Result<MemoryStats> {
    let raw = keyed(dir, "memory.stat")?;
    let usage = entry(dir, "memory")?;
    let mut swap = entry(dir, "memory.swap")?;
    swap.usage = swap.usage.saturating_add(usage.usage);
    swap.limit = swap.limit.saturating_add(if swap.limit == u64::MAX { 0 } else { usage.limit });
    swap.max = 0;
    let cache = raw.get("file").copied().unwrap_or(0);
    let psi = pressure(dir, "memory.pressure")?;
    Ok(MemoryStats { cache, usage, swap, raw, psi, ..MemoryStats::default() })
}

fn entry(dir: &Dir, name: &str) -> Result<MemoryEntry> {
    let Some(usage) = number_if_present(dir, &format!("{name}.current"))? else {
        return Ok(MemoryEntry::default());
    };
    let (limit, max) = (number(dir, &format!("{name}.max"))?, number(dir, &format!("{name}.peak"))?);
    Ok(MemoryEntry { limit, usage, max, failcnt: 0 })
}

/// Without the controller the processes are counted.
fn pids(cgroup: &Cgroup, dir: &Dir) -> Result<PidsStats> {
    match number_if_present(dir, "pids.current")? {
        Some(current) => {
            let limit = number(dir, "pids.max")?;
            Ok(PidsStats { current, limit: if limit == u64::MAX { 0 } else { limit } })
        }
        None => Ok(PidsStats { current: cgroup.processes()?.len() as u64, limit: 0 }),
    }
}

fn block_io(dir: &Dir) -> Result<Blkio> {
    let file = "io.stat";
    let text = dir.read_if_present(file)?.unwrap_or_default();
    let mut blkio = Blkio { psi: pressure(dir, "io.pressure")?, ..Blkio::default() };
    for line in text.lines() {
        add_device(&mut blkio, line).ok_or_else(|| malformed(dir, file, line))?;
    }
    Ok(blkio)
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 ...`, in the tables of version 1.
fn add_device(blkio: &mut Blkio, line: &str) -> Option<()> {
    let mut words = line.split_whitespace();
    let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else {
        return Some(());
    };
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    for word in words {
        let Some((key, value)) = word.split_once('=') else { continue };
        let (table, op) = match key {
            "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
            "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
            "rios" => (&mut blkio.io_serviced_recursive, "Read"),
            "wios" => (&mut blkio.io_serviced_recursive, "Write"),
            _ => continue,
        };
        table.push(BlkioEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_stat_lines() {
        let mut blkio = Blkio::default();
        for line in ["8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7", "253:0", ""] {
            add_device(&mut blkio, line).unwrap();
        }
        let entry = |op: &str, value| BlkioEntry { major: 8, minor: 16, op: op.into(), value };
        assert_eq!(blkio.io_service_bytes_recursive, [entry("Read", 1), entry("Write", 2)]);
        assert_eq!(blkio.io_serviced_recursive, [entry("Read", 3), entry("Write", 4)]);
        assert_eq!(add_device(&mut blkio, "8:x rios=1"), None);
        assert_eq!(add_device(&mut blkio, "8:0 rios=x"), None);
    }
}
