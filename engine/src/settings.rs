//! How the engine was told to be: daemon.json's fields and the flags that stand above them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crate::wire::{LogConfig, Ulimit};

/// The group that may use the Unix socket, if it is there.
pub(crate) const DEFAULT_GROUP: &str = "docker";

/// The settings of one engine. Sizes are bytes, times seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// What outlives the machine's uptime: images, containers, volumes.
    pub(crate) data_root: PathBuf,
    /// What does not: mounts, bundles, sockets of monitors, the runtime's state.
    pub(crate) exec_root: PathBuf,
    pub(crate) pidfile: Option<PathBuf>,
    pub(crate) listen: Vec<Listen>,
    /// Group that may use the Unix socket.
    pub(crate) group: String,
    pub(crate) tls: Option<Tls>,
    /// TCP on a loopback address may go without TLS.
    pub(crate) plain_tcp: bool,
    /// By name. `knarr` and its alias `runc` are always there.
    pub(crate) runtimes: BTreeMap<String, Runtime>,
    pub(crate) default_runtime: String,
    pub(crate) monitor: PathBuf,
    pub(crate) netns: PathBuf,
    /// Containers that do not say have `--init`.
    pub(crate) init_by_default: bool,
    /// For `--init`.
    pub(crate) init: Option<PathBuf>,
    pub(crate) log: LogConfig,
    pub(crate) cgroup_driver: CgroupDriver,
    /// Default parent cgroup of containers; empty: `/docker`, or `system.slice` with systemd.
    pub(crate) cgroup_parent: String,
    pub(crate) default_ulimits: BTreeMap<String, Ulimit>,
    pub(crate) default_shm_size: i64,
    /// Name of the default bridge; `none` for no default bridge.
    pub(crate) bridge: String,
    /// Address and prefix of the default bridge; none: a free pool.
    pub(crate) bridge_address: Option<String>,
    /// Name of the nftables table.
    pub(crate) firewall_table: String,
    pub(crate) icc: bool,
    pub(crate) ip_masquerade: bool,
    /// Default host address of published ports.
    pub(crate) publish_address: IpAddr,
    pub(crate) mtu: Option<u32>,
    pub(crate) dns: Vec<String>,
    pub(crate) dns_options: Vec<String>,
    pub(crate) dns_search: Vec<String>,
    pub(crate) insecure_registries: Vec<String>,
    pub(crate) registry_mirrors: Vec<String>,
    pub(crate) labels: Vec<String>,
    /// For all containers at a stop of the engine that stops them.
    pub(crate) shutdown_timeout: u64,
    /// Containers run on while the engine is down.
    pub(crate) live_restore: bool,
    pub(crate) debug: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
    /// Sockets that the service manager passed.
    Passed,
}

/// Mutual TLS: every client shows a certificate of this authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runtime {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupDriver {
    Cgroupfs,
    Systemd,
}

impl CgroupDriver {
    /// Docker's rule: systemd makes the cgroups where it runs and cgroup v2 is alone.
    fn of_this_machine() -> Self {
        let runs = Path::new("/run/systemd/system").is_dir();
        if runs && Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            Self::Systemd
        } else {
            Self::Cgroupfs
        }
    }
}

impl Settings {
    /// What holds when nothing is said. `beside` is the folder of our own programs.
    pub(crate) fn new(beside: &Path) -> Self {
        let knarr = Runtime { path: beside.join("knarr"), arguments: Vec::new() };
        let init = [
            "/usr/bin/docker-init",
            "/usr/libexec/docker/docker-init",
            "/usr/bin/tini-static",
            "/usr/bin/catatonit",
        ];
        Self {
            data_root: "/var/lib/knarr".into(),
            exec_root: "/run/knarrd".into(),
            pidfile: Some("/run/knarrd.pid".into()),
            listen: Vec::new(),
            group: DEFAULT_GROUP.to_owned(),
            tls: None,
            plain_tcp: false,
            runtimes: BTreeMap::from([("knarr".to_owned(), knarr.clone()), ("runc".to_owned(), knarr)]),
            default_runtime: "runc".to_owned(),
            monitor: beside.join("knarr-monitor"),
            netns: beside.join("knarr-netns"),
            init_by_default: false,
            init: init.into_iter().map(PathBuf::from).find(|path| path.exists()),
            log: LogConfig { kind: "json-file".to_owned(), config: BTreeMap::new() },
            cgroup_driver: CgroupDriver::of_this_machine(),
            cgroup_parent: String::new(),
            default_ulimits: BTreeMap::new(),
            default_shm_size: 64 << 20,
            bridge: "docker0".to_owned(),
            bridge_address: None,
            firewall_table: "knarr".to_owned(),
            icc: true,
            ip_masquerade: true,
            publish_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            mtu: None,
            dns: Vec::new(),
            dns_options: Vec::new(),
            dns_search: Vec::new(),
            insecure_registries: Vec::new(),
            registry_mirrors: Vec::new(),
            labels: Vec::new(),
            shutdown_timeout: 15,
            live_restore: true,
            debug: false,
        }
    }
}
