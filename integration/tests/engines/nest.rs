//! The namespaces in which the engines live, and the sweeping after them.
//!
//! Three processes: the outer one starts the next through unshare(1) and cleans up when all is over; the first of
//! the new pid namespace adopts and reaps what daemons leave; the inner one runs the cases. When the second ends,
//! the kernel kills everything and the mounts go with the namespace.

use std::path::Path;
use std::process::{Command, ExitCode};

pub(crate) use knarr_integration::nest::Site;
use knarr_integration::{Layout, layout, leftovers, nest};
use rustix::mount::{MountPropagationFlags, mount_change};

/// Tells a process of ours which of the three it is.
const ROLE: &str = "KNARR_ENGINES_ROLE";

/// Runs `body` in namespaces of its own; gives its exit code.
pub(crate) fn inside(body: impl FnOnce(&Site) -> ExitCode) -> ExitCode {
    let mark = std::env::var(leftovers::MARK);
    match (std::env::var(ROLE).as_deref(), mark) {
        (Ok("reap"), Ok(mark)) => adopt_and_reap(&Site::of(mark)),
        (Ok("run"), Ok(mark)) => body(&Site::of(mark)),
        _ => enclose(&Site::of(format!("knarr-engines-{}", std::process::id()))),
    }
}

/// Runs `body` in the machine's own namespaces, which end with the machine.
pub(crate) fn without(body: impl FnOnce(&Site) -> ExitCode) -> ExitCode {
    let site = Site::of(format!("knarr-engines-{}", std::process::id()));
    std::fs::create_dir(&site.dir).expect("make the directory of this run");
    body(&site)
}

fn enclose(site: &Site) -> ExitCode {
    std::fs::create_dir(&site.dir).expect("make the directory of this run");
    let us = std::env::current_exe().expect("our own path");
    let ended = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(us)
        .args(std::env::args_os().skip(1))
        .env(ROLE, "reap")
        .env("RUST_BACKTRACE", "0")
        .env(leftovers::MARK, &site.mark)
        .status()
        .expect("start unshare");
    let left = leftovers::sweep(Layout::Hybrid, &site.cgroup(), &site.mark);
    let removed = std::fs::remove_dir_all(&site.dir);
    assert!(left.is_empty() && removed.is_ok(), "left behind: {left:?} {removed:?}");
    if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Peers of its own, as systemd makes it: `--volume x:y:rslave` needs that.
fn share_mounts() {
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change("/", shared).expect("share the mounts within the namespace");
}

/// A tmpfs of our own below the hierarchies: podman makes plain folders for those that it misses. A hierarchy that is in use
/// but mounted nowhere here is mounted too: containerd has no metrics when one is out of its sight.
fn mount_cgroups_again() {
    layout::mount_again(Path::new("/run/cgroup"));
    for hierarchy in v1_in_use() {
        layout::mount_v1(&hierarchy).expect("a hierarchy from elsewhere");
    }
}

/// Every v1 hierarchy as /proc/self/cgroup names it, `cpu,cpuacct` or `name=systemd`; see cgroups(7).
fn v1_in_use() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/cgroup").expect("our cgroups");
    let names = table.lines().filter_map(|line| line.split(':').nth(1));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn adopt_and_reap(site: &Site) -> ExitCode {
    nest::furnish();
    mount_cgroups_again();
    share_mounts();
    let us = std::env::current_exe().expect("our own path");
    let args = std::env::args_os().skip(1);
    let inner = Command::new(us).args(args).env(ROLE, "run").spawn().expect("start the inner process");
    let code = nest::reap_until_ended(&inner).and_then(|code| u8::try_from(code).ok());
    // Here, where every hierarchy is mounted.
    leftovers::sweep(Layout::Hybrid, &site.cgroup(), &site.mark);
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
