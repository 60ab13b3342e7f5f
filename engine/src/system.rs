//! What the engine and its host are: `version` and `info`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::api::{NEWEST, OLDEST};
use crate::container::Status;
use crate::engine::Engine;
use crate::error::Result;
use crate::settings::CgroupDriver;

/// The version of Docker whose API this is; tools compare it.
const DOCKER: &str = "28.2.2";

/// The answer to `/version`.
pub(crate) fn version() -> Value {
    let host = rustix::system::uname();
    let kernel = host.release().to_string_lossy().into_owned();
    let own = env!("CARGO_PKG_VERSION");
    let version = format!("{DOCKER}+knarr.{own}");
    json!({
        "Platform": {"Name": format!("Knarr Engine {own}")},
        "Components": [{
            "Name": "Engine",
            "Version": version,
            "Details": {
                "ApiVersion": NEWEST.to_string(), "Arch": architecture(), "BuildTime": "", "Experimental": "false",
                "GitCommit": commit(), "GoVersion": "", "KernelVersion": kernel, "MinAPIVersion": OLDEST.to_string(),
                "Os": "linux",
            },
        }, {"Name": "knarr", "Version": own, "Details": {"GitCommit": commit()}}],
        "Version": version, "ApiVersion": NEWEST.to_string(), "MinAPIVersion": OLDEST.to_string(), "GitCommit": commit(),
        "GoVersion": "", "Os": "linux", "Arch": architecture(), "KernelVersion": kernel, "BuildTime": "",
    })
}

fn commit() -> &'static str {
    option_env!("KNARR_COMMIT").unwrap_or("")
}

/// Go's name of the processor's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Engine {
    /// The answer to `/info`.
    pub(crate) fn info(&self) -> Result<Value> {
        let settings = &self.settings;
        let counts = self.counts();
        let host = rustix::system::uname();
        let images = self.images.images()?.len();
        let mut runtimes = BTreeMap::new();
        for (name, runtime) in &settings.runtimes {
            runtimes.insert(name, json!({ "path": runtime.path, "runtimeArgs": runtime.arguments }));
        }
        let (system, version) = os_release();
        let cgroups = Cgroups::of_host();
        let total: u64 = counts.values().sum();
        let count = |state: &str| counts.get(state).copied().unwrap_or(0);
        let own = json!({
            "ID": self.networks.identities.host,
            "Containers": total, "ContainersRunning": count("running"), "ContainersPaused": count("paused"),
            "ContainersStopped": count("stopped"), "Images": images,
            "Driver": "overlay2",
            "DriverStatus": [["Backing Filesystem", backing(&settings.data_root)], ["Supports d_type", "true"], ["Native Overlay Diff", "true"]],
            "LoggingDriver": settings.log.kind,
            "CgroupDriver": match settings.cgroup_driver { CgroupDriver::Cgroupfs => "cgroupfs", CgroupDriver::Systemd => "systemd" },
            "Debug": settings.debug, "NFd": descriptors(), "NGoroutines": threads(),
            "NEventsListener": self.events.listeners(), "SystemTime": jiff::Timestamp::now().to_string(),
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": {
                "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
                "IndexConfigs": {"docker.io": {"Name": "docker.io", "Mirrors": settings.registry_mirrors, "Secure": true, "Official": true}},
                "Mirrors": settings.registry_mirrors,
            },
            "DockerRootDir": settings.data_root, "Labels": settings.labels, "ExperimentalBuild": false,
            "ServerVersion": format!("{DOCKER}+knarr.{}", env!("CARGO_PKG_VERSION")),
            "Runtimes": runtimes, "DefaultRuntime": settings.default_runtime, "LiveRestoreEnabled": settings.live_restore,
            "InitBinary": settings.init.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        });
        let host = json!({
            "Plugins": {
                "Volume": ["local"], "Network": ["bridge", "host", "null"], "Authorization": null,
                "Log": ["json-file", "local", "none"],
            },
            "MemoryLimit": cgroups.memory, "SwapLimit": cgroups.swap, "CpuCfsPeriod": cgroups.cpu,
            "CpuCfsQuota": cgroups.cpu, "CPUShares": cgroups.cpu, "CPUSet": cgroups.cpuset, "PidsLimit": cgroups.pids,
            "IPv4Forwarding": switch("/proc/sys/net/ipv4/ip_forward"), "OomKillDisable": !cgroups.unified,
            "CgroupVersion": if cgroups.unified { "2" } else { "1" },
            "KernelVersion": host.release().to_string_lossy(), "OperatingSystem": system, "OSVersion": version,
            "OSType": "linux", "Architecture": host.machine().to_string_lossy(),
            "NCPU": std::thread::available_parallelism().map_or(1, usize::from), "MemTotal": memory(),
            "GenericResources": null, "HttpProxy": "", "HttpsProxy": "", "NoProxy": "",
            "Name": host.nodename().to_string_lossy(), "Isolation": "",
            "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "", "RemoteManagers": null},
            "ContainerdCommit": {"ID": ""}, "RuncCommit": {"ID": commit()}, "InitCommit": {"ID": ""},
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
            "CDISpecDirs": [], "Warnings": [],
        });
        let (Value::Object(mut info), Value::Object(host)) = (own, host) else { return Ok(Value::Null) };
        info.extend(host);
        Ok(Value::Object(info))
    }

    fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for container in self.containers.all() {
            let state = match container.record().state.status {
                Status::Running | Status::Restarting => "running",
                Status::Paused => "paused",
                Status::Created | Status::Exited | Status::Dead => "stopped",
            };
            *counts.entry(state).or_insert(0) += 1;
        }
        counts
    }
}

/// What the host's cgroups can do.
struct Cgroups {
    unified: bool,
    memory: bool,
    swap: bool,
    cpu: bool,
    cpuset: bool,
    pids: bool,
}

impl Cgroups {
    fn of_host() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let controllers = read("/sys/fs/cgroup/cgroup.controllers");
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let has = |name: &str| {
            if unified {
                controllers.split_whitespace().any(|known| known == name)
            } else {
                Path::new("/sys/fs/cgroup").join(name).is_dir()
            }
        };
        let swap = Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
        Self {
            unified,
            memory: has("memory"),
            swap: if unified { has("memory") } else { swap },
            cpu: has("cpu"),
            cpuset: has("cpuset"),
            pids: has("pids"),
        }
    }
}

fn switch(path: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}

/// Name and version of the distribution, os-release(5).
fn os_release() -> (String, String) {
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| fs::read_to_string(path).ok());
    let text = text.unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned()).unwrap_or_default()
    };
    (value("PRETTY_NAME"), value("VERSION_ID"))
}

fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion)] // it is narrower on other architectures
    u64::from(info.totalram).saturating_mul(info.mem_unit.into())
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

fn backing(path: &Path) -> &'static str {
    const EXT: i64 = 0xef53;
    const XFS: i64 = 0x5846_5342;
    const BTRFS: i64 = 0x9123_683e;
    const TMPFS: i64 = 0x0102_1994;
    match rustix::fs::statfs(path).map(|stat| stat.f_type) {
        Ok(EXT) => "extfs",
        Ok(XFS) => "xfs",
        Ok(BTRFS) => "btrfs",
        Ok(TMPFS) => "tmpfs",
        _ => "<unknown>",
    }
}
