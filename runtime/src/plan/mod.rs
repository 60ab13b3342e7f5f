//! What is to be done, worked out before anything exists: `(&Spec, &Host) -> Plan`, with no I/O.
//!
//! Every string of the configuration is parsed here and every rule checked, so that all refusals come before the
//! first side effect and the child parses nothing.

mod delegation;
pub(crate) mod device_nodes;
pub(crate) mod exec_process;
pub(crate) mod hooks;
pub(crate) mod idmap_words;
pub(crate) mod ids;
pub(crate) mod mount_options;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod net_devices;
pub(crate) mod process;
pub(crate) mod process_attributes;
pub(crate) mod seccomp;
pub(crate) mod sysctl;
pub(crate) mod update;

use std::path::Path;

use knarr_cgroups::{DeviceRules, Limits};

use self::hooks::Hooks;
use self::ids::Ids;
use self::mounts::{Pivot, Place, RootfsPlan};
use self::namespaces::{Kind, Namespaces};
use self::net_devices::NetDevice;
use self::process::ProcessPlan;
use self::seccomp::Filter;
use self::sysctl::OwnNamespaces;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::idmap::Caller;
use crate::spec::{Linux, Process, Spec};
use crate::sysctl::Sysctl;

/// A whole container.
pub(crate) struct Plan {
    pub(crate) namespaces: Namespaces,
    pub(crate) ids: Ids,
    pub(crate) rootfs: RootfsPlan,
    pub(crate) process: ProcessPlan,
    /// Empty: left as it is.
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) net_devices: Vec<NetDevice>,
    pub(crate) hooks: Hooks,
    pub(crate) limits: Limits,
    /// The host's user that the cgroup is given to.
    pub(crate) cgroup_owner: Option<u32>,
    pub(crate) seccomp: Option<Filter>,
}

/// What a plan is made from, besides the configuration.
pub(crate) struct Given<'a> {
    pub(crate) id: &'a str,
    pub(crate) host: &'a Host,
    pub(crate) bundle: &'a Path,
    /// Absolute, links resolved.
    pub(crate) rootfs: &'a Path,
    pub(crate) pivot: Pivot,
    pub(crate) new_keyring: bool,
    /// Joined by path, but the caller's own.
    pub(crate) shared: Vec<Kind>,
}

impl Plan {
    pub(crate) fn new(spec: &Spec, given: &Given<'_>) -> Result<Self> {
        let process = spec
            .process
            .as_ref()
            .ok_or_else(|| Error::refused("/process", "process property must not be empty"))?;
        let none = Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&none);

        let namespaces = Namespaces::plan(linux)?;
        let ids = Ids::plan(linux, &namespaces)?;
        check_rootless(given.host.caller, &namespaces, &ids, process)?;
        check_names(spec, &namespaces)?;
        let place = Place {
            bundle: given.bundle,
            rootfs: given.rootfs,
            pivot: given.pivot,
            rootless: given.host.caller != Caller::Privileged,
            namespaces: &namespaces,
            ids: &ids,
        };
        let rootfs = RootfsPlan::new(spec, &place)?;
        let mode = given.host.hierarchies.mode();
        Ok(Self {
            cgroup_owner: delegation::owner(mode, &namespaces, &rootfs.mounts, &ids, process.user.uid),
            rootfs,
            process: process_plan(
                process,
                linux,
                &ids,
                given.host.support,
                given.new_keyring.then_some(given.id),
            )?,
            hostname: spec.hostname.clone(),
            domainname: spec.domainname.clone(),
            sysctls: sysctl::compile(&linux.sysctl, own_namespaces(&namespaces, &given.shared))?,
            net_devices: net_devices::plan(&linux.net_devices, &namespaces)?,
            hooks: Hooks::plan(spec.hooks.as_ref())?,
            limits: limits(linux, given.host)?,
            seccomp: Filter::plan(linux.seccomp.as_ref(), process.no_new_privileges)?,
            namespaces,
            ids,
        })
    }
}

/// The plan of a process in a container with these id maps; `exec` makes it too.
pub(crate) fn process_plan(
    process: &Process,
    linux: &Linux,
    ids: &Ids,
    support: process::Support,
    keyring_for: Option<&str>,
) -> Result<ProcessPlan> {
    let plan = ProcessPlan::new(process::Given { process, linux, support, keyring_for })?;
    check_mapped(&plan, ids)?;
    Ok(plan)
}

/// An id outside the user namespace's maps does not exist inside.
fn check_mapped(plan: &ProcessPlan, ids: &Ids) -> Result<()> {
    let identity = &plan.identity;
    let unmapped = |map: &ids::Map, id: u32| !map.is_empty() && map.to_host(id).is_none();
    if unmapped(&ids.uid_map, identity.uid) {
        let text = format!("cannot setuid to unmapped uid {} in user namespace", identity.uid);
        return Err(Error::refused("/process/user/uid", text));
    }
    let gids = [identity.gid].into_iter().chain(identity.groups.iter().copied());
    if let Some(gid) = gids.into_iter().find(|gid| unmapped(&ids.gid_map, *gid)) {
        let text = format!("cannot setgid to unmapped gid {gid} in user namespace");
        return Err(Error::refused("/process/user/gid", text));
    }
    Ok(())
}

fn limits(linux: &Linux, host: &Host) -> Result<Limits> {
    let none = knarr_cgroups::Resources::default();
    let resources = linux.resources.as_ref().unwrap_or(&none);
    Ok(Limits::compile(resources, host.hierarchies.mode(), DeviceRules::Apply)?)
}

fn own_namespaces(namespaces: &Namespaces, shared: &[Kind]) -> OwnNamespaces {
    let own = |kind| namespaces.has(kind) && !shared.contains(&kind);
    OwnNamespaces {
        ipc: own(Kind::Ipc),
        network: own(Kind::Network),
        user: own(Kind::User),
        uts: own(Kind::Uts),
    }
}

fn check_names(spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    for (name, value) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        if !value.is_empty() && !namespaces.has(Kind::Uts) {
            let text = format!("unable to set {name} without a private UTS namespace");
            return Err(Error::refused(format!("/{name}"), text));
        }
    }
    Ok(())
}

/// What a caller without privileges cannot have (user_namespaces(7)).
fn check_rootless(caller: Caller, namespaces: &Namespaces, ids: &Ids, process: &Process) -> Result<()> {
    if caller == Caller::Privileged {
        return Ok(());
    }
    if !namespaces.has(Kind::User) {
        return Err(Error::refused("/linux/namespaces", "rootless container requires user namespaces"));
    }
    for (map, what) in [(&ids.uid_map, "UID"), (&ids.gid_map, "GID")] {
        if namespaces.is_new(Kind::User) && map.is_empty() {
            let text = format!("rootless containers requires at least one {what} mapping");
            return Err(Error::refused(format!("/linux/{}Mappings", what.to_lowercase()), text));
        }
    }
    // A map of one's own group alone is only accepted with setgroups(2) denied.
    if ids.gid_map.0.len() == 1 && ids.gid_map.0[0].size == 1 && !process.user.additional_gids.is_empty() {
        let text = "cannot set any additional groups in a rootless container";
        return Err(Error::refused("/process/user/additionalGids", text));
    }
    Ok(())
}
