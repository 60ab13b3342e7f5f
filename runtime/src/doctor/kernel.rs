//! The system calls: see docs/kernel-features.md for what each is used for.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, OFlags, ResolveFlags};

use super::Status::{Broken, Fallback, Missing};
use super::{Check, around, in_child, setting};
use crate::keyring::{self, Searchable};
use crate::rootfs::id_mapped;
use crate::sys;
use crate::sys::descriptors::{RangeAct, close_range};
use crate::sys::files::open_at2;
use crate::sys::mounts::{
    Depth, MountChange, change_mount, clone_tree, create_fs, mount_fs, open_fs, set_fs_option,
};

const NEW_TIME: libc::c_int = 0x80;

pub(super) fn checks() -> Vec<Check> {
    let uname = rustix::system::uname();
    let release = format!("{} {}", uname.release().to_string_lossy(), uname.machine().to_string_lossy());
    let mut checks = vec![Check::ok("kernel", release)];
    checks.extend(namespaces());
    checks.extend(processes());
    checks.extend(mounts());
    checks.extend(seccomp());
    checks
}

fn namespaces() -> [Check; 5] {
    let made = |flags| in_child(around() | flags, None, &|| Ok(())).map(|()| "made");
    let usual =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let users = if around() == 0 { Missing } else { Broken };
    // The whole of proc must be visible for a user namespace to get its own.
    let proc = in_child(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID, None, &|| {
        let fs = open_fs("proc")?;
        create_fs(&fs)?;
        mount_fs(&fs, 0).map(drop)
    });
    [
        Check::of(
            "namespaces",
            made(usual),
            (Broken, "mount, pid, network, ipc and uts namespaces cannot be made"),
        ),
        Check::of(
            "cgroup namespace",
            made(libc::CLONE_NEWCGROUP),
            (Missing, "linux.namespaces of type cgroup fails"),
        ),
        Check::of("time namespace", made(NEW_TIME), (Missing, "linux.namespaces of type time fails")),
        Check::of(
            "user namespace",
            in_child(libc::CLONE_NEWUSER, None, &|| Ok(())).map(|()| limits_on_users()),
            (users, "linux.namespaces of type user fails, and no container runs without root"),
        ),
        Check::of(
            "proc in user namespace",
            proc.map(|()| "mounted"),
            (Missing, "a container with a user namespace cannot mount proc"),
        )
        .advise("run where /proc has no masks over it, or bind /proc into such containers"),
    ]
}

/// The settings that let users make user namespaces or not, as far as this kernel has them.
fn limits_on_users() -> String {
    let settings = [
        ("user.max_user_namespaces", "/proc/sys/user/max_user_namespaces"),
        ("kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        ),
    ];
    let set = settings.iter().filter_map(|(name, path)| Some(format!("; {name} = {}", setting(path)?)));
    format!("made{}", set.collect::<String>())
}

fn processes() -> [Check; 3] {
    let own = rustix::process::getpid();
    let name = std::ffi::CString::from(c"_ses.knarr-doctor");
    let keyring = in_child(0, None, &|| match keyring::create(&name, Searchable::ByUser) {
        Ok(None) => Ok(()),
        _ => Err(sys::Error { call: "keyctl(JOIN_SESSION_KEYRING)".into(), errno: sys::Errno::DQUOT }),
    });
    [
        Check::of("pidfd", sys::pidfd_open(own).map(|_| "opened"), (Broken, "processes cannot be held")),
        Check::of(
            "close_range",
            close_range(u32::MAX - 1, u32::MAX, RangeAct::Close).map(|()| "works"),
            (Fallback, "descriptors are closed by close-on-exec alone"),
        ),
        Check::of(
            "session keyring",
            keyring.map(|()| "made"),
            (Fallback, "containers keep the caller's session keyring, with a warning"),
        )
        .advise("raise kernel.keys.maxkeys and kernel.keys.maxbytes, or use --no-new-keyring"),
    ]
}

fn mounts() -> [Check; 5] {
    let within = around() | libc::CLONE_NEWNS;
    let read_only = MountChange { set: libc::MOUNT_ATTR_RDONLY, ..MountChange::default() };
    let own_exe = in_child(0, None, &|| {
        let tree = clone_tree(CWD, "/proc/self/exe", Depth::One)?;
        change_mount(&tree, Depth::One, &read_only)
    });
    [
        Check::of(
            "mount interface",
            in_child(within, None, &|| tmpfs().map(drop)).map(|()| "fsopen, fsconfig, fsmount"),
            (Broken, "nothing can be mounted"),
        ),
        Check::of(
            "mount_setattr",
            in_child(within, None, &|| change_mount(tmpfs()?, Depth::Tree, &read_only)).map(|()| "works"),
            (Broken, "mounts cannot be made read-only"),
        )
        .advise("Linux 5.12 has it; a seccomp filter around this process may hide it"),
        Check::of(
            "id-mapped mounts",
            tmpfs().map_err(Into::into).and_then(|tree| id_mapped(tree.as_fd())).map(|()| "tmpfs takes them"),
            (Missing, "mounts with uidMappings and gidMappings fail"),
        ),
        Check::of(
            "openat2",
            open_at2(CWD, ".", OFlags::PATH, ResolveFlags::IN_ROOT).map(|_| "works"),
            (Fallback, "paths are walked by component, which is slower"),
        ),
        Check::of(
            "sealed executable",
            own_exe.map(|()| "by a read-only clone of its mount"),
            (Fallback, "the runtime copies itself to a sealed memfd for each create, run and exec"),
        ),
    ]
}

fn tmpfs() -> sys::Result<OwnedFd> {
    let fs = open_fs("tmpfs")?;
    set_fs_option(&fs, "size", "4k")?;
    create_fs(&fs)?;
    mount_fs(&fs, 0)
}

fn seccomp() -> [Check; 2] {
    use knarr_seccomp::features;
    let (actions, flags) = (features::missing_actions(), features::supported_flags());
    let lacking = |what: Vec<&str>, name, effect| {
        if what.is_empty() {
            return Check::ok(name, "all that a profile can name");
        }
        Check { status: Missing, effect, found: format!("without {}", what.join(" ")), ..Check::ok(name, "") }
    };
    let flags = features::known_flags().into_iter().filter(|flag| !flags.contains(flag)).collect();
    [
        lacking(actions, "seccomp actions", "profiles with these actions fail"),
        lacking(flags, "seccomp flags", "linux.seccomp.flags with these fails"),
    ]
}
