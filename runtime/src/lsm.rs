//! stub
use crate::error::Result;
use crate::proc::Proc;
pub(crate) fn apparmor_enabled() -> Result<bool> { Ok(false) }
pub(crate) fn selinux_enabled() -> Result<bool> { Ok(false) }
pub(crate) fn set_apparmor_exec(_: &Proc, _: &str) -> Result<()> { Ok(()) }
pub(crate) fn set_selinux_exec(_: &Proc, _: &str) -> Result<()> { Ok(()) }
