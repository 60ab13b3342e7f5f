//! What every container of Docker has unless it says otherwise (moby's oci/defaults.go).

use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// The search path of programs.
pub(super) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Destination, type, source and options of the kernel's file systems, parents first.
pub(super) const MOUNTS: [(&str, &str, &str, &[&str]); 7] = [
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777"]),
];

/// In the order in which Docker lists them.
pub(super) const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a container cannot see, as it tells of the host. Each processor's thermal counters do (CVE-2024-24557's kin,
/// GHSA-6fw5-f8r9-fgfm), where it has them.
pub(crate) fn masked_paths() -> Vec<String> {
    let processors = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let throttles = super::host::numbers(&processors).unwrap_or_default().into_iter();
    let throttles = throttles.map(|number| format!("/sys/devices/system/cpu/cpu{number}/thermal_throttle"));
    let throttles = throttles.filter(|path| Path::new(path).exists());
    MASKED.iter().map(|path| (*path).to_owned()).chain(throttles).collect()
}

/// What a container cannot change.
pub(crate) fn readonly_paths() -> Vec<String> {
    READONLY.iter().map(|path| (*path).to_owned()).collect()
}

/// Which devices a container may use: of `null`, `zero` and their like each; the runtime adds what it makes itself.
pub(super) fn device_rules() -> Vec<LinuxDeviceCgroup> {
    let mut none = LinuxDeviceCgroup::default();
    none.set_allow(false).set_access(Some("rwm".to_owned()));
    let usual = [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)];
    let usual = usual.map(|(major, minor)| character(major, minor, true));
    let fuse = character(10, 229, false);
    [none].into_iter().chain(usual).chain([fuse]).collect()
}

fn character(major: i64, minor: i64, allow: bool) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow)
        .set_typ(Some(LinuxDeviceType::C))
        .set_major(Some(major))
        .set_minor(Some(minor))
        .set_access(Some("rwm".to_owned()));
    rule
}
