//! Setting limits: the compiled writes done in their order, with what their policies say about failures.

use std::os::fd::AsFd;

use rustix::io;

use crate::cgroup::Cgroup;
use crate::devices;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::limits::{Devices, Limits, Policy, Write};

impl Cgroup {
    /// Sets the limits.
    ///
    /// # Errors
    /// The first limit that could not be set; those before it are in force.
    pub fn apply(&self, limits: &Limits) -> Result<()> {
        if self.disabled {
            return Ok(());
        }
        self.check_memory(limits)?;
        let Some(managed) = &self.unit else { return self.apply_to_files(limits) };
        managed.set(limits)?;
        // What systemd writes when it reloads is what should stand there already.
        self.apply_to_files(&limits.as_systemd_holds_them()?)
    }

    pub(super) fn apply_to_files(&self, limits: &Limits) -> Result<()> {
        self.apply_writes(limits.writes())?;
        match &limits.devices {
            Some(devices) => self.apply_devices(devices),
            None => Ok(()),
        }
    }

    pub(super) fn apply_writes(&self, writes: &[Write]) -> Result<()> {
        for group in writes.chunk_by(|one, next| one.controller == next.controller) {
            let controller = group[0].controller.as_ref();
            let node = self.node_of(controller).ok_or_else(|| no_cgroup(controller))?;
            let group: Vec<&Write> = group.iter().collect();
            node.dir().and_then(|dir| write_group(dir, &group))?;
        }
        Ok(())
    }

    /// As far as possible: what is in use cannot be known before the cgroup has been used.
    pub(super) fn check_memory(&self, limits: &Limits) -> Result<()> {
        let check = limits.memory_check;
        let Some(node) = self.unified().filter(|_| check.limit.is_some() || check.swap.is_some()) else {
            return Ok(());
        };
        let text = node.dir().and_then(|dir| dir.read("memory.current")).unwrap_or_default();
        let Ok(usage) = text.trim().parse::<u64>() else {
            return Ok(());
        };
        match (check.swap, check.limit) {
            (Some(limit), _) if limit <= usage => Err(Error::SwapBelowUsage { limit, usage }),
            (_, Some(limit)) if limit <= usage => Err(Error::MemoryBelowUsage { limit, usage }),
            _ => Ok(()),
        }
    }

    /// Without privileges this is not expected to work.
    fn apply_devices(&self, devices: &Devices) -> Result<()> {
        let result = match (self.node_of("devices"), &devices.program) {
            (None, _) => Err(no_cgroup("devices")),
            (Some(node), None) => node.dir().and_then(|dir| devices::write_transition(dir, &devices.policy)),
            (Some(node), Some(program)) => {
                node.dir().and_then(|dir| devices::attach(dir.as_fd(), &devices.policy, program))
            }
        };
        match result {
            Err(_) if self.rootless => Ok(()),
            Err(error) if error.is_permission() && devices.program.is_some() && may_lack(devices) => Ok(()),
            result => result,
        }
    }
}

/// The writes of one controller; those put off come once more when the others are done.
pub(super) fn write_group(dir: &Dir, group: &[&Write]) -> Result<()> {
    let mut deferred = Vec::new();
    for write in group {
        let defer = matches!(write.policy, Policy::Defer | Policy::DeferIfPresent);
        match write_one(dir, write) {
            Err(error) if defer && error.errno() == Some(io::Errno::INVAL) => deferred.push(*write),
            result => result?,
        }
    }
    deferred.into_iter().try_for_each(|write| write_one(dir, write))
}

fn write_one(dir: &Dir, write: &Write) -> Result<()> {
    let Err(error) = dir.write(&write.file, &write.value) else {
        return verify(dir, write);
    };
    let absent = error.errno() == Some(io::Errno::NOENT);
    match &write.policy {
        Policy::IfPresent | Policy::DeferIfPresent if absent => Ok(()),
        Policy::Else(file, value) if absent => {
            dir.write(file, value).map_err(|error| explain(dir, write, file, error))
        }
        _ => Err(explain(dir, write, &write.file, error)),
    }
}

fn verify(dir: &Dir, write: &Write) -> Result<()> {
    if write.policy != Policy::ReadBack {
        return Ok(());
    }
    let number = |text: &str| text.trim().parse::<u64>().unwrap_or_default();
    let (asked, got) = (number(&write.value), number(&dir.read(&write.file)?));
    match asked.cmp(&got) {
        std::cmp::Ordering::Greater => Err(Error::SharesAboveMaximum(got)),
        std::cmp::Ordering::Less => Err(Error::SharesBelowMinimum(got)),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

/// The likely reasons have texts of their own.
fn explain(dir: &Dir, write: &Write, file: &str, error: Error) -> Error {
    let controller = write.controller.as_ref();
    let missing = (error.is_absent() || error.is_permission()) && !is_available(dir, controller);
    match (&write.policy, error.errno()) {
        (Policy::Unified, _) if missing => {
            Error::UnifiedNoController { key: file.to_owned(), controller: controller.to_owned() }
        }
        (Policy::Unified, _) => Error::Unified { key: file.to_owned(), source: Box::new(error) },
        _ if missing => Error::NoController {
            controller: controller.to_owned(),
            file: file.to_owned(),
            path: dir.path().to_owned(),
        },
        (_, Some(io::Errno::BUSY)) if file == "memory.limit_in_bytes" => Error::MemoryInUse {
            limit: write.value.clone(),
            usage: value_or_unknown(dir, "memory.usage_in_bytes"),
            peak: value_or_unknown(dir, "memory.max_usage_in_bytes"),
        },
        _ => error,
    }
}

fn value_or_unknown(dir: &Dir, file: &str) -> String {
    dir.read(file).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// Version 1 directories have no such list: what is mounted there is available. `cgroup` is the core's own prefix.
fn is_available(dir: &Dir, controller: &str) -> bool {
    match dir.read("cgroup.controllers") {
        Ok(text) => controller == "cgroup" || text.split_whitespace().any(|name| name == controller),
        Err(_) => true,
    }
}

/// Whether a container is as safe without its device program: one that forbids nothing, or, in a user namespace, where
/// bpf(2) is refused but so is making the device nodes.
fn may_lack(devices: &Devices) -> bool {
    devices.policy.allows_everything() || in_user_namespace()
}

/// The first namespace maps all ids onto themselves.
fn in_user_namespace() -> bool {
    match std::fs::read_to_string("/proc/self/uid_map") {
        Ok(map) => map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"],
        Err(_) => false,
    }
}

fn no_cgroup(controller: &str) -> Error {
    Error::NoCgroup { controller: controller.to_owned() }
}
