//! What the engine tells of itself and its host.

use std::collections::BTreeMap;

use serde::Serialize;

/// The answer to `GET /version`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VersionAnswer {
    pub(crate) platform: Named,
    pub(crate) components: Vec<Component>,
    pub(crate) version: String,
    pub(crate) api_version: String,
    #[serde(rename = "MinAPIVersion")]
    pub(crate) min_api_version: String,
    pub(crate) git_commit: &'static str,
    pub(crate) go_version: &'static str,
    pub(crate) os: &'static str,
    pub(crate) arch: &'static str,
    pub(crate) kernel_version: String,
    pub(crate) build_time: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Named {
    pub(crate) name: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Component {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) details: BTreeMap<&'static str, String>,
}

/// The answer to `GET /info`. Sizes are bytes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Info {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) containers: usize,
    pub(crate) containers_running: usize,
    pub(crate) containers_paused: usize,
    pub(crate) containers_stopped: usize,
    pub(crate) images: usize,
    pub(crate) driver: &'static str,
    pub(crate) driver_status: Vec<[&'static str; 2]>,
    pub(crate) plugins: Plugins,
    #[serde(flatten)]
    pub(crate) limits: Limits,
    #[serde(rename = "IPv4Forwarding")]
    pub(crate) ipv4_forwarding: bool,
    pub(crate) debug: bool,
    pub(crate) n_fd: usize,
    /// Threads; Docker's word is that of its language.
    pub(crate) n_goroutines: usize,
    pub(crate) system_time: String,
    pub(crate) logging_driver: String,
    pub(crate) cgroup_driver: &'static str,
    pub(crate) cgroup_version: &'static str,
    pub(crate) n_events_listener: usize,
    pub(crate) kernel_version: String,
    pub(crate) operating_system: String,
    #[serde(rename = "OSVersion")]
    pub(crate) os_version: String,
    #[serde(rename = "OSType")]
    pub(crate) os_type: &'static str,
    pub(crate) architecture: String,
    pub(crate) index_server_address: &'static str,
    pub(crate) registry_config: RegistryConfig,
    #[serde(rename = "NCPU")]
    pub(crate) processors: usize,
    pub(crate) mem_total: u64,
    pub(crate) generic_resources: (),
    pub(crate) docker_root_dir: String,
    pub(crate) http_proxy: String,
    pub(crate) https_proxy: String,
    pub(crate) no_proxy: String,
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) experimental_build: bool,
    pub(crate) server_version: String,
    pub(crate) runtimes: BTreeMap<String, RuntimeAnswer>,
    pub(crate) default_runtime: String,
    pub(crate) swarm: Swarm,
    pub(crate) live_restore_enabled: bool,
    pub(crate) isolation: &'static str,
    pub(crate) init_binary: String,
    pub(crate) containerd_commit: Commit,
    pub(crate) runc_commit: Commit,
    pub(crate) init_commit: Commit,
    pub(crate) security_options: Vec<&'static str>,
    #[serde(rename = "CDISpecDirs")]
    pub(crate) cdi_spec_dirs: [(); 0],
    pub(crate) warnings: Vec<String>,
}

/// What can be limited on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Limits {
    pub(crate) memory_limit: bool,
    pub(crate) swap_limit: bool,
    pub(crate) cpu_cfs_period: bool,
    pub(crate) cpu_cfs_quota: bool,
    #[serde(rename = "CPUShares")]
    pub(crate) cpu_shares: bool,
    #[serde(rename = "CPUSet")]
    pub(crate) cpu_set: bool,
    pub(crate) pids_limit: bool,
    pub(crate) oom_kill_disable: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Plugins {
    pub(crate) volume: Vec<&'static str>,
    pub(crate) network: Vec<&'static str>,
    pub(crate) authorization: (),
    pub(crate) log: Vec<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RegistryConfig {
    #[serde(rename = "InsecureRegistryCIDRs")]
    pub(crate) insecure_registry_cidrs: Vec<String>,
    /// By name of the registry.
    pub(crate) index_configs: BTreeMap<String, IndexConfig>,
    pub(crate) mirrors: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct IndexConfig {
    pub(crate) name: String,
    pub(crate) mirrors: Vec<String>,
    pub(crate) secure: bool,
    pub(crate) official: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuntimeAnswer {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) runtime_args: Vec<String>,
}

/// That there is none.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Swarm {
    #[serde(rename = "NodeID")]
    pub(crate) node_id: &'static str,
    pub(crate) node_addr: &'static str,
    pub(crate) local_node_state: &'static str,
    pub(crate) control_available: bool,
    pub(crate) error: &'static str,
    pub(crate) remote_managers: (),
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Commit {
    #[serde(rename = "ID")]
    pub(crate) id: &'static str,
}
