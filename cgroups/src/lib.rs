//! Control groups of Linux: create, join, limit, measure, freeze, kill and delete one, on cgroup v1, on pure cgroup v2 and on
//! both at once (hybrid).
//!
//! The crate knows no containers. [`Hierarchies`] says what is mounted, [`Limits`] turns the runtime
//! specification's `linux.resources` into an ordered list of writes without touching the system, [`Cgroup`] acts.
//! See cgroups(7), and `cgroup-v1/` and `cgroup-v2.rst` of the kernel's admin-guide.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cgroup;
mod devices;
mod dir;
mod error;
mod hierarchy;
mod limits;
mod oom;
pub mod probe;
pub mod rdt;
mod resources;
mod stats;
mod sys;
mod systemd;

pub use cgroup::{Already, Cgroup, Driver, Request};
pub use error::{Errno, Error, Refusal, Result};
pub use hierarchy::{Hierarchies, Hierarchy, Mode};
pub use limits::{DeviceRules, Limits, Policy, Write};
pub use oom::{OomNotice, OomWatch};
pub use resources::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, InterfacePriority, Memory, Network, Pids, RdmaLimit, Resources,
    ThrottleDevice, WeightDevice,
};
pub use stats::{
    Blkio, BlkioEntry, CpuSetStats, CpuStats, CpuUsage, HugetlbStats, MemoryEntry, MemoryStats, PidsStats,
    Pressure, PressureLine, Stats, Throttling,
};
