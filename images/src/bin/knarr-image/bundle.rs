//! The configuration of a bundle made from an image (image-spec conversion.md): the process from the image, the rest as a
//! container has it by default.

use knarr_images::{ImageConfig, Process};
use serde_json::{Map, Value, json};

use crate::users::Identity;

/// What Docker leaves to root in a container.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const NAMESPACES: [&str; 6] = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// config.json of an image.
pub(crate) fn config(image: &ImageConfig, identity: &Identity) -> Value {
    let process = &image.parts().config;
    json!({
        "ociVersion": "1.2.0",
        "process": to_process(process, identity),
        "root": { "path": "rootfs" },
        "hostname": "knarr",
        "mounts": mounts(),
        "annotations": annotations(image),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": (NAMESPACES.map(|kind| json!({ "type": kind }))),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}

fn to_process(process: &Process, identity: &Identity) -> Value {
    let mut env = process.env.clone();
    if !env.iter().any(|one| one.starts_with("PATH=")) {
        env.push(PATH.to_owned());
    }
    let program: Vec<&String> = process.entrypoint.iter().chain(&process.cmd).collect();
    let folder = if process.working_dir.is_empty() { "/" } else { &process.working_dir };
    // A user without privileges gets none to pass on.
    let effective: &[&str] = if identity.uid == 0 { &CAPABILITIES } else { &[] };
    json!({
        "user": { "uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups },
        "args": if program.is_empty() { vec!["sh"] } else { program.iter().map(|word| word.as_str()).collect() },
        "env": env,
        "cwd": folder,
        "capabilities": { "bounding": CAPABILITIES, "effective": effective, "permitted": effective },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        "noNewPrivileges": true,
    })
}

fn mounts() -> Value {
    let mount = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    json!([
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ])
}

/// Under the names of conversion.md; the image's labels keep theirs, and give way.
fn annotations(image: &ImageConfig) -> Map<String, Value> {
    let parts = image.parts();
    let mut annotations: Map<String, Value> =
        parts.config.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let ports = parts.config.exposed_ports.keys().cloned().collect::<Vec<_>>().join(",");
    let known = [
        ("os", Some(&parts.platform.os)),
        ("architecture", Some(&parts.platform.architecture)),
        ("variant", parts.platform.variant.as_ref()),
        ("author", parts.author.as_ref()),
        ("created", parts.created.as_ref()),
        ("stopSignal", Some(&parts.config.stop_signal)),
        ("exposedPorts", Some(&ports)),
    ];
    for (name, value) in known {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            annotations.insert(format!("org.opencontainers.image.{name}"), value.clone().into());
        }
    }
    annotations
}
