//! `docker stats`: what a container uses, read from its cgroups and its network namespace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use knarr_cgroups::{Cgroup, Hierarchies, Mode, Stats};

use crate::container::{Container, Record};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::wire::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, StatsAnswer,
    Throttling, go_time,
};

/// Nanoseconds of a tick of /proc/stat: `USER_HZ` is 100 everywhere.
const TICK: u64 = 1_000_000_000 / 100;

/// A container that is measured again and again.
pub(crate) struct Sampler {
    container: Arc<Container>,
    /// The last sample: when, and the processor's part.
    before: Option<(Timestamp, CpuStats)>,
}

impl Engine {
    pub(crate) fn stats(&self, name: &str) -> Result<Sampler> {
        Ok(Sampler { container: self.containers.find(name)?, before: None })
    }
}

impl Sampler {
    /// There is something to measure. A client that wants no stream gets an empty answer if there is not.
    pub(crate) fn is_up(&self) -> bool {
        self.container.record().state.status.is_up()
    }

    /// Nothing will ever come.
    pub(crate) fn is_removed(&self) -> bool {
        self.container.turns().borrow().removed
    }

    /// A sample, with the processor's part of the one before; zeros if the container does not run.
    pub(crate) fn sample(&mut self) -> Result<StatsAnswer> {
        let record = self.container.record();
        let now = Timestamp::now();
        let mut answer = empty(&record);
        if !record.state.status.is_up() {
            self.before = None;
            return Ok(answer);
        }
        if let Err(error) = measure(&record, &mut answer) {
            // It has ended since the record was looked at, and its cgroup is gone.
            return if self.is_up() { Err(error) } else { Ok(empty(&record)) };
        }
        answer.read = now.to_string();
        if let Some((read, cpu)) = self.before.replace((now, answer.cpu_stats.clone())) {
            answer.preread = read.to_string();
            answer.precpu_stats = cpu;
        }
        Ok(answer)
    }
}

fn empty(record: &Record) -> StatsAnswer {
    StatsAnswer {
        name: format!("/{}", record.name),
        id: record.id.clone(),
        read: go_time(None),
        preread: go_time(None),
        pids_stats: PidsStats::default(),
        blkio_stats: BlkioStats::default(),
        num_procs: 0,
        storage_stats: crate::wire::Nothing {},
        cpu_stats: CpuStats::default(),
        precpu_stats: CpuStats::default(),
        memory_stats: MemoryStats::default(),
        networks: BTreeMap::new(),
    }
}

fn measure(record: &Record, answer: &mut StatsAnswer) -> Result<()> {
    let hierarchies = Hierarchies::discover().map_err(Error::system)?;
    let cgroup = cgroup(&hierarchies, record)?;
    let stats = cgroup.stats().map_err(Error::system)?;
    let unified = hierarchies.mode() == Mode::Unified;
    // Right after the container's own, so that their ratio is one of the same moment.
    let (system, online) = machine_cpu(&read(Path::new("/proc/stat"))?);
    answer.cpu_stats = cpu(&stats, system, online);
    answer.memory_stats = memory(&stats, machine_memory(&read(Path::new("/proc/meminfo"))?));
    answer.pids_stats = PidsStats { current: stats.pids.current, limit: stats.pids.limit };
    answer.blkio_stats = blkio(&stats, unified);
    if record.network_mode() != "host" && !record.config.network_disabled {
        answer.networks = interfaces(&read(&PathBuf::from(format!("/proc/{}/net/dev", record.state.pid)))?);
    }
    Ok(())
}

/// The cgroup of a running container.
pub(crate) fn cgroup(hierarchies: &Hierarchies, record: &Record) -> Result<Cgroup> {
    // A container that has its cgroups to itself may have moved its first process into an inner one.
    if let (Mode::Unified, Some(path)) = (hierarchies.mode(), &record.memory_cgroup) {
        return Ok(Cgroup::from_paths(&BTreeMap::from([(String::new(), path.clone())])));
    }
    let text = read(&PathBuf::from(format!("/proc/{}/cgroup", record.state.pid)))?;
    let mut paths = BTreeMap::new();
    for hierarchy in hierarchies {
        let first = hierarchy.controllers.first().map_or("", String::as_str);
        let Some(path) = path_in(&text, first) else { continue };
        let inner = Path::new(path).strip_prefix(&hierarchy.root).unwrap_or(Path::new(""));
        let path = hierarchy.mount_point.join(inner);
        paths.extend(hierarchy.controllers.iter().map(|controller| (controller.clone(), path.clone())));
    }
    Ok(Cgroup::from_paths(&paths))
}

/// The path in the hierarchy that has a controller, from /proc/PID/cgroup.
fn path_in<'a>(text: &'a str, controller: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

fn cpu(stats: &Stats, system: u64, online: u64) -> CpuStats {
    let (usage, throttling) = (&stats.cpu.usage, &stats.cpu.throttling);
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: usage.total,
            percpu_usage: usage.percpu.clone(),
            usage_in_kernelmode: usage.kernel,
            usage_in_usermode: usage.user,
        },
        system_cpu_usage: system,
        online_cpus: online,
        throttling_data: Throttling {
            periods: throttling.periods,
            throttled_periods: throttling.throttled_periods,
            throttled_time: throttling.throttled_time,
        },
    }
}

fn memory(stats: &Stats, machine: u64) -> MemoryStats {
    let usage = &stats.memory.usage;
    MemoryStats {
        usage: usage.usage,
        max_usage: if stats.memory.raw.contains_key("total_cache") { usage.max } else { 0 },
        stats: stats.memory.raw.clone(),
        failcnt: usage.failcnt,
        limit: if machine > 0 { usage.limit.min(machine) } else { usage.limit },
    }
}

fn blkio(stats: &Stats, unified: bool) -> BlkioStats {
    let list = |entries: &[knarr_cgroups::BlkioEntry]| {
        let entry = |entry: &knarr_cgroups::BlkioEntry| BlkioEntry {
            major: entry.major,
            minor: entry.minor,
            op: if unified { entry.op.to_ascii_lowercase() } else { entry.op.clone() },
            value: entry.value,
        };
        entries.iter().map(entry).collect::<Vec<_>>()
    };
    let blkio = &stats.blkio;
    let bytes = list(&blkio.io_service_bytes_recursive);
    if unified {
        // Docker gives nothing but bytes there, and null without any.
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        return BlkioStats { io_service_bytes_recursive: bytes, ..BlkioStats::default() };
    }
    BlkioStats {
        io_service_bytes_recursive: Some(bytes),
        io_serviced_recursive: Some(list(&blkio.io_serviced_recursive)),
        io_queue_recursive: Some(list(&blkio.io_queued_recursive)),
        io_service_time_recursive: Some(list(&blkio.io_service_time_recursive)),
        io_wait_time_recursive: Some(list(&blkio.io_wait_time_recursive)),
        io_merged_recursive: Some(list(&blkio.io_merged_recursive)),
        io_time_recursive: Some(list(&blkio.io_time_recursive)),
        sectors_recursive: Some(list(&blkio.sectors_recursive)),
    }
}

/// Nanoseconds of all processors together, idle ones included, and how many there are: /proc/stat.
fn machine_cpu(text: &str) -> (u64, u64) {
    let lines = text.lines().take_while(|line| line.starts_with("cpu"));
    let mut sum = (0, 0);
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("cpu") {
            let ticks: u64 = words.take(7).filter_map(|word| word.parse::<u64>().ok()).sum();
            sum.0 = ticks * TICK;
        } else {
            sum.1 += 1;
        }
    }
    sum
}

/// Bytes of memory of the machine: /proc/meminfo.
fn machine_memory(text: &str) -> u64 {
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total
        .and_then(|total| total.split_ascii_whitespace().next()?.parse().ok())
        .map_or(0, |kib: u64| kib * 1024)
}

/// Counters by interface, without the loopback: /proc/PID/net/dev.
fn interfaces(text: &str) -> BTreeMap<String, NetworkStats> {
    let line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> =
            numbers.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
            ..,
        ] = *numbers.as_slice()
        else {
            return None;
        };
        let stats = NetworkStats {
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        };
        Some((name.trim().to_owned(), stats))
    };
    text.lines().filter_map(line).filter(|(name, _)| name != "lo").collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).during("read", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Status, sample};

    #[test]
    fn files_of_proc() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(machine_cpu(stat), (28 * TICK, 2));
        assert_eq!(machine_memory("MemTotal:       8000 kB\nMemFree: 1 kB\n"), 8_192_000);
        let dev = "Inter-|   Receive                        |  Transmit\n face |bytes packets errs\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n";
        let found = interfaces(dev);
        let want = NetworkStats {
            rx_bytes: 10,
            rx_packets: 2,
            rx_errors: 3,
            rx_dropped: 4,
            tx_bytes: 50,
            tx_packets: 6,
            tx_errors: 7,
            tx_dropped: 8,
        };
        assert_eq!(found, BTreeMap::from([("eth0".to_owned(), want)]));
        let cgroups = "9:name=systemd:/a\n3:cpu,cpuacct:/b\n0::/c:d\n";
        assert_eq!(path_in(cgroups, "cpuacct"), Some("/b"));
        assert_eq!(path_in(cgroups, ""), Some("/c:d"));
        assert_eq!(path_in(cgroups, "pids"), None);
    }

    #[test]
    fn a_stopped_container_uses_nothing() {
        let record = sample::record('d', "web");
        let folder = tempfile::tempdir().unwrap();
        let container = Arc::new(Container::new(folder.path().to_owned(), record));
        let mut sampler = Sampler { container, before: None };
        let text = serde_json::to_string(&sampler.sample().unwrap()).unwrap();
        assert!(!sampler.is_up());
        let cpu = r#"{"cpu_usage":{"total_usage":0,"usage_in_kernelmode":0,"usage_in_usermode":0},"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}}"#;
        let lists = ["service_bytes", "serviced", "queue", "service_time", "wait_time", "merged", "time"]
            .map(|name| format!("\"io_{name}_recursive\":null,"))
            .concat();
        let want = format!(
            "{{\"name\":\"/web\",\"id\":\"{}\",\"read\":\"0001-01-01T00:00:00Z\",\"preread\":\"0001-01-01T00:00:00Z\",\"pids_stats\":{{}},\"blkio_stats\":{{{lists}\"sectors_recursive\":null}},\"num_procs\":0,\"storage_stats\":{{}},\"cpu_stats\":{cpu},\"precpu_stats\":{cpu},\"memory_stats\":{{}}}}",
            "d".repeat(64)
        );
        assert_eq!(text, want);
    }

    #[test]
    fn a_process_that_works_is_measured() {
        // This test's own process in place of a container's.
        let mut record = sample::record('e', "self");
        record.state.status = Status::Running;
        record.state.pid = i32::try_from(std::process::id()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let container = Arc::new(Container::new(folder.path().to_owned(), record));
        let mut sampler = Sampler { container, before: None };
        let first = sampler.sample().unwrap();
        assert_eq!(first.precpu_stats, CpuStats::default());
        assert_eq!(first.preread, go_time(None));
        assert!(first.cpu_stats.system_cpu_usage > 0 && first.cpu_stats.online_cpus > 0);
        assert!(first.memory_stats.limit > 0);
        let until = std::time::Instant::now() + std::time::Duration::from_millis(30);
        while std::time::Instant::now() < until {}
        let second = sampler.sample().unwrap();
        assert_eq!((second.precpu_stats, second.preread), (first.cpu_stats.clone(), first.read));
        assert!(second.cpu_stats.cpu_usage.total_usage > first.cpu_stats.cpu_usage.total_usage);
    }
}
