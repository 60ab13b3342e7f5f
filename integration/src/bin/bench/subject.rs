//! One runtime with a bundle, a state root and a cgroup of its own, and the pieces of work it is measured by.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use knarr_integration::bundle::{default_config, docker_profile};
use knarr_integration::runtime::{SYS_RESOURCE, busybox, we_hold};
use knarr_integration::wait::gone_within;
use knarr_integration::{Layout, Runtime, Value, json, leftovers, sys};

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// `run` of /bin/true.
    Run,
    /// `create`, `start`, the end of the program, `delete`.
    Life,
    /// `exec` of /bin/true in a running container.
    Exec,
    /// `events --stats` of it.
    Stats,
    /// `--version`: the start of a process.
    Version,
    /// `create` alone.
    Create(Load),
}

/// What a container has beyond the usual.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Nothing,
    /// Docker's seccomp profile.
    Filter,
    /// A limit of each kind that the layout has.
    Limits,
}

impl Work {
    /// Needs a container that runs.
    fn is_inside(self) -> bool {
        matches!(self, Work::Exec | Work::Stats)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::Run => "run /bin/true",
            Work::Life => "create; start; delete",
            Work::Exec => "exec /bin/true",
            Work::Stats => "events --stats",
            Work::Version => "--version",
            Work::Create(Load::Nothing) => "create",
            Work::Create(Load::Filter) => "create with a filter",
            Work::Create(Load::Limits) => "create with limits",
        }
    }
}

/// How long the runtime's commands took, and how much of a processor they and those that they waited for had.
#[derive(Clone, Copy, Default)]
pub(crate) struct Time {
    pub(crate) wall: Duration,
    pub(crate) processor: Duration,
}

impl Time {
    fn plus(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, processor: self.processor + other.processor }
    }
}

/// Whether crun can raise the limit that it thinks a device program needs.
pub(crate) fn may_filter_devices() -> bool {
    we_hold(SYS_RESOURCE)
}

/// The number of a whole disk, if there is one.
fn a_disk() -> Option<(u32, u32)> {
    let disk = fs::read_dir("/sys/block").ok()?.flatten().next()?;
    let number = fs::read_to_string(disk.path().join("dev")).ok()?;
    let (major, minor) = number.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

pub(crate) struct Subject {
    pub(crate) runtime: Runtime,
    pub(crate) program: PathBuf,
    layout: Layout,
    dir: PathBuf,
    name: String,
}

impl Subject {
    pub(crate) fn new(runtime: Runtime, layout: Layout) -> Result<Self, String> {
        let program = runtime.program()?;
        let name = format!("knarr-bench-{}-{}", std::process::id(), runtime.name());
        let dir = std::env::temp_dir().join(&name);
        let subject = Self { runtime, program, layout, dir, name };
        subject.make_bundle().map_err(|error| format!("make a bundle: {error}"))?;
        Ok(subject)
    }

    fn make_bundle(&self) -> std::io::Result<()> {
        let rootfs = self.dir.join("rootfs");
        for folder in ["bin", "dev", "proc", "sys"] {
            fs::create_dir_all(rootfs.join(folder))?;
        }
        fs::copy(busybox().map_err(std::io::Error::other)?, rootfs.join("bin/busybox"))?;
        for applet in ["true", "sleep"] {
            symlink("busybox", rootfs.join("bin").join(applet))?;
        }
        self.write_config(&["/bin/true"], Load::Nothing)
    }

    fn write_config(&self, args: &[&str], load: Load) -> std::io::Result<()> {
        let mut config = default_config(&format!("/{}", self.name));
        config["process"]["args"] = json!(args);
        if self.layout == Layout::Unified
            && let Some(namespaces) = config["linux"]["namespaces"].as_array_mut()
        {
            namespaces.push(json!({"type": "cgroup"}));
        }
        if self.layout == Layout::Unified && !may_filter_devices() {
            config["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
        }
        match load {
            Load::Nothing => {}
            Load::Filter => config["linux"]["seccomp"] = docker_profile(),
            Load::Limits => self.add_limits(&mut config),
        }
        fs::write(self.dir.join("config.json"), config.to_string())
    }

    /// Wide enough not to slow the container's start itself. cgroup2 may have no controllers: then its own files are what
    /// can be limited.
    fn add_limits(&self, config: &mut Value) {
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let has = |name: &str| controllers.split_whitespace().any(|one| one == name);
        let cpus = std::thread::available_parallelism()
            .map_or_else(|_| "0".to_owned(), |count| format!("0-{}", count.get() - 1));
        let limits = &mut config["linux"]["resources"];
        if self.layout == Layout::Hybrid || has("memory") {
            limits["memory"] = json!({"limit": 512 << 20, "reservation": 256 << 20, "swap": 768 << 20});
            limits["cpu"] =
                json!({"shares": 512, "quota": 900_000, "period": 100_000, "cpus": cpus, "mems": "0"});
            limits["pids"] = json!({"limit": 100});
        }
        if has("hugetlb") {
            limits["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
        }
        // On v1 crun knows no other file than blkio.weight, which is gone from the kernel.
        if self.layout == Layout::Unified && has("io") {
            limits["blockIO"] = json!({"weight": 500});
            if let Some((major, minor)) = a_disk() {
                let rate = json!([{"major": major, "minor": minor, "rate": 1 << 30}]);
                for kind in ["ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS"] {
                    limits["blockIO"][format!("throttle{kind}Device")] = rate.clone();
                }
            }
        }
        if self.layout == Layout::Unified && has("cpu") {
            limits["cpu"]["burst"] = json!(100_000);
        }
        if self.layout == Layout::Unified {
            limits["unified"] = json!({"cgroup.max.depth": "9", "cgroup.max.descendants": "99"});
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.dir.join("state")).args(args).current_dir(&self.dir);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env(leftovers::MARK, &self.name);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The container's id.
    pub(crate) fn id(&self) -> &str {
        &self.name
    }

    /// One `run`; the error is what the runtime said.
    pub(crate) fn try_out(&self) -> Result<(), String> {
        let mut command = self.command(&["run", self.id()]);
        let output = command.stderr(Stdio::piped()).output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    pub(crate) fn prepare(&self, work: Work) -> Result<(), String> {
        let (args, load) = match work {
            Work::Create(load) => (["/bin/true"].as_slice(), load),
            _ if work.is_inside() => (["/bin/sleep", "1000"].as_slice(), Load::Nothing),
            _ => return Ok(()),
        };
        self.write_config(args, load).map_err(|error| error.to_string())?;
        if work.is_inside() { self.call(&["run", "--detach", self.id()]).map(drop) } else { Ok(()) }
    }

    pub(crate) fn finish(&self, work: Work) -> Result<(), String> {
        if work.is_inside() || matches!(work, Work::Create(_)) {
            self.call(&["delete", "--force", self.id()])?;
            self.write_config(&["/bin/true"], Load::Nothing).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Does the work once; gives the time of the runtime's commands.
    pub(crate) fn perform(&self, work: Work) -> Result<Time, String> {
        match work {
            Work::Run => self.call(&["run", self.id()]),
            Work::Exec => self.call(&["exec", self.id(), "/bin/true"]),
            Work::Version => self.call(&["--version"]),
            Work::Stats => self.call(&["events", "--stats", self.id()]),
            Work::Create(_) => {
                self.prepare(work)?;
                let created = self.call(&["create", self.id()])?;
                self.call(&["delete", "--force", self.id()])?;
                Ok(created)
            }
            Work::Life => {
                let created = self.call(&["create", self.id()])?;
                let pid = self.pid()?;
                let started = self.call(&["start", self.id()])?;
                if !gone_within(pid, Duration::from_secs(10)) {
                    return Err("the program does not end".into());
                }
                let deleted = self.call(&["delete", self.id()])?;
                Ok([created, started, deleted].into_iter().fold(Time::default(), Time::plus))
            }
        }
    }

    /// The work once, where this runtime can do it.
    pub(crate) fn is_able(&self, work: Work) -> bool {
        let done = self.prepare(work).and_then(|()| self.perform(work)).and_then(|_| self.finish(work));
        if done.is_err() {
            leftovers::sweep(self.layout, &format!("/{}", self.name), &self.name);
            drop(self.command(&["delete", "--force", self.id()]).status());
        }
        done.is_ok()
    }

    fn call(&self, args: &[&str]) -> Result<Time, String> {
        let begun = Instant::now();
        let child = self.command(args).spawn().map_err(|error| error.to_string())?;
        let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
        let (status, usage) = sys::wait_with_usage(pid).map_err(|error| error.to_string())?;
        let time = Time { wall: begun.elapsed(), processor: usage.processor };
        let failed = || format!("{} {args:?}: wait status {status}", self.runtime.name());
        if status == 0 { Ok(time) } else { Err(failed()) }
    }

    fn pid(&self) -> Result<i32, String> {
        let mut command = self.command(&["state", self.id()]);
        let output = command.stdout(Stdio::piped()).output().map_err(|error| error.to_string())?;
        let state: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.ok_or_else(|| "state tells no pid".into())
    }

    /// A file of the subject's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let left = leftovers::sweep(self.layout, &format!("/{}", self.name), &self.name);
        let removed = fs::remove_dir_all(&self.dir);
        if !left.is_empty() || removed.is_err() {
            eprintln!("bench: left behind: {left:?} {removed:?}");
        }
    }
}
