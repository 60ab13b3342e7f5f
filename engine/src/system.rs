//! What the engine and its host are: `version` and `info`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::api::{NEWEST, OLDEST};
use crate::container::Status;
use crate::engine::Engine;
use crate::error::Result;
use crate::log;
use crate::settings::{CgroupDriver, Runtime, Settings};
use crate::wire::{
    Commit, Component, IndexConfig, Info, Limits, Named, Plugins, RegistryConfig, RuntimeAnswer, Swarm,
    VersionAnswer,
};

/// The version of Docker whose API this is; tools compare it.
const DOCKER: &str = "28.2.2";

/// The answer to `/version`.
pub(crate) fn version() -> VersionAnswer {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let own = env!("CARGO_PKG_VERSION");
    let details = [
        ("ApiVersion", NEWEST.to_string()),
        ("Arch", architecture().to_owned()),
        ("BuildTime", String::new()),
        ("Experimental", "false".to_owned()),
        ("GitCommit", commit().to_owned()),
        ("GoVersion", String::new()),
        ("KernelVersion", kernel.clone()),
        ("MinAPIVersion", OLDEST.to_string()),
        ("Os", "linux".to_owned()),
    ];
    let runtime = BTreeMap::from([("GitCommit", commit().to_owned())]);
    VersionAnswer {
        platform: Named { name: format!("Knarr Engine {own}") },
        components: vec![
            Component { name: "Engine", version: server_version(), details: BTreeMap::from(details) },
            Component { name: "knarr", version: own.to_owned(), details: runtime },
        ],
        version: server_version(),
        api_version: NEWEST.to_string(),
        min_api_version: OLDEST.to_string(),
        git_commit: commit(),
        go_version: "",
        os: "linux",
        arch: architecture(),
        kernel_version: kernel,
        build_time: "",
    }
}

/// Docker's, with our own as its build's name: tools compare it.
fn server_version() -> String {
    format!("{DOCKER}+knarr.{}", env!("CARGO_PKG_VERSION"))
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
    pub(crate) fn info(&self) -> Result<Info> {
        let settings = &self.settings;
        let counts = self.counts();
        let host = rustix::system::uname();
        let (operating_system, os_version) = os_release();
        let cgroups = Cgroups::of_host();
        let runtime = |runtime: &Runtime| RuntimeAnswer {
            path: runtime.path.to_string_lossy().into_owned(),
            runtime_args: runtime.arguments.clone(),
        };
        Ok(Info {
            id: self.networks.identities.host.clone(),
            containers: counts.running + counts.paused + counts.stopped,
            containers_running: counts.running,
            containers_paused: counts.paused,
            containers_stopped: counts.stopped,
            images: self.images.images()?.len(),
            driver: "overlay2",
            driver_status: vec![
                ["Backing Filesystem", backing(&settings.data_root)],
                ["Supports d_type", "true"],
                ["Native Overlay Diff", "true"],
            ],
            plugins: Plugins {
                volume: vec!["local"],
                network: vec!["bridge", "host", "null"],
                authorization: (),
                log: vec!["json-file", "local", "none"],
            },
            limits: cgroups.limits(),
            ipv4_forwarding: switch("/proc/sys/net/ipv4/ip_forward"),
            debug: log::is_debug(),
            n_fd: descriptors(),
            n_goroutines: threads(),
            system_time: jiff::Timestamp::now().to_string(),
            logging_driver: settings.log.kind.clone(),
            cgroup_driver: match settings.cgroup_driver {
                CgroupDriver::Cgroupfs => "cgroupfs",
                CgroupDriver::Systemd => "systemd",
            },
            cgroup_version: if cgroups.unified { "2" } else { "1" },
            n_events_listener: self.events.listeners(),
            kernel_version: host.release().to_string_lossy().into_owned(),
            operating_system,
            os_version,
            os_type: "linux",
            architecture: host.machine().to_string_lossy().into_owned(),
            index_server_address: "https://index.docker.io/v1/",
            registry_config: registries(settings),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            mem_total: memory(),
            generic_resources: (),
            docker_root_dir: settings.data_root.to_string_lossy().into_owned(),
            http_proxy: String::new(),
            https_proxy: String::new(),
            no_proxy: String::new(),
            name: host.nodename().to_string_lossy().into_owned(),
            labels: settings.labels.clone(),
            experimental_build: false,
            server_version: server_version(),
            runtimes: settings.runtimes.iter().map(|(name, it)| (name.clone(), runtime(it))).collect(),
            default_runtime: settings.default_runtime.clone(),
            swarm: Swarm {
                node_id: "",
                node_addr: "",
                local_node_state: "inactive",
                control_available: false,
                error: "",
                remote_managers: (),
            },
            live_restore_enabled: settings.live_restore,
            isolation: "",
            init_binary: init_binary(settings),
            containerd_commit: Commit { id: "" },
            runc_commit: Commit { id: commit() },
            init_commit: Commit { id: "" },
            security_options: security_options(),
            cdi_spec_dirs: [],
            warnings: cgroups.warnings(),
        })
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for container in self.containers.all() {
            match container.record().state.status {
                Status::Running | Status::Restarting => counts.running += 1,
                Status::Paused => counts.paused += 1,
                Status::Created | Status::Exited | Status::Dead => counts.stopped += 1,
            }
        }
        counts
    }
}

/// Containers by what they do.
#[derive(Default)]
struct Counts {
    running: usize,
    paused: usize,
    stopped: usize,
}

/// Loopback registries may always do without TLS, and those that the settings name.
fn registries(settings: &Settings) -> RegistryConfig {
    let hub = IndexConfig {
        name: "docker.io".to_owned(),
        mirrors: settings.registry_mirrors.clone(),
        secure: true,
        official: true,
    };
    let (ranges, names): (Vec<_>, Vec<_>) =
        settings.insecure_registries.iter().cloned().partition(|name| name.contains('/'));
    let insecure = names.into_iter().map(|name| {
        let config = IndexConfig { name: name.clone(), mirrors: Vec::new(), secure: false, official: false };
        (name, config)
    });
    RegistryConfig {
        insecure_registry_cidrs: ["::1/128", "127.0.0.0/8"]
            .map(str::to_owned)
            .into_iter()
            .chain(ranges)
            .collect(),
        index_configs: insecure.chain([("docker.io".to_owned(), hub)]).collect(),
        mirrors: settings.registry_mirrors.clone(),
    }
}

fn init_binary(settings: &Settings) -> String {
    let name = settings.init.as_deref().and_then(Path::file_name);
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn security_options() -> Vec<&'static str> {
    let mut options = vec!["name=seccomp,profile=builtin"];
    if Path::new("/proc/self/ns/cgroup").exists() {
        options.push("name=cgroupns");
    }
    options
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
    fn limits(&self) -> Limits {
        Limits {
            memory_limit: self.memory,
            swap_limit: self.swap,
            cpu_cfs_period: self.cpu,
            cpu_cfs_quota: self.cpu,
            cpu_shares: self.cpu,
            cpu_set: self.cpuset,
            pids_limit: self.pids,
            // The unified hierarchy has no such switch.
            oom_kill_disable: !self.unified && self.memory,
        }
    }

    /// Docker's words for what is missing.
    fn warnings(&self) -> Vec<String> {
        let missing = [
            (self.memory, "memory limit"),
            (self.swap, "swap limit"),
            (self.cpu, "cpu cfs quota"),
            (self.cpuset, "cpuset"),
            (self.pids, "pids limit"),
        ];
        let missing = missing.iter().filter(|(there, _)| !there);
        missing.map(|(_, what)| format!("WARNING: No {what} support")).collect()
    }

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
    let text =
        ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| fs::read_to_string(path).ok());
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
