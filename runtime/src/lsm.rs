//! Security modules: the profile of a process (apparmor(7)) or its label (selinux(8)), written through the private procfs.
//!
//! Both take effect at execve; what comes before it still runs under the runtime's own.

use rustix::fs::statfs;

use crate::error::{During as _, Result};
use crate::proc::Proc;
use crate::sys::{self, Errno};

/// `SELINUX_MAGIC` of linux/magic.h.
const SELINUXFS: i64 = 0xf97c_ff8c;
/// What the kernel takes as "none": writing nothing would be no write at all.
const NO_LABEL: &[u8] = b"\n";

/// Whether this host confines processes by profiles.
pub(crate) fn apparmor_is_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|enabled| enabled.starts_with(b"Y"))
        && std::fs::exists("/sys/kernel/security/apparmor").is_ok_and(|exists| exists)
}

/// Whether this host has a policy of labels loaded: without one every process is labelled `kernel`.
pub(crate) fn selinux_is_enabled() -> bool {
    statfs("/sys/fs/selinux").is_ok_and(|fs| fs.f_type == SELINUXFS)
        && std::fs::read("/proc/self/attr/current").is_ok_and(|label| label.trim_ascii_end() != b"kernel\0")
}

/// Makes the next execve of the caller change to `profile`.
pub(crate) fn set_apparmor_profile(proc: &Proc, profile: &str) -> Result<()> {
    let change = format!("exec {profile}");
    let written = match proc.write_own("attr/apparmor/exec", change.as_bytes()) {
        // Before Linux 5.8 it has no directory of its own.
        Err(error) if error.errno == Errno::NOENT => proc.write_own("attr/exec", change.as_bytes()),
        result => result,
    };
    written.during(|| "unable to apply apparmor profile: apparmor failed to apply profile".into())
}

/// Makes the next execve of the caller label the process.
pub(crate) fn set_selinux_label(proc: &Proc, label: &str) -> Result<()> {
    proc.write_own("attr/exec", label.as_bytes()).during(|| "can't set process label".into())
}

/// Labels the keyrings that the caller makes from now on, until [`reset_key_label`].
pub(crate) fn set_key_label(proc: &Proc, label: &str) -> Result<()> {
    ignore_missing(proc.write_own("attr/keycreate", label.as_bytes())).during(|| "can't set key label".into())
}

pub(crate) fn reset_key_label(proc: &Proc) -> Result<()> {
    ignore_missing(proc.write_own("attr/keycreate", NO_LABEL)).during(|| "can't reset key label".into())
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
        if apparmor_is_enabled() || selinux_is_enabled() {
            eprintln!("skipped: this host has a security module");
            return;
        }
        let proc = Proc::open(Scope::Processes).expect("open proc");
        let line = set_selinux_label(&proc, "a:b:c").expect_err("no module").line();
        assert!(line.starts_with("can't set process label: ") && line.contains("attr/exec"), "{line}");
        let line = set_apparmor_profile(&proc, "docker-default").expect_err("no module").line();
        assert!(line.starts_with("unable to apply apparmor profile: "), "{line}");
    }
}
