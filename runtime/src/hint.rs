//! What to do about an error, where that is known: for the JSON log and for people at a terminal. The error's own text,
//! which engines match, is left alone.

use crate::error::Error;

/// The error's number (0: whatever it is), a part of its text, and what to do. The first that fits counts.
const KNOWN: &[(i32, &str, &str)] = &[
    (libc::EMFILE, "watch", "fs.inotify.max_user_instances is reached: raise it"),
    (libc::EMFILE, "", "the limit on open files of the caller (ulimit -n) is reached: raise it"),
    (
        libc::EPERM,
        "prlimit(",
        "it is above the caller's own hard limit, which takes CAP_SYS_RESOURCE: take less in process.rlimits",
    ),
    (libc::ENOSPC, "error adding pid", EMPTY_CPUSET),
    (libc::ENOSPC, "cpuset.", EMPTY_CPUSET),
    (
        0,
        "cpuset.",
        "the machine, or the cgroup above, does not have these CPUs or memory nodes: see its cpuset files",
    ),
    (
        libc::EBUSY,
        "error adding pid",
        "on cgroup v2 no process may be in a cgroup that gives controllers to others: use a cgroup without children, or \
         name one with exec --cgroup",
    ),
    (libc::EBUSY, "remove cgroup", "a process is still in the cgroup or below it: see its cgroup.procs"),
    (libc::ENOSPC, "clone3(", NAMESPACE_LIMIT),
    (libc::ENOSPC, "unshare(", NAMESPACE_LIMIT),
    (libc::EPERM, "clone3(", NO_NAMESPACES),
    (libc::EPERM, "unshare(", NO_NAMESPACES),
    (
        libc::EAGAIN,
        "clone3(",
        "a limit on processes is reached: pids.max of a cgroup above, RLIMIT_NPROC, kernel.pid_max, kernel.threads-max",
    ),
    (
        libc::EPERM,
        "error mounting \"proc\"",
        "a user namespace gets a new proc only where one without masks is visible: unmask /proc of the container around \
         this one, or bind its /proc",
    ),
    (libc::ENOSPC, "watch", "fs.inotify.max_user_watches is reached: raise it"),
    (
        libc::EINVAL,
        "error loading seccomp filter",
        "this kernel does not know an action or a flag of the profile: see knarr doctor",
    ),
    (libc::ENOENT, "apparmor failed to apply profile", "the profile is not loaded: see apparmor_parser(8)"),
    (libc::ENOENT, "newuidmap", NO_HELPER),
    (libc::ENOENT, "newgidmap", NO_HELPER),
    (
        0,
        "requires user namespaces",
        "add a user namespace and mappings to the configuration, as knarr spec --rootless writes them",
    ),
    (
        0,
        "not available",
        "the controller is not delegated: write +NAME to cgroup.subtree_control of the cgroups above, or set \
         Delegate=yes in the unit",
    ),
    (
        0,
        "rootless needs no limits",
        "have systemd delegate a cgroup (--systemd-cgroup in a user session, Delegate=yes), or take resources and \
         cgroupsPath out of the configuration",
    ),
    (
        0,
        "usage",
        "the processes in the cgroup use more than that already: take a higher limit, or free memory first",
    ),
];

const EMPTY_CPUSET: &str = "cpuset.cpus or cpuset.mems of the cgroup, or of one above, is empty: fill it, or set linux.resources.cpu";
const NAMESPACE_LIMIT: &str = "a limit on namespaces is reached or is 0: see sysctl user.max_user_namespaces and its kin, or namespaces are nested 32 deep";
const NO_NAMESPACES: &str = "namespaces may not be made here: be root, add a user namespace to the configuration, or allow it to users (kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns); see knarr doctor";
const NO_HELPER: &str = "install newuidmap and newgidmap (package uidmap), and give the user ranges in /etc/subuid and /etc/subgid";
const FULL: &str = "the file system of the state (--root) or of the container's root is full";

/// Nothing where the text says all that is known.
pub(crate) fn of(error: &Error) -> Option<String> {
    if let Some(hint) = error.told().and_then(|told| told.hint.clone()) {
        return Some(hint);
    }
    let (errno, text) = (error.errno().unwrap_or(0), error.line());
    let known =
        KNOWN.iter().find(|(number, part, _)| (*number == errno || *number == 0) && text.contains(part));
    let hint = match (known, errno) {
        (Some((.., hint)), _) => hint,
        (None, libc::ENOSPC | libc::EDQUOT) => FULL,
        (None, libc::ENOENT) if is_missing_source(error) => {
            "the source does not exist on the host: make it, or correct the mount"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn is_missing_source(error: &Error) -> bool {
    error.field().is_some_and(|field| field.starts_with("/mounts/"))
        && error.call().is_some_and(|call| call.starts_with("open_tree("))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::During as _;
    use crate::sys::{self, Errno};

    /// What this machine cannot be brought to answer.
    #[test]
    fn kernels_and_hosts_that_are_not_here() {
        let refused = |errno, call: &str, act: &str| {
            let failed: sys::Result<()> = Err(sys::Error { call: call.into(), errno });
            failed.during(|| act.into()).unwrap_err()
        };
        let install = knarr_seccomp::Error::Install(std::io::Error::from_raw_os_error(libc::EINVAL));
        for (error, part) in [
            (
                refused(Errno::NOENT, "write(attr/exec)", "apparmor failed to apply profile"),
                "apparmor_parser",
            ),
            (refused(Errno::NOSPC, "inotify_add_watch(x)", "watch for the end"), "max_user_watches"),
            (refused(Errno::MFILE, "inotify_init1", "watch for the end"), "max_user_instances"),
            (refused(Errno::AGAIN, "clone3(0x1)", "a"), "pids.max"),
            (refused(Errno::BUSY, "write", "error adding pid 7 to cgroups /a"), "on cgroup v2"),
            (refused(Errno::NOSPC, "write", "error adding pid 7 to cgroups /a"), "cpuset.cpus"),
            (install.into(), "does not know an action"),
        ] {
            let hint = of(&error).unwrap_or_default();
            assert!(hint.contains(part), "{}: {hint}", error.line());
        }
        assert_eq!(of(&refused(Errno::IO, "read(x)", "a")), None);
    }
}
