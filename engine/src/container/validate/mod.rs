//! What a container is asked to be, checked whole and completed with the defaults before anything exists. Texts are moby's
//! (runconfig, daemon/container.go, daemon/daemon_unix.go). What this engine cannot do is refused by name.
//!
//! Volumes and mounts are checked where they are planned, and what depends on the API's version in [`for_version`].

mod config;
mod logs;
mod network;
mod resources;
mod version;

use crate::error::{Error, Result};
use crate::oci::{self, Security};
use crate::settings::{CgroupDriver, Settings};
use crate::wire::{Config, HostConfig, NetworkingConfig, RestartPolicy};

pub(crate) use resources::{Act, check as check_resources};
pub(crate) use version::for_version;

/// Refuses or normalises; gives the warnings of a create.
pub(crate) fn validate(
    config: &mut Config,
    host: &mut HostConfig,
    networking: &NetworkingConfig,
    settings: &Settings,
) -> Result<Vec<String>> {
    config::check(config)?;
    let mut warnings = network::check(config, host, networking)?;
    policy(&mut host.restart_policy)?;
    if host.auto_remove && host.restart_policy.name != "no" {
        return Err(Error::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    security(host)?;
    namespaces(host)?;
    unsupported(host)?;
    warnings.extend(check_resources(host, Act::Create)?);
    resources::ulimits(host, settings)?;
    logs::check(&mut host.log_config, settings)?;
    runtime(host, settings)?;
    defaults(host, settings);
    Ok(warnings)
}

/// Refuses a restart policy that there is not. None is `no`.
pub(crate) fn policy(policy: &mut RestartPolicy) -> Result<()> {
    if policy.name.is_empty() {
        "no".clone_into(&mut policy.name);
    }
    let bad = |why: &str| Err(Error::invalid(format!("invalid restart policy: {why}")));
    match (policy.name.as_str(), policy.maximum_retry_count) {
        ("on-failure", count) if count < 0 => bad("maximum retry count cannot be negative"),
        ("on-failure", _) | ("no" | "always" | "unless-stopped", 0) => Ok(()),
        ("no" | "always" | "unless-stopped", count) => {
            let why = "maximum retry count can only be used with 'on-failure'";
            if count < 0 { bad(&format!("{why} and cannot be negative")) } else { bad(why) }
        }
        (name, _) => bad(&format!(
            "unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )),
    }
}

fn security(host: &mut HostConfig) -> Result<()> {
    oci::normalize_capabilities(host.cap_add.as_ref()).map_err(|error| error.within("invalid CapAdd"))?;
    oci::normalize_capabilities(host.cap_drop.as_ref()).map_err(|error| error.within("invalid CapDrop"))?;
    Security::parse(host)?;
    for device in host.devices.iter_mut().flatten() {
        // What clients that are not Docker's leave out.
        if device.path_in_container.is_empty() {
            device.path_in_container.clone_from(&device.path_on_host);
        }
        if device.cgroup_permissions.is_empty() {
            "rwm".clone_into(&mut device.cgroup_permissions);
        }
        oci::check_permissions(device)?;
    }
    for rule in host.device_cgroup_rules.iter().flatten() {
        oci::DeviceRule::parse(rule)?;
    }
    for (name, value) in host.sysctls.iter().flatten() {
        oci::check_sysctl(name, value)?;
    }
    if host.annotations.iter().flatten().any(|(name, _)| name.is_empty()) {
        let why = "invalid Annotations: the empty string is not permitted as an annotation key";
        return Err(Error::invalid(why));
    }
    Ok(())
}

fn namespaces(host: &HostConfig) -> Result<()> {
    let of_container = |mode: &str| mode.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    let bad = |kind: &str, mode: &str| Err(Error::invalid(format!("invalid {kind} mode: {mode}")));
    match host.ipc_mode.as_str() {
        "" | "none" | "private" | "host" | "shareable" => {}
        mode if of_container(mode) => {}
        mode => return bad("IPC", mode),
    }
    match host.pid_mode.as_str() {
        "" | "host" => {}
        mode if of_container(mode) => {}
        mode => return bad("PID", mode),
    }
    match host.uts_mode.as_str() {
        "" | "host" => {}
        mode => return bad("UTS", mode),
    }
    match host.userns_mode.as_str() {
        "" | "host" => {}
        mode => return bad("user namespace", mode),
    }
    match host.cgroupns_mode.as_str() {
        "" | "host" | "private" => Ok(()),
        mode => bad("cgroup namespace", mode),
    }
}

/// Fields that Docker has and this engine, or Linux, has not.
fn unsupported(host: &HostConfig) -> Result<()> {
    if !matches!(host.isolation.to_lowercase().as_str(), "" | "default") {
        let why = format!("invalid isolation ({}): linux only supports 'default'", host.isolation);
        return Err(Error::invalid(why));
    }
    if host.io_maximum_bandwidth != 0 {
        return Err(Error::invalid(
            "invalid option: QoS maximum bandwidth configuration is not supported on linux",
        ));
    }
    if host.io_maximum_iops != 0 {
        return Err(Error::invalid(
            "invalid option: QoS maximum IOPs configuration is not supported on linux",
        ));
    }
    if host.cpu_count != 0 {
        return Err(Error::invalid("invalid option: CpuCount is not supported on linux"));
    }
    if host.kernel_memory_tcp != 0 {
        return Err(Error::not_implemented("KernelMemoryTCP is not supported"));
    }
    if !host.cgroup.is_empty() {
        return Err(Error::not_implemented(format!("HostConfig.Cgroup is not supported: {}", host.cgroup)));
    }
    if host.storage_opt.iter().flatten().next().is_some() {
        let why = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
        return Err(Error::invalid(why));
    }
    if let Some(request) = host.device_requests.iter().flatten().next() {
        let sets = request.capabilities.iter().flatten().map(|set| format!("[{}]", set.join(" ")));
        let sets = sets.collect::<Vec<_>>().join(" ");
        let why = format!("could not select device driver {:?} with capabilities: [{sets}]", request.driver);
        return Err(Error::invalid(why));
    }
    Ok(())
}

fn runtime(host: &mut HostConfig, settings: &Settings) -> Result<()> {
    if host.runtime.is_empty() {
        host.runtime.clone_from(&settings.default_runtime);
    }
    if !settings.runtimes.contains_key(&host.runtime) {
        return Err(Error::invalid(format!("unknown or invalid runtime name: {}", host.runtime)));
    }
    let parent = &host.cgroup_parent;
    let slice = parent.strip_suffix(".slice").is_some_and(|name| !name.is_empty());
    if !parent.is_empty() && !slice && settings.cgroup_driver == CgroupDriver::Systemd {
        let why = "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";
        return Err(Error::invalid(why));
    }
    Ok(())
}

/// What inspect shows and a start relies on.
fn defaults(host: &mut HostConfig, settings: &Settings) {
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    if host.shm_size == 0 {
        host.shm_size = settings.default_shm_size;
    }
    if host.ipc_mode.is_empty() {
        "private".clone_into(&mut host.ipc_mode);
    }
    if host.cgroupns_mode.is_empty() {
        let mode = if oci::Host::get().unified { "private" } else { "host" };
        mode.clone_into(&mut host.cgroupns_mode);
    }
    if !host.privileged {
        host.masked_paths.get_or_insert_with(oci::masked_paths);
        host.readonly_paths.get_or_insert_with(oci::readonly_paths);
    }
}

#[cfg(test)]
mod tests;
