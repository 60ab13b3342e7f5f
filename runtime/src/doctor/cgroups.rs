//! The cgroups: which version, whether one can be made and entered, with which controllers; systemd.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use knarr_cgroups::{Hierarchies, Hierarchy, Mode, probe};
use rustix::fs::{CWD, OFlags};

use super::Status::{Broken, Fallback, Missing};
use super::{Check, in_child, own_name, setting};
use crate::sys::Named as _;
use crate::sys::files::open_at;

/// What an engine may ask for.
const WANTED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

pub(super) fn checks() -> Vec<Check> {
    let hierarchies = match Hierarchies::discover() {
        Ok(hierarchies) => hierarchies,
        Err(error) => {
            let effect = (Broken, "no container has a cgroup, unless --cgroup-manager=disabled is given");
            let check = Check::failed("cgroup layout", &error.into(), effect);
            return vec![check.advise("mount cgroup2 on /sys/fs/cgroup")];
        }
    };
    let mut checks = vec![layout(&hierarchies)];
    let v2 = hierarchies.iter().find(|hierarchy| hierarchy.is_v2());
    checks.extend(
        hierarchies.iter().filter(|one| one.is_v2() || is_devices(one)).map(|one| made(&hierarchies, one)),
    );
    if let (Some(v2), Mode::Unified) = (v2, hierarchies.mode()) {
        checks.push(controllers(&hierarchies, v2));
        checks.push(Check::of(
            "device rules",
            probe::device_program().map(|()| "the kernel takes a device program"),
            (Missing, "linux.resources.devices fails, unless it allows everything or the caller is not root"),
        ));
    }
    checks.push(Check::of(
        "systemd",
        probe::systemd_version().map(|version| format!("systemd {version} answers")),
        (Missing, "--systemd-cgroup fails; without that flag cgroups are made in the file system"),
    ));
    checks
}

fn is_devices(hierarchy: &Hierarchy) -> bool {
    hierarchy.controllers.iter().any(|name| name == "devices")
}

fn layout(hierarchies: &Hierarchies) -> Check {
    let text = match hierarchies.mode() {
        Mode::Unified => "version 2".to_owned(),
        mode => {
            let names = hierarchies.iter().flat_map(|one| &one.controllers).filter(|name| !name.is_empty());
            let names: Vec<&str> = names.map(String::as_str).collect();
            let and_v2 = if mode == Mode::Hybrid { ", and version 2 beside it" } else { "" };
            format!("version 1 with {}{and_v2}", names.join(" "))
        }
    };
    if hierarchies.mode() != Mode::Unified && !hierarchies.iter().any(is_devices) {
        let effect = "no container is made without the devices controller: it could use any device";
        let advice = "mount the devices controller, or version 2 alone".into();
        return Check { name: "cgroup layout", status: Broken, found: text, effect, advice };
    }
    Check::ok("cgroup layout", text)
}

/// Where the caller's containers go: below the top for root, else below the caller's own cgroup.
fn place(hierarchies: &Hierarchies, hierarchy: &Hierarchy) -> PathBuf {
    // Where that cannot be told, the attempt below the top says why nothing can be made.
    let own = hierarchies.own(hierarchy).unwrap_or_default();
    let below = if rustix::process::geteuid().is_root() {
        Path::new("")
    } else {
        own.strip_prefix("/").unwrap_or(&own)
    };
    hierarchy.mount_point.join(below)
}

/// Makes a cgroup and removes it; on version 2 a process is born in it.
fn made(hierarchies: &Hierarchies, hierarchy: &Hierarchy) -> Check {
    let name = if hierarchy.is_v2() { "cgroup of version 2" } else { "cgroup of version 1" };
    let path = place(hierarchies, hierarchy).join(own_name());
    let status = if rustix::process::geteuid().is_root() { Broken } else { Missing };
    let effect =
        "containers have no cgroup: no limits, no pause, and rootless ones run only without resources";
    if let Err(error) = fs::create_dir(&path).named(|| format!("mkdir({})", path.display())) {
        return Check::failed(name, &error.into(), (status, effect))
            .advise("mount it writable, or have systemd delegate a cgroup to the user (Delegate=yes)");
    }
    let check = if hierarchy.is_v2() { entered(name, &path) } else { Check::ok(name, "made") };
    match fs::remove_dir(&path).named(|| format!("rmdir({})", path.display())) {
        Err(error) => Check { status: Missing, found: error.to_string(), ..check },
        Ok(()) => check,
    }
}

fn entered(name: &'static str, path: &Path) -> Check {
    let has = |file: &str| path.join(file).exists();
    let born = open_at(CWD, &path.to_string_lossy(), OFlags::PATH | OFlags::DIRECTORY)
        .and_then(|dir| in_child(0, Some(dir.as_fd()), &|| Ok(())));
    let (freeze, kill) = (has("cgroup.freeze"), has("cgroup.kill"));
    let check = Check::of(
        name,
        born.map(|()| "made, and a process is born in it (CLONE_INTO_CGROUP)"),
        (Fallback, "processes are moved in after they were made"),
    );
    match (freeze, kill) {
        (false, _) => {
            Check { status: Missing, effect: "pause and resume fail: there is no cgroup.freeze", ..check }
        }
        (true, false) => {
            let effect = "processes are killed one by one, frozen: there is no cgroup.kill";
            Check { status: check.status.max(Fallback), effect, ..check }
        }
        (true, true) => check,
    }
}

fn controllers(hierarchies: &Hierarchies, v2: &Hierarchy) -> Check {
    let path = place(hierarchies, v2);
    let there = setting(&path.join("cgroup.controllers").to_string_lossy()).unwrap_or_default();
    let missing: Vec<&str> =
        WANTED.into_iter().filter(|name| !there.split(' ').any(|one| one == *name)).collect();
    let found = format!("{} in {}", if there.is_empty() { "none" } else { &there }, path.display());
    let mut check = Check::ok("cgroup controllers", found);
    if !missing.is_empty() {
        check.status = Missing;
        check.effect = "limits of the other controllers fail";
        check.advice = format!(
            "{} not available: delegate them (Delegate=yes, or cgroup.subtree_control above), and see that no version 1 \
             hierarchy has them",
            missing.join(" ")
        );
    }
    check
}
