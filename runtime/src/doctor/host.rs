//! The machine around the kernel: security modules, the helpers of rootless containers, the state directory, criu.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, statvfs};

use super::Status::{Broken, Missing};
use super::{Check, setting};
use crate::lsm;
use crate::sys::{self, Errno, Named as _};

pub(super) fn checks(root: &Path) -> Vec<Check> {
    let rootless = !rustix::process::geteuid().is_root();
    let mut checks = vec![security_modules(), state_directory(root)];
    checks.extend(["newuidmap", "newgidmap"].map(|helper| id_helper(helper, rootless)));
    if rootless {
        checks.extend(["/etc/subuid", "/etc/subgid"].map(id_range));
    }
    checks.push(criu());
    checks
}

/// Only what containers can ask for.
fn security_modules() -> Check {
    let all = setting("/sys/kernel/security/lsm").unwrap_or_else(|| "list not readable".into());
    let says = |enabled| if enabled { "on" } else { "off" };
    let (apparmor, selinux) = (lsm::apparmor_is_enabled(), lsm::selinux_is_enabled());
    let found = format!("AppArmor {}, SELinux {} ({all})", says(apparmor), says(selinux));
    Check::ok("security modules", found)
}

/// It, or the directory above in which it will be made, takes a new file.
fn state_directory(root: &Path) -> Check {
    let there = root.ancestors().find(|path| path.is_dir()).unwrap_or(root);
    let tried = accessat(CWD, there, Access::WRITE_OK, AtFlags::EACCESS)
        .named(|| format!("access({}, W_OK)", there.display()))
        .and_then(|()| has_space(there));
    Check::of(
        "state directory",
        tried.map(|()| root.display().to_string()),
        (Broken, "the state of containers cannot be kept"),
    )
    .advise("name another directory with --root, best on a tmpfs")
}

fn has_space(dir: &Path) -> sys::Result<()> {
    let fs = statvfs(dir).named(|| format!("statfs({})", dir.display()))?;
    let fail = |errno| Err(sys::Error { call: format!("write below {}", dir.display()), errno });
    match fs.f_flag.contains(StatVfsMountFlags::RDONLY) {
        true => fail(Errno::ROFS),
        // File systems without a fixed number of files or blocks say 0 of 0.
        false if fs.f_blocks > 0 && fs.f_bavail == 0 || fs.f_files > 0 && fs.f_favail == 0 => {
            fail(Errno::NOSPC)
        }
        false => Ok(()),
    }
}

fn id_helper(name: &'static str, rootless: bool) -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    let found = found.map(|file| file.display().to_string());
    let effect = if rootless {
        "only containers with one id of their own run"
    } else {
        "users get only containers with one id"
    };
    found_or(name, found, effect, "install the package uidmap")
}

fn found_or(name: &'static str, found: Option<String>, effect: &'static str, advice: &str) -> Check {
    match found {
        Some(found) => Check::ok(name, found),
        None => Check { name, status: Missing, found: "not there".into(), effect, advice: advice.into() },
    }
}

/// The range of ids that the caller may map: subuid(5).
fn id_range(file: &'static str) -> Check {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let table = fs::read_to_string(file).unwrap_or_default();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid));
    let user = user.and_then(|line| line.split(':').next()).unwrap_or_default();
    let owns = |line: &&str| {
        line.split(':').next().is_some_and(|owner| !owner.is_empty() && (owner == user || owner == uid))
    };
    let found = table.lines().find(owns).map(str::to_owned);
    found_or(
        file,
        found,
        "only containers with one id of their own run",
        "give the user a range: usermod --add-subuids, --add-subgids",
    )
}

fn criu() -> Check {
    let output = Command::new("criu").arg("check").stdin(Stdio::null()).output();
    let effect = (Missing, "checkpoint and restore by criu are not possible");
    let tried = output.named(|| "run criu".into()).map_err(crate::error::Error::from).and_then(|output| {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or("criu check failed").to_owned();
        if output.status.success() {
            Ok("criu check is content")
        } else {
            Err(crate::error::Error::WrongState(last))
        }
    });
    Check::of("criu", tried, effect).advise("install criu, if containers are to be checkpointed")
}
