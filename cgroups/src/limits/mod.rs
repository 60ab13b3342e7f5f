//! From `linux.resources` to the writes that set them. Pure: every rule is checked here, nothing is opened.

mod check;
pub(crate) mod convert;
mod v1;
mod v2;

use std::borrow::Cow;
use std::fmt;

use crate::devices::{self, Policy as DevicePolicy, Program};
use crate::error::{Refusal, Result};
use crate::hierarchy::Mode;
use crate::resources::Resources;

/// Whether the device list takes part: an update leaves devices alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRules {
    /// The list and the default rules are compiled.
    Apply,
    /// What is in force stays.
    Keep,
}

/// What is done when a write fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is an error.
    Must,
    /// A missing file is ignored.
    IfPresent,
    /// EINVAL puts the write off until the others of its controller are done: the kernel checks values against
    /// each other, and the right order depends on what is there.
    Defer,
    /// As [`Policy::Defer`], and a missing file is ignored.
    DeferIfPresent,
    /// If the file is missing, this one gets that value instead.
    Else(&'static str, String),
    /// The kernel clamps the value silently: it is read back, and another one is an error.
    ReadBack,
    /// From the `unified` map: an error is told in its terms.
    Unified,
}

/// One write(2) to one file of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Version 1: the hierarchy's controller. Version 2: what must be in `cgroup.controllers`.
    pub controller: Cow<'static, str>,
    /// Name of the file in the cgroup.
    pub file: Cow<'static, str>,
    /// What is written.
    pub value: String,
    /// What a failure means.
    pub policy: Policy,
}

/// Memory limits that are refused if more is in use already (`memory.checkBeforeUpdate`), in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryCheck {
    pub(crate) limit: Option<u64>,
    pub(crate) swap: Option<u64>,
}

/// The compiled device list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Devices {
    pub(crate) policy: DevicePolicy,
    /// Version 2 only.
    pub(crate) program: Option<Program>,
}

/// Checked limits, ready to be applied to a [`crate::Cgroup`].
#[derive(Clone, Debug, Default)]
pub struct Limits {
    pub(crate) resources: Resources,
    mode: Option<Mode>,
    writes: Vec<Write>,
    warnings: Vec<String>,
    pub(crate) devices: Option<Devices>,
    pub(crate) memory_check: MemoryCheck,
}

impl Limits {
    /// Checks every rule and compiles the writes and the device program.
    ///
    /// # Errors
    /// [`crate::Error::Refused`]: a value that the specification or the kernel's rules forbid; the text names it.
    pub fn compile(resources: &Resources, mode: Mode, devices: DeviceRules) -> Result<Self> {
        check::check(resources)?;
        let mut limits = Self { resources: resources.clone(), mode: Some(mode), ..Self::default() };
        if mode == Mode::Unified {
            limits.memory_check = convert::memory_check(resources);
            limits.warnings = v2::warnings(resources);
        } else if !resources.unified.is_empty() {
            return Err(Refusal::UnifiedOnV1.into());
        }
        limits.writes = writes(resources, mode)?;
        let memory = resources.memory.as_ref();
        if memory.is_some_and(|memory| memory.kernel.is_some() || memory.kernel_tcp.is_some()) {
            limits.warnings.push("Kernel memory settings are ignored and will be removed".to_owned());
        }
        if devices == DeviceRules::Apply {
            let policy = devices::policy(&resources.devices)?;
            let program = (mode == Mode::Unified).then(|| Program::compile(&policy));
            limits.devices = Some(Devices { policy, program });
        }
        Ok(limits)
    }

    /// As systemd holds them: the CPU quota in steps of 10 ms a second; either idle or with a weight, which it takes for
    /// the end of idleness. The kernel takes no weight as long as a cgroup is idle.
    pub(crate) fn as_systemd_holds_them(&self) -> Result<Self> {
        let mut limits = self.clone();
        let cpu = limits.resources.cpu.as_mut().filter(|cpu| cpu.quota.is_some_and(|quota| quota > 0));
        if let (Some(cpu), Some(mode)) = (cpu, self.mode) {
            cpu.quota = cpu.quota.map(|quota| convert::rounded_quota(quota, cpu.period.unwrap_or(0)));
            limits.writes = writes(&limits.resources, mode)?;
        }
        let writes = &mut limits.writes;
        let idle = writes.iter().rev().find(|write| write.file == "cpu.idle").map(|write| write.value == "1");
        let weight = writes.iter().position(|write| write.file == "cpu.weight");
        match (idle, weight) {
            (Some(true), _) => writes.retain(|write| write.file != "cpu.weight"),
            (None, Some(index)) => {
                writes.insert(index, Write::new("cpu", "cpu.idle", 0).or(Policy::IfPresent));
            }
            _ => {}
        }
        Ok(limits)
    }

    /// The writes in the order in which they are done, without the device rules.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Fields that were given but have no effect on this version, one sentence each: for the caller's log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn writes(resources: &Resources, mode: Mode) -> std::result::Result<Vec<Write>, Refusal> {
    if mode == Mode::Unified { v2::writes(resources) } else { Ok(v1::writes(resources)) }
}

impl Write {
    // By value: numbers and strings alike, without a word at each of the many calls.
    #[allow(clippy::needless_pass_by_value)]
    fn new(controller: &'static str, file: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        Self {
            controller: controller.into(),
            file: file.into(),
            value: value.to_string(),
            policy: Policy::Must,
        }
    }

    /// Files that may be written, with the value for each.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (&str, &str)> {
        let other = match &self.policy {
            Policy::Else(file, value) => Some((*file, value.as_str())),
            _ => None,
        };
        std::iter::once((self.file.as_ref(), self.value.as_str())).chain(other)
    }

    fn or(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_resources_are_no_writes_but_the_default_devices() {
        for mode in [Mode::Legacy, Mode::Hybrid, Mode::Unified] {
            let limits = Limits::compile(&Resources::default(), mode, DeviceRules::Apply).unwrap();
            assert_eq!(limits.writes(), []);
            assert_eq!(limits.warnings(), [] as [String; 0]);
            assert_eq!(limits.devices.as_ref().unwrap().program.is_some(), mode == Mode::Unified);
            assert!(
                Limits::compile(&Resources::default(), mode, DeviceRules::Keep).unwrap().devices.is_none()
            );
        }
    }

    #[test]
    fn for_systemd_a_cgroup_is_idle_or_has_a_weight() {
        let files = |json: &str| -> Vec<String> {
            let resources = serde_json::from_str(json).unwrap();
            let limits = Limits::compile(&resources, Mode::Unified, DeviceRules::Keep).unwrap();
            let limits = limits.as_systemd_holds_them().unwrap();
            limits.writes().iter().map(|write| format!("{}={}", write.file, write.value)).collect()
        };
        assert_eq!(files(r#"{"cpu":{"shares":1024}}"#), ["cpu.idle=0", "cpu.weight=100"]);
        assert_eq!(files(r#"{"unified":{"cpu.weight":"8"}}"#), ["cpu.idle=0", "cpu.weight=8"]);
        assert_eq!(files(r#"{"cpu":{"shares":1024,"idle":1}}"#), ["cpu.idle=1"]);
        assert_eq!(files(r#"{"unified":{"cpu.weight":"8","cpu.idle":"1"}}"#), ["cpu.idle=1"]);
        assert_eq!(files(r#"{"cpu":{"shares":1024,"idle":0}}"#), ["cpu.idle=0", "cpu.weight=100"]);
        assert_eq!(files(r#"{"cpu":{"quota":12345}}"#), ["cpu.max=13000 100000"]);
    }

    #[test]
    fn unified_is_for_version_2() {
        let resources: Resources = serde_json::from_str(r#"{"unified":{"memory.high":"1"}}"#).unwrap();
        let refused = Limits::compile(&resources, Mode::Hybrid, DeviceRules::Keep).unwrap_err();
        assert_eq!(refused.to_string(), "invalid configuration: cannot use unified on cgroup v1");
    }
}
