//! From a container's record to what the OCI runtime is told: `config.json` of a start and `process.json` of an exec. The
//! defaults are Docker's; what was asked for has been checked by `container::validate`.
//!
//! Nothing here changes the machine, but for [`shared_memory`]. Files of the container are looked up under a descriptor of
//! its root.

mod capabilities;
mod defaults;
mod devices;
mod host;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod seccomp;
mod security;
pub(crate) mod shared_memory;
mod sysctls;
mod tmpfs;
mod user;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hook, Hooks, Linux, Root, Spec as Configuration};

use crate::container::Record;
use crate::error::Result;
use crate::settings::{CgroupDriver, Settings};

pub(crate) use capabilities::normalize as normalize_capabilities;
pub(crate) use defaults::{masked_paths, readonly_paths};
pub(crate) use devices::{Rule as DeviceRule, check_permissions};
#[cfg(test)]
pub(crate) use host::Cpuset;
pub(crate) use host::{Host, forwards_ipv4, numbers};
pub(crate) use mounts::{Access, Bind, Mount};
pub(crate) use process::process;
pub(crate) use resources::{RLIMITS, resources};
pub(crate) use security::Security;
pub(crate) use sysctls::check as check_sysctl;
pub(crate) use user::{check_user, owner as file_owner};

const VERSION: &str = "1.2.0";

/// What a configuration is made of.
pub(crate) struct Spec<'a> {
    pub(crate) record: &'a Record,
    pub(crate) settings: &'a Settings,
    /// The mounted root file system.
    pub(crate) root: BorrowedFd<'a>,
    /// The container's, with its hosts, hostname and resolv.conf.
    pub(crate) folder: &'a Path,
    /// What the user asked for: volumes, binds, tmpfs.
    pub(crate) mounts: &'a [Mount],
    pub(crate) network: &'a Network,
    pub(crate) joined: Joined,
}

/// Whose network a container has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Network {
    /// One of its own, which a hook brings into the state that this file says.
    Private(PathBuf),
    Host,
    /// That of the namespace at this path.
    Join(PathBuf),
}

/// Namespaces of other containers that a container joins, as paths below /proc.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) pid: Option<PathBuf>,
    pub(crate) ipc: Option<PathBuf>,
    /// The folder on the host that is /dev/shm of the container whose IPC namespace is joined.
    pub(crate) shm: Option<PathBuf>,
}

/// What the runtime is told to make. The bundle has the root file system as `rootfs`.
pub(crate) fn configuration(spec: &Spec<'_>) -> Result<Configuration> {
    let (record, host) = (spec.record, &spec.record.host_config);
    let security = Security::parse(host)?;
    let hostname = hostname(spec);
    let process = process::of_start(spec, &security, &hostname)?;
    let mounts = mounts::plan(spec, &security)?;
    let linux = linux(spec, &security, mounts.root_propagation)?;

    let mut root = Root::default();
    root.set_path("rootfs".into()).set_readonly(Some(host.readonly_rootfs));
    let mut configuration = Configuration::default();
    configuration
        .set_version(VERSION.to_owned())
        .set_root(Some(root))
        .set_process(Some(process))
        .set_mounts(Some(mounts.list))
        .set_linux(Some(linux))
        .set_hooks(hooks(spec))
        .set_annotations(host.annotations.clone().map(|all| all.into_iter().collect()));
    let own_name = host.uts_mode != "host";
    configuration.set_hostname(own_name.then_some(hostname));
    let domain = Some(record.config.domainname.clone()).filter(|name| own_name && !name.is_empty());
    configuration.set_domainname(domain);
    Ok(configuration)
}

fn linux(spec: &Spec<'_>, security: &Security, root_propagation: Option<&'static str>) -> Result<Linux> {
    let (record, host) = (spec.record, &spec.record.host_config);
    let capabilities = capabilities::of_container(host)?;
    let devices = devices::plan(host)?;
    let mut limits = resources(host)?;
    limits.set_devices(Some(devices.rules));
    let paths = |asked: &Option<Vec<String>>, default: fn() -> Vec<String>| match asked {
        _ if host.privileged => None,
        Some(paths) => Some(paths.clone()),
        None => Some(default()),
    };
    let mut linux = Linux::default();
    linux
        .set_sysctl(Some(sysctls::of_container(spec)))
        .set_resources(Some(limits))
        .set_cgroups_path(Some(cgroup(&record.id, &host.cgroup_parent, spec.settings)))
        .set_namespaces(Some(namespaces::plan(spec)))
        .set_devices(Some(devices.nodes))
        .set_seccomp(seccomp::of_container(security, host, &capabilities)?)
        .set_rootfs_propagation(root_propagation.map(str::to_owned))
        .set_masked_paths(paths(&host.masked_paths, masked_paths))
        .set_readonly_paths(paths(&host.readonly_paths, readonly_paths));
    Ok(linux)
}

/// A path below the root of every hierarchy, or for systemd slice, prefix and name of the scope.
fn cgroup(id: &str, asked_parent: &str, settings: &Settings) -> PathBuf {
    let first = |default| {
        [asked_parent, &settings.cgroup_parent].into_iter().find(|p| !p.is_empty()).unwrap_or(default)
    };
    match settings.cgroup_driver {
        CgroupDriver::Systemd => format!("{}:docker:{id}", first("system.slice")).into(),
        CgroupDriver::Cgroupfs => {
            let parent = first("/docker").split('/').fold(PathBuf::new(), |mut path, part| {
                match part {
                    "" | "." => {}
                    // Never above the root.
                    ".." => drop(path.pop()),
                    part => path.push(part),
                }
                path
            });
            Path::new("/").join(parent).join(id)
        }
    }
}

/// The name of the container on its network, which is also that of the container or host whose network it shares.
fn hostname(spec: &Spec<'_>) -> String {
    let asked = &spec.record.config.hostname;
    if !asked.is_empty() {
        return asked.clone();
    }
    std::fs::read_to_string(spec.folder.join("hostname")).unwrap_or_default().trim().to_owned()
}

fn hooks(spec: &Spec<'_>) -> Option<Hooks> {
    let Network::Private(attachment) = spec.network else { return None };
    let words = ["knarr-netns".to_owned(), "setup".to_owned(), attachment.to_string_lossy().into_owned()];
    let mut hook = Hook::default();
    hook.set_path(spec.settings.netns.clone()).set_args(Some(words.into()));
    // What it makes is taken away by the engine, which has to do that anyway after a runtime that was killed.
    let mut hooks = Hooks::default();
    hooks.set_create_runtime(Some(vec![hook]));
    Some(hooks)
}

#[cfg(test)]
mod tests;
