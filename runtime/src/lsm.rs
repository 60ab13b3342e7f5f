//! Security modules: the profile of a process (apparmor(7)) or its label (selinux(8)), written through the private procfs.
//!
//! Both take effect at execve; what comes before it still runs under the runtime's own.

use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::statfs;

use crate::error::{During as _, Result};
use crate::proc::Proc;
use crate::sys::{self, Errno, Named as _};

/// `SELINUX_MAGIC` of linux/magic.h.
const SELINUXFS: i64 = 0xf97c_ff8c;
/// What the kernel takes as "none": writing nothing would be no write at all.
const NO_LABEL: &[u8] = b"\n";

/// Whether this host confines processes by profiles.
pub(crate) fn apparmor_enabled() -> Result<bool> {
    let enabled = read_if_present("/sys/module/apparmor/parameters/enabled")?;
    Ok(enabled.is_some_and(|enabled| enabled.starts_with(b"Y"))
        && Path::new("/sys/kernel/security/apparmor").exists())
}

/// Whether this host has a policy of labels loaded: without one every process is labelled `kernel`.
pub(crate) fn selinux_enabled() -> Result<bool> {
    if !statfs("/sys/fs/selinux").is_ok_and(|fs| fs.f_type == SELINUXFS) {
        return Ok(false);
    }
    let label = read_if_present("/proc/self/attr/current")?;
    Ok(label.is_some_and(|label| label.trim_ascii_end() != b"kernel\0"))
}

/// Makes the next execve of the caller change to `profile`.
pub(crate) fn set_apparmor_exec(proc: &Proc, profile: &str) -> Result<()> {
    let change = format!("exec {profile}");
    let written = match proc.write_own("attr/apparmor/exec", change.as_bytes()) {
        // Before Linux 5.8 it has no directory of its own.
        Err(error) if error.errno == Errno::NOENT => proc.write_own("attr/exec", change.as_bytes()),
        result => result,
    };
    written.during(|| "unable to apply apparmor profile: apparmor failed to apply profile".into())
}

/// Makes the next execve of the caller label the process.
pub(crate) fn set_selinux_exec(proc: &Proc, label: &str) -> Result<()> {
    proc.write_own("attr/exec", label.as_bytes()).during(|| "can't set process label".into())
}

/// Labels the keyrings that the caller makes from now on, until [`reset_key_label`].
pub(crate) fn set_key_label(proc: &Proc, label: &str) -> Result<()> {
    ignore_missing(proc.write_own("attr/keycreate", label.as_bytes())).during(|| "can't set key label".into())
}

pub(crate) fn reset_key_label(proc: &Proc) -> Result<()> {
    ignore_missing(proc.write_own("attr/keycreate", NO_LABEL)).during(|| "can't reset key label".into())
}

fn read_if_present(path: &str) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => Ok(Some(result.named(|| format!("read {path}"))?)),
    }
}

/// A kernel built without keyrings has no such attribute.
fn ignore_missing(result: sys::Result<()>) -> sys::Result<()> {
    match result {
        Err(error) if error.errno == Errno::NOENT => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Scope;

    #[test]
    fn without_a_security_module_a_label_is_refused_by_name() {
        if apparmor_enabled().expect("probe") || selinux_enabled().expect("probe") {
            eprintln!("skipped: this host has a security module");
            return;
        }
        let proc = Proc::open(Scope::Processes).expect("open proc");
        let line = set_selinux_exec(&proc, "a:b:c").expect_err("no module").line();
        assert!(line.starts_with("can't set process label: ") && line.contains("attr/exec"), "{line}");
        let line = set_apparmor_exec(&proc, "docker-default").expect_err("no module").line();
        assert!(line.starts_with("unable to apply apparmor profile: "), "{line}");
    }
}
