//! From `linux.resources` to the writes that set them. Pure: every rule is checked here, nothing is opened.

use std::borrow::Cow;

use crate::error::Result;
use crate::hierarchy::Mode;
use crate::resources::Resources;

/// Whether the device list takes part: `update` leaves devices alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRules {
    /// The list and the default rules are compiled.
    Apply,
    /// What is in force stays.
    Keep,
}

/// What is done when a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is an error.
    Must,
    /// A missing file is ignored.
    IfPresent,
    /// EINVAL puts the write off until the others of its controller are done: the kernel checks values against
    /// each other and the right order depends on what is there.
    Defer,
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

/// Checked limits, ready to be applied to a [`crate::Cgroup`].
#[derive(Clone, Debug)]
pub struct Limits {
    writes: Vec<Write>,
    warnings: Vec<String>,
}

impl Limits {
    /// Checks every rule and compiles the writes and the device program.
    ///
    /// # Errors
    /// A value that the specification or the kernel's rules forbid; the error names the field.
    pub fn compile(_resources: &Resources, _mode: Mode, _devices: DeviceRules) -> Result<Self> {
        unimplemented!("next commit")
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
