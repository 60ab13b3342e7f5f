//! A cgroup of a name of its own and processes in it, all gone when the test ends, however it ends.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part, and a failure is a panic")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use knarr_cgroups::{Already, Cgroup, DeviceRules, Hierarchies, Limits, Request, Resources};
use rustix::process::{Pid, Signal};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A cgroup, located but not made.
pub(crate) struct World {
    pub(crate) hierarchies: Hierarchies,
    pub(crate) cgroup: Cgroup,
    /// Path of the test's top directory in each hierarchy.
    pub(crate) top: String,
    processes: Vec<Child>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::below("")
    }

    /// The cgroup is `sub` below the test's top directory.
    pub(crate) fn below(sub: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests make cgroups: run them as root");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let top = format!("/knarr-cgroups-{}-{number}", std::process::id());
        let path = format!("{top}/{sub}");
        let hierarchies = Hierarchies::discover().unwrap();
        let cgroup =
            Cgroup::locate(&hierarchies, &Request { cgroups_path: &path, ..Request::default() }).unwrap();
        Self { hierarchies, cgroup, top, processes: Vec::new() }
    }

    pub(crate) fn limits(&self, json: &str) -> Limits {
        self.limits_with(json, DeviceRules::Apply)
    }

    pub(crate) fn limits_with(&self, json: &str, devices: DeviceRules) -> Limits {
        let resources: Resources = serde_json::from_str(json).unwrap();
        Limits::compile(&resources, self.hierarchies.mode(), devices).unwrap()
    }

    /// Made, with limits in force.
    pub(crate) fn made(json: &str) -> Self {
        let mut world = Self::new();
        let limits = world.limits(json);
        world.cgroup.create(&limits).unwrap();
        world.cgroup.apply(&limits).unwrap();
        world
    }

    /// A shell that waits for a line before it does anything, in the cgroup.
    pub(crate) fn shell(&mut self, script: &str) -> Pid {
        let child = waiting_shell(script);
        let pid = Pid::from_child(&child);
        self.processes.push(child);
        self.cgroup.join(pid, Already::Nowhere).unwrap();
        pid
    }

    /// Lets the shell started last run.
    pub(crate) fn go(&mut self) {
        self.processes.last_mut().unwrap().stdin.take().unwrap().write_all(b"\n").unwrap();
    }

    /// Status of the shell started last.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.processes.pop().unwrap().wait().unwrap()
    }

    /// A process that never sleeps runs, stands still while the cgroup is frozen, and goes on.
    pub(crate) fn assert_freezes_a_spinner(&mut self) {
        let pid = self.shell("while :; do :; done");
        self.go();
        eventually("the spinner runs", || user_ticks(pid) > 0);
        assert!(!self.cgroup.is_frozen().unwrap());
        self.cgroup.freeze().unwrap();
        assert!(self.cgroup.is_frozen().unwrap());
        let before = user_ticks(pid);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(user_ticks(pid), before);
        self.cgroup.thaw().unwrap();
        assert!(!self.cgroup.is_frozen().unwrap());
        eventually("the spinner goes on", || user_ticks(pid) > before);
    }

    /// A shell that has forked, and goes on forking.
    pub(crate) fn fork_without_end(&mut self) {
        self.shell("while :; do sleep 0.001 & sleep 0.002 & done");
        self.go();
        eventually("the shell forks", || self.cgroup.processes().unwrap().len() > 1);
    }

    /// Runs a script in the cgroup.
    pub(crate) fn run(&mut self, script: &str) -> Output {
        self.shell(script);
        self.go();
        self.processes.pop().unwrap().wait_with_output().unwrap()
    }

    pub(crate) fn path(&self, controller: &str) -> &Path {
        let paths = self.cgroup.paths();
        paths.get(controller).or_else(|| paths.get("")).unwrap()
    }

    pub(crate) fn read(&self, controller: &str, file: &str) -> String {
        std::fs::read_to_string(self.path(controller).join(file)).unwrap().trim().to_owned()
    }

    fn tops(&self) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|hierarchy| hierarchy.mount_point.join(&self.top[1..])).collect()
    }

    /// For a cgroup two below the top directory.
    pub(crate) fn delete_with_parents(&self) {
        self.cgroup.delete().unwrap();
        for path in self.cgroup.paths().values() {
            std::fs::remove_dir(path.parent().unwrap()).unwrap();
        }
    }

    pub(crate) fn assert_gone(&self) {
        for path in self.cgroup.paths().values() {
            assert!(!path.exists(), "{} is left", path.display());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let killed = self.cgroup.kill(Signal::KILL);
        for child in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
        let deleted = self.cgroup.delete();
        for top in self.tops() {
            let _ = std::fs::remove_dir(top);
        }
        if !std::thread::panicking() {
            killed.unwrap();
            deleted.unwrap();
        }
    }
}

/// Asks again and again until the condition holds.
///
/// # Panics
/// With `what` when 10 seconds have passed: longer than anything here takes on a busy machine.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn waiting_shell(script: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("read line; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// `/proc/pid/cgroup`.
pub(crate) fn cgroups_of(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).unwrap()
}

/// Clock ticks in user mode so far.
fn user_ticks(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(11).unwrap().parse().unwrap()
}

/// The last of an error's chain with all before it, as a program prints it.
pub(crate) fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
