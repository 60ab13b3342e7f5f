//! `config.json` as runtime-spec 1.3 defines it for Linux (config.md, config-linux.md), field for field.
//!
//! Owns the shape of the JSON and nothing else: no rule is checked here. Every name that the spec enumerates
//! (namespace types, capabilities, policies, ...) stays a string, so that `plan` refuses an unknown one by name
//! instead of failing the parse of the whole file. Fields keep the order of the spec's Go structs and leave out
//! zero values where those do, so that what `knarr spec` writes is what `runc spec` writes.
//!
//! A field is an `Option` where absence means something other than zero. `type` is called `kind`.

mod hooks;
mod json;
mod linux;
mod mounts;
mod place;
mod process;

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

pub(crate) use hooks::{Hook, Hooks};
pub(crate) use json::parse;
pub(crate) use linux::{
    Device, IdMapping, Linux, MemoryPolicy, Namespace, NetDevice, Personality, TimeOffset,
};
pub(crate) use mounts::{Mount, Root};
pub(crate) use place::pointer;
pub(crate) use process::{Capabilities, CpuAffinity, IoPriority, Process, Rlimit, Scheduler};
#[cfg(test)]
pub(crate) use process::{ConsoleSize, User};

/// The version of the specification these structs describe.
pub(crate) const VERSION: &str = "1.3.0";

/// The whole of `config.json`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) oci_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<Process>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<Root>,
    /// Empty: the host name is left alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) hostname: String,
    /// The NIS domain name, set with setdomainname(2). Empty: left alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) domainname: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hooks: Option<Hooks>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) linux: Option<Linux>,

    // The sections of other platforms: only whether they are there.
    #[serde(skip_serializing)]
    solaris: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    windows: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    vm: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    zos: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    freebsd: Option<IgnoredAny>,
}

impl Spec {
    /// The names of the sections that configure another platform; runc skips them.
    pub(crate) fn foreign_sections(&self) -> Vec<&'static str> {
        [
            ("solaris", self.solaris),
            ("windows", self.windows),
            ("vm", self.vm),
            ("zos", self.zos),
            ("freebsd", self.freebsd),
        ]
        .into_iter()
        .filter_map(|(name, section)| section.map(|_| name))
        .collect()
    }
}

/// Whether Go's `omitempty` leaves the value out.
fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
