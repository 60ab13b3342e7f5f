//! What this machine offers to containers, asked once (moby's pkg/sysinfo).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Controllers of cgroups and security modules. What is false is discarded with a warning when a container asks for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// There is cgroup v2 alone.
    pub(crate) unified: bool,
    pub(crate) memory: bool,
    pub(crate) swap: bool,
    pub(crate) memory_reservation: bool,
    pub(crate) swappiness: bool,
    pub(crate) oom_kill_disable: bool,
    pub(crate) pids: bool,
    pub(crate) cpu_shares: bool,
    pub(crate) cpu_quota: bool,
    pub(crate) cpu_realtime: bool,
    pub(crate) blkio_weight: bool,
    pub(crate) blkio_weight_device: bool,
    pub(crate) blkio_throttle: bool,
    /// None: there is no such controller. Lists as the kernel writes them.
    pub(crate) cpuset: Option<Cpuset>,
    pub(crate) apparmor: bool,
    pub(crate) seccomp: bool,
    /// `mount_setattr(2)`, which makes mounts read-only with all below them, is there.
    pub(crate) recursive_read_only: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cpuset {
    pub(crate) cpus: String,
    pub(crate) mems: String,
}

impl Host {
    pub(crate) fn get() -> &'static Self {
        static HOST: OnceLock<Host> = OnceLock::new();
        HOST.get_or_init(Self::look)
    }

    fn look() -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let common = Self {
            apparmor: fs::read_to_string("/sys/module/apparmor/parameters/enabled")
                .is_ok_and(|text| text.starts_with('Y')),
            recursive_read_only: is_at_least(&rustix::system::uname().release().to_string_lossy(), (5, 12)),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            ..Self::default()
        };
        match fs::read_to_string(root.join("cgroup.controllers")) {
            Ok(controllers) => common.with_v2(root, &controllers),
            Err(_) => common.with_v1(root),
        }
    }

    fn with_v2(self, root: &Path, controllers: &str) -> Self {
        let has = |name: &str| controllers.split_whitespace().any(|one| one == name);
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let read = |name| fs::read_to_string(root.join(name)).unwrap_or_default().trim().to_owned();
        Self {
            unified: true,
            memory: has("memory"),
            swap: has("memory") && root.join(own).join("memory.swap.max").exists(),
            memory_reservation: has("memory"),
            pids: has("pids"),
            cpu_shares: has("cpu"),
            cpu_quota: has("cpu"),
            blkio_weight: has("io"),
            blkio_weight_device: has("io"),
            blkio_throttle: has("io"),
            cpuset: has("cpuset")
                .then(|| Cpuset { cpus: read("cpuset.cpus.effective"), mems: read("cpuset.mems.effective") }),
            ..self
        }
    }

    fn with_v1(self, root: &Path) -> Self {
        let has = |controller: &str, file: &str| root.join(controller).join(file).exists();
        let cpuset = root.join("cpuset");
        let read = |name| fs::read_to_string(cpuset.join(name)).unwrap_or_default().trim().to_owned();
        let weight = has("blkio", "blkio.weight") || has("blkio", "blkio.bfq.weight");
        Self {
            memory: has("memory", "memory.limit_in_bytes"),
            swap: has("memory", "memory.memsw.limit_in_bytes"),
            memory_reservation: has("memory", "memory.soft_limit_in_bytes"),
            swappiness: has("memory", "memory.swappiness"),
            oom_kill_disable: has("memory", "memory.oom_control"),
            pids: root.join("pids").is_dir(),
            cpu_shares: has("cpu", "cpu.shares"),
            cpu_quota: has("cpu", "cpu.cfs_quota_us"),
            cpu_realtime: has("cpu", "cpu.rt_runtime_us"),
            blkio_weight: weight,
            blkio_weight_device: has("blkio", "blkio.weight_device")
                || has("blkio", "blkio.bfq.weight_device"),
            blkio_throttle: has("blkio", "blkio.throttle.read_bps_device"),
            cpuset: cpuset.is_dir().then(|| Cpuset { cpus: read("cpuset.cpus"), mems: read("cpuset.mems") }),
            ..self
        }
    }
}

/// By the first two numbers of a kernel's release.
fn is_at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

/// Whether the host forwards packets, without which a bridge leads nowhere. It may change at any time.
pub(crate) fn forwards_ipv4() -> bool {
    fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() != "0")
}

/// The file of a sysctl, by its dotted name.
pub(super) fn has_sysctl(name: &str) -> bool {
    let path: PathBuf = ["/proc/sys", &name.replace('.', "/")].iter().collect();
    path.exists()
}

/// The numbers of a list such as `0-3,7`. None: it is no such list.
pub(crate) fn numbers(list: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for part in list.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        // As many as the kernel can have, so that a list cannot make the engine count for long.
        if first > last || last >= 8192 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        for release in ["5.12", "5.12.0-rc1", "5.100.3", "6.1.0-18-amd64"] {
            assert!(is_at_least(release, (5, 12)), "{release}");
        }
        for release in ["5.9.16", "4.19.0", "5", ""] {
            assert!(!is_at_least(release, (5, 12)), "{release}");
        }
    }

    #[test]
    fn lists_of_numbers() {
        let set = |list: &[u32]| Some(list.iter().copied().collect::<BTreeSet<_>>());
        for (list, expected) in [
            ("", set(&[])),
            ("7", set(&[7])),
            ("1-3", set(&[1, 2, 3])),
            ("0,2-4,9\n", set(&[0, 2, 3, 4, 9])),
            ("03,1-3", set(&[1, 2, 3])),
            ("1--", None),
            ("1-a", None),
            ("3-1", None),
            ("0-4000000000", None),
        ] {
            assert_eq!(numbers(list), expected, "{list}");
        }
    }
}
