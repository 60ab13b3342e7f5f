//! What a runtime may have left behind: processes, mounts, cgroups, state. Used to assert that there is nothing,
//! and to clean up after a test however it ended.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::wait::gone_within;
use crate::{Layout, sys};

/// The environment variable that marks every program a world starts.
pub const MARK: &str = "KNARR_TEST_WORLD";

/// Processes that belong to the world `mark`: started by it, in its cgroup, or with a mount of its directory.
/// The calling process is not one of them.
pub fn processes(mark: &str) -> Vec<i32> {
    let listing = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = listing.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    pids.filter(|pid| *pid != us && belongs(*pid, mark)).collect()
}

fn belongs(pid: i32, mark: &str) -> bool {
    let says = |file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(mark)
    };
    let ended = fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')));
    !ended && (says("environ") || says("cgroup") || says("mountinfo"))
}

/// Cgroup directories of the world that exist.
pub fn cgroups(layout: Layout, cgroup: &str) -> Vec<String> {
    let directories = layout.places(cgroup).into_iter();
    directories.filter(|directory| directory.is_dir()).map(|path| path.display().to_string()).collect()
}

/// Lines of this thread's mount table, without the last field, the options of the whole file system: runc changes those of
/// cgroup2 for everybody.
pub fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    table.lines().filter_map(|line| line.rsplit_once(' ')).map(|(mount, _)| mount.to_owned()).collect()
}

/// Kills and removes everything; gives back what would not go.
pub fn sweep(layout: Layout, cgroup: &str, mark: &str) -> Vec<String> {
    thaw(layout, cgroup);
    for _ in 0..20 {
        let left = processes(mark);
        if left.is_empty() {
            break;
        }
        for pid in left {
            // It may have ended since it was listed.
            let _ = sys::kill(pid, libc::SIGKILL);
            gone_within(pid, Duration::from_secs(2));
        }
    }
    let mounted = layout.directories(cgroup);
    for place in layout.places(cgroup) {
        if mounted.contains(&place) {
            remove_cgroup(&place);
        } else if place.exists() {
            // A plain folder: no hierarchy is mounted there.
            let _ = fs::remove_dir_all(&place);
        }
    }
    let mut left: Vec<String> = processes(mark).iter().map(|pid| format!("process {pid}")).collect();
    left.extend(cgroups(layout, cgroup));
    left
}

/// A frozen process cannot be killed on v1.
fn thaw(layout: Layout, cgroup: &str) {
    let freezer = layout.directory("freezer", cgroup);
    let (file, text) = match layout {
        Layout::Hybrid => ("freezer.state", "THAWED"),
        _ => ("cgroup.freeze", "0"),
    };
    if freezer.join(file).exists() {
        drop(fs::write(freezer.join(file), text));
    }
}

/// Children first. A dead process leaves its cgroup a moment after its parent could wait for it.
fn remove_cgroup(directory: &Path) {
    let children = fs::read_dir(directory).into_iter().flatten().flatten();
    for child in children.map(|child| child.path()).filter(|child| child.is_dir()) {
        remove_cgroup(&child);
    }
    for _ in 0..500 {
        match fs::remove_dir(directory) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => return,
        }
    }
}
