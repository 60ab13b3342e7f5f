//! What this machine offers that only a trial tells: whether the kernel takes a device program, whether systemd answers.

use crate::devices::{self, Program};
use crate::error::Result;
use crate::systemd::{Bus, Manager};

/// Loads a device program as a container of version 2 gets one, attaches it to nothing, and lets it go.
pub fn device_program() -> Result<()> {
    devices::load(&Program::compile(&devices::policy(&[])?)).map(drop)
}

/// The version of the systemd that would make the caller's scopes: the system's for root, else the user's own.
pub fn systemd_version() -> Result<u32> {
    let bus = if rustix::process::geteuid().is_root() { Bus::System } else { Bus::User };
    Manager::connect(bus)?.version()
}
