//! Bundles: a tiny root filesystem with the probe and busybox, and a config like `runc spec`'s.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::runtime::{beside_the_tests, busybox};

const APPLETS: [&str; 24] = [
    "sh", "true", "false", "sleep", "cat", "echo", "ls", "mount", "env", "id", "touch", "mkdir", "ln", "rm",
    "kill", "ps", "stty", "hostname", "grep", "test", "mv", "umount", "stat", "pwd",
];

/// Fills `rootfs`. The two programs are hard links to copies that all tests of this process share.
pub fn fill_rootfs(rootfs: &Path) -> std::io::Result<()> {
    for folder in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "mnt"] {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(rootfs.join(folder))?;
    }
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(
        rootfs.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )?;
    fs::write(rootfs.join("etc/group"), "root:x:0:\nuser:x:1000:\n")?;
    let programs = programs();
    for name in ["probe", "busybox"] {
        let target = rootfs.join("bin").join(name);
        fs::hard_link(programs.join(name), &target)
            .or_else(|_| copy_program(&programs.join(name), &target))?;
    }
    APPLETS.iter().try_for_each(|applet| symlink("busybox", rootfs.join("bin").join(applet)))
}

/// Copies a program that is to be executed. In a process of its own: a child that another test's thread starts in the
/// meantime would inherit the descriptor it is written through, and execve answers ETXTBSY as long as one is open.
pub fn copy_program(from: &Path, to: &Path) -> std::io::Result<()> {
    let status = Command::new("cp").arg("--").arg(from).arg(to).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("cp: {status}"))) }
}

/// A folder with one copy of the probe and busybox, safe to link to: the originals are never given to a
/// container. It is kept between runs beside the tests, and made again when the probe has changed.
fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let made = copy_programs();
        made.unwrap_or_else(|error| panic!("copy the probe and busybox: {error}"))
    })
}

fn copy_programs() -> Result<PathBuf, String> {
    let text = |error: std::io::Error| error.to_string();
    let probe = beside_the_tests("probe");
    let age = fs::metadata(&probe).and_then(|data| data.modified()).map_err(text)?;
    let age = age.duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_nanos());
    let cache = cache();
    let folder = cache.join(format!("programs-{age}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let fresh = cache.join(format!("programs-{age}-{}", std::process::id()));
    fs::create_dir_all(&fresh).map_err(text)?;
    copy_program(&probe, &fresh.join("probe")).map_err(text)?;
    copy_program(&busybox()?, &fresh.join("busybox")).map_err(text)?;
    // Another test program may have been faster: then ours is of no use.
    if fs::rename(&fresh, &folder).is_err() {
        fs::remove_dir_all(&fresh).map_err(text)?;
    }
    Ok(folder)
}

/// What tests may keep between runs: a folder beside the programs of the workspace.
pub fn cache() -> PathBuf {
    beside_the_tests("knarr-test-cache")
}

/// The probe outside of any container, for hooks.
pub fn probe() -> PathBuf {
    programs().join("probe")
}

/// Docker's default profile for x86-64 and a container with Docker's default capabilities, as an engine would write it to
/// `linux.seccomp`.
#[must_use]
pub fn docker_profile() -> Value {
    let parsed = serde_json::from_str(include_str!("docker_profile.json"));
    parsed.unwrap_or_else(|error| panic!("docker_profile.json: {error}"))
}

/// The default config: `runc spec` without a terminal, with a writable root, running `probe facts`.
#[must_use]
pub fn default_config(cgroup: &str) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/probe", "facts"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "knarr-test",
        "mounts": default_mounts(),
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn default_mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
    ])
}
