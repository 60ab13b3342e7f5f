//! Limits: what contradicts itself is refused, what this host has no controller for is discarded with a warning.

use crate::error::{Error, Result};
use crate::oci::{self, Host};
use crate::settings::Settings;
use crate::wire::HostConfig;

/// What a container needs to start at all, in bytes.
const LEAST_MEMORY: i64 = 6 << 20;

/// A limit of memory and swap says nothing at an update that leaves memory as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Update,
}

/// Checks and normalises; gives warnings.
pub(crate) fn check(host: &mut HostConfig, act: Act) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let offered = Host::get();
    check_on(host, act, offered, &mut warnings)?;
    Ok(warnings)
}

fn check_on(host: &mut HostConfig, act: Act, offered: &Host, warnings: &mut Vec<String>) -> Result<()> {
    realtime(host, offered)?;
    memory(host, act, offered, warnings)?;
    oom(host, offered, warnings)?;
    pids(host, act, offered, warnings);
    cpu(host, offered, warnings)?;
    cpuset(host, offered, warnings)?;
    blkio(host, offered, warnings)
}

fn refuse<T>(why: impl std::fmt::Display) -> Result<T> {
    Err(Error::invalid(why))
}

fn realtime(host: &HostConfig, offered: &Host) -> Result<()> {
    let (period, runtime) = (host.cpu_realtime_period, host.cpu_realtime_runtime);
    if (period != 0 || runtime != 0) && !offered.cpu_realtime {
        return refuse("kernel does not support CPU real-time scheduler");
    }
    if period != 0 && runtime > period {
        return refuse("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    Ok(())
}

fn memory(host: &mut HostConfig, act: Act, offered: &Host, warnings: &mut Vec<String>) -> Result<()> {
    if host.memory_swappiness == Some(-1) {
        host.memory_swappiness = None;
    }
    if host.memory != 0 && host.memory < LEAST_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if host.memory > 0 && !offered.memory {
        warnings.push(discarded("memory limit", "Limitation"));
        (host.memory, host.memory_swap) = (0, -1);
    }
    if host.memory > 0 && host.memory_swap != -1 && !offered.swap {
        let why = "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.";
        warnings.push(why.to_owned());
        host.memory_swap = -1;
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory == 0 && host.memory_swap > 0 && act == Act::Create {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if host.memory_swappiness.is_some() && !offered.swappiness {
        warnings.push(discarded("memory swappiness", "Memory swappiness"));
        host.memory_swappiness = None;
    }
    if let Some(percent) = host.memory_swappiness.filter(|percent| !(0..=100).contains(percent)) {
        return refuse(format!("Invalid value: {percent}, valid memory swappiness range is 0-100"));
    }
    if host.memory_reservation > 0 && !offered.memory_reservation {
        warnings.push(discarded("memory soft limit", "Limitation"));
        host.memory_reservation = 0;
    }
    if host.memory_reservation > 0 && host.memory_reservation < LEAST_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if host.memory > 0 && host.memory < host.memory_reservation {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if host.kernel_memory > 0 {
        warnings.push(discarded("kernel memory limit", "Limitation"));
        host.kernel_memory = 0;
    }
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    Ok(())
}

fn discarded(what: &str, name: &str) -> String {
    format!(
        "Your kernel does not support {what} capabilities or the cgroup is not mounted. {name} discarded."
    )
}

fn oom(host: &mut HostConfig, offered: &Host, warnings: &mut Vec<String>) -> Result<()> {
    if !offered.oom_kill_disable {
        if host.oom_kill_disable.take() == Some(true) {
            warnings
                .push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned());
        }
    } else if *host.oom_kill_disable.get_or_insert(false) && host.memory == 0 {
        let why = "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.";
        warnings.push(why.to_owned());
    }
    let score = host.oom_score_adj;
    if !(-1000..=1000).contains(&score) {
        return refuse(format!("Invalid value {score}, range for oom score adj is [-1000, 1000]"));
    }
    Ok(())
}

fn pids(host: &mut HostConfig, act: Act, offered: &Host, warnings: &mut Vec<String>) {
    host.pids_limit = match act {
        Act::Create => host.pids_limit.filter(|limit| *limit > 0),
        // 0 takes a limit away.
        Act::Update => host.pids_limit.map(|limit| limit.max(0)),
    };
    if host.pids_limit.is_some() && !offered.pids {
        warnings.push(discarded("PIDs limit", "PIDs limit"));
        host.pids_limit = None;
    }
}

fn cpu(host: &mut HostConfig, offered: &Host, warnings: &mut Vec<String>) -> Result<()> {
    if host.nano_cpus > 0 && host.cpu_period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if host.nano_cpus > 0 && host.cpu_quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if host.nano_cpus > 0 && !offered.cpu_quota {
        let why = "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted";
        return refuse(why);
    }
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = i64::try_from(count).unwrap_or(1).saturating_mul(1_000_000_000);
    if host.nano_cpus < 0 || host.nano_cpus > most {
        return refuse(format!(
            "range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        ));
    }
    if host.cpu_shares < 0 {
        return refuse(format!("invalid CPU shares ({}): value must be a positive integer", host.cpu_shares));
    }
    if host.cpu_shares > 0 && !offered.cpu_shares {
        warnings.push(
            "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded."
                .to_owned(),
        );
        host.cpu_shares = 0;
    }
    if (host.cpu_period != 0 || host.cpu_quota != 0) && !offered.cpu_quota {
        warnings
            .push("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.".to_owned());
        (host.cpu_period, host.cpu_quota) = (0, 0);
    }
    if host.cpu_period != 0 && !(1000..=1_000_000).contains(&host.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if (1..1000).contains(&host.cpu_quota) {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if host.cpu_percent > 0 {
        warnings.push("linux does not support CPU percent. Percent discarded.".to_owned());
        host.cpu_percent = 0;
    }
    Ok(())
}

fn cpuset(host: &mut HostConfig, offered: &Host, warnings: &mut Vec<String>) -> Result<()> {
    if host.cpuset_cpus.is_empty() && host.cpuset_mems.is_empty() {
        return Ok(());
    }
    let Some(available) = &offered.cpuset else {
        warnings.push(
            "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.".to_owned(),
        );
        host.cpuset_cpus.clear();
        host.cpuset_mems.clear();
        return Ok(());
    };
    let table = [
        ("cpuset cpus", "CPUs", &host.cpuset_cpus, &available.cpus),
        ("cpuset mems", "memory nodes", &host.cpuset_mems, &available.mems),
    ];
    for (field, what, asked, there) in table {
        let Some(numbers) = oci::numbers(asked) else {
            return refuse(format!("Invalid value {asked} for {field}: invalid format: {asked}"));
        };
        if !numbers.is_subset(&oci::numbers(there).unwrap_or_default()) {
            return refuse(format!(
                "Requested {what} are not available - requested {asked}, available: {there}"
            ));
        }
    }
    Ok(())
}

fn blkio(host: &mut HostConfig, offered: &Host, warnings: &mut Vec<String>) -> Result<()> {
    if host.blkio_weight > 0 && !offered.blkio_weight {
        let why =
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.";
        warnings.push(why.to_owned());
        host.blkio_weight = 0;
    }
    if host.blkio_weight > 0 && !(10..=1000).contains(&host.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    let some = |there: bool, list: bool| there && !list;
    let weights = host.blkio_weight_device.iter().flatten().next().is_some();
    if some(weights, offered.blkio_weight_device) {
        let why = "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.";
        warnings.push(why.to_owned());
        host.blkio_weight_device = None;
    }
    let lists = [
        (&mut host.blkio_device_read_bps, "BPS Block I/O read limit", "Block I/O BPS read limit"),
        (&mut host.blkio_device_write_bps, "BPS Block I/O write limit", "Block I/O BPS write limit"),
        (&mut host.blkio_device_read_iops, "IOPS Block read limit", "Block I/O IOPS read limit"),
        (&mut host.blkio_device_write_iops, "IOPS Block write limit", "Block I/O IOPS write limit"),
    ];
    for (list, what, name) in lists {
        if list.iter().flatten().next().is_some() && !offered.blkio_throttle {
            warnings.push(format!(
                "Your kernel does not support {what} or the cgroup is not mounted. {name} discarded."
            ));
            *list = None;
        }
    }
    Ok(())
}

/// The engine's limits below the container's.
pub(super) fn ulimits(host: &mut HostConfig, settings: &Settings) -> Result<()> {
    let list = host.ulimits.get_or_insert_default();
    for (name, limit) in &settings.default_ulimits {
        if !list.iter().any(|own| own.name == *name) {
            list.push(limit.clone());
        }
    }
    for limit in list {
        if !oci::RLIMITS.iter().any(|(name, _)| *name == limit.name) {
            return refuse(format!("invalid ulimit type: {}", limit.name));
        }
        // -1 is no limit.
        if limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard) {
            let why = format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            );
            return refuse(why);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ThrottleDevice;

    fn all() -> Host {
        let cpuset = serde_cpuset("0-3", "0");
        Host {
            memory: true,
            swap: true,
            memory_reservation: true,
            swappiness: true,
            oom_kill_disable: true,
            pids: true,
            cpu_shares: true,
            cpu_quota: true,
            blkio_weight: true,
            blkio_weight_device: true,
            blkio_throttle: true,
            cpuset,
            ..Host::default()
        }
    }

    #[allow(clippy::unnecessary_wraps)] // the form of the field
    fn serde_cpuset(cpus: &str, mems: &str) -> Option<oci::Cpuset> {
        Some(oci::Cpuset { cpus: cpus.to_owned(), mems: mems.to_owned() })
    }

    fn checked(mut host: HostConfig, offered: &Host) -> Result<(HostConfig, Vec<String>)> {
        let mut warnings = Vec::new();
        check_on(&mut host, Act::Create, offered, &mut warnings).map(|()| (host, warnings))
    }

    #[test]
    #[allow(clippy::large_stack_arrays)] // a row is a whole HostConfig
    fn what_contradicts_itself_is_refused() {
        const MIB: i64 = 1 << 20;
        let base = HostConfig::default;
        let text = |text: &str| text.to_owned();
        let table = [
            (HostConfig { memory: 5 * MIB, ..base() }, "Minimum memory limit allowed is 6MB"),
            (HostConfig { memory: -1, ..base() }, "Minimum memory limit allowed is 6MB"),
            (
                HostConfig { memory: 8 * MIB, memory_swap: 7 * MIB, ..base() },
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                HostConfig { memory_swap: 7 * MIB, ..base() },
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                HostConfig { memory_swappiness: Some(101), ..base() },
                "Invalid value: 101, valid memory swappiness range is 0-100",
            ),
            (HostConfig { memory_reservation: 1, ..base() }, "Minimum memory reservation allowed is 6MB"),
            (
                HostConfig { memory: 8 * MIB, memory_reservation: 9 * MIB, ..base() },
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            ),
            (HostConfig { shm_size: -1, ..base() }, "SHM size can not be less than 0"),
            (
                HostConfig { nano_cpus: 1, cpu_period: 1000, ..base() },
                "Conflicting options: Nano CPUs and CPU Period cannot both be set",
            ),
            (
                HostConfig { nano_cpus: 1, cpu_quota: 1000, ..base() },
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
            ),
            (
                HostConfig { cpu_shares: -2, ..base() },
                "invalid CPU shares (-2): value must be a positive integer",
            ),
            (
                HostConfig { cpu_period: 999, ..base() },
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ),
            (HostConfig { cpu_quota: 10, ..base() }, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
            (
                HostConfig { cpuset_cpus: text("2-4"), ..base() },
                "Requested CPUs are not available - requested 2-4, available: 0-3",
            ),
            (
                HostConfig { cpuset_mems: text("x"), ..base() },
                "Invalid value x for cpuset mems: invalid format: x",
            ),
            (
                HostConfig { cpuset_mems: text("1"), ..base() },
                "Requested memory nodes are not available - requested 1, available: 0",
            ),
            (HostConfig { blkio_weight: 9, ..base() }, "Range of blkio weight is from 10 to 1000"),
            (
                HostConfig { oom_score_adj: -1001, ..base() },
                "Invalid value -1001, range for oom score adj is [-1000, 1000]",
            ),
            (
                HostConfig { cpu_realtime_period: 1, ..base() },
                "kernel does not support CPU real-time scheduler",
            ),
        ];
        for (host, expected) in table {
            assert_eq!(checked(host, &all()).unwrap_err().message, expected);
        }
        let error = checked(HostConfig { nano_cpus: i64::MAX, ..base() }, &all()).unwrap_err();
        assert!(error.message.starts_with("range of CPUs is from 0.01 to "), "{error}");
    }

    #[test]
    fn what_the_host_lacks_is_discarded_with_a_warning() {
        let throttle = || Some(vec![ThrottleDevice { path: "/dev/x".into(), rate: 1 }]);
        let asked = HostConfig {
            memory: 8 << 20,
            memory_reservation: 7 << 20,
            memory_swappiness: Some(1),
            oom_kill_disable: Some(true),
            pids_limit: Some(5),
            cpu_shares: 5,
            cpu_quota: 5000,
            cpu_percent: 1,
            cpuset_cpus: "0".into(),
            blkio_weight: 100,
            blkio_device_read_bps: throttle(),
            blkio_device_write_iops: throttle(),
            kernel_memory: 1,
            ..HostConfig::default()
        };
        let (host, warnings) = checked(asked, &Host::default()).unwrap();
        assert_eq!(warnings.len(), 13, "{warnings:#?}");
        assert_eq!((host.memory, host.memory_swap, host.cpu_quota, host.cpu_shares), (0, -1, 0, 0));
        assert!(host.pids_limit.is_none() && host.oom_kill_disable.is_none() && host.cpuset_cpus.is_empty());
        assert!(host.blkio_device_read_bps.is_none() && host.blkio_weight == 0);
    }

    #[test]
    fn what_clients_send_for_nothing_is_nothing() {
        let asked = HostConfig {
            memory_swappiness: Some(-1),
            pids_limit: Some(-1),
            oom_kill_disable: Some(false),
            ..HostConfig::default()
        };
        let (host, warnings) = checked(asked, &all()).unwrap();
        assert!(warnings.is_empty());
        assert_eq!(
            (host.memory_swappiness, host.pids_limit, host.oom_kill_disable),
            (None, None, Some(false))
        );
    }
}
