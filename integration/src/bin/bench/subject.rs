//! One runtime with a bundle, a state root and a cgroup of its own, and the pieces of work it is measured by.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use knarr_integration::bundle::{default_config, docker_profile};
use knarr_integration::runtime::{SYS_RESOURCE, busybox, we_hold};
use knarr_integration::wait::gone_within;
use knarr_integration::{Layout, Runtime, Value, json, leftovers};

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// `run` of /bin/true.
    Run,
    /// `create`, `start`, the end of the program, `delete`.
    Life,
    /// `exec` of /bin/true in a running container.
    Exec,
    /// `--version`: the start of a process.
    Version,
    /// `create` alone, with or without Docker's seccomp profile.
    Create(Filter),
}

/// Whether containers get Docker's seccomp profile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    Docker,
    None,
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::Run => "run /bin/true",
            Work::Life => "create; start; delete",
            Work::Exec => "exec /bin/true",
            Work::Version => "--version",
            Work::Create(Filter::None) => "create",
            Work::Create(Filter::Docker) => "create with a filter",
        }
    }
}

/// Whether crun can raise the limit that it thinks a device program needs.
pub(crate) fn may_filter_devices() -> bool {
    we_hold(SYS_RESOURCE)
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
        self.write_config(&["/bin/true"], Filter::None)
    }

    fn write_config(&self, args: &[&str], filter: Filter) -> std::io::Result<()> {
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
        if filter == Filter::Docker {
            config["linux"]["seccomp"] = docker_profile();
        }
        fs::write(self.dir.join("config.json"), config.to_string())
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
        if work == Work::Exec {
            self.write_config(&["/bin/sleep", "1000"], Filter::None).map_err(|error| error.to_string())?;
            self.call(&["run", "--detach", self.id()])?;
        }
        Ok(())
    }

    pub(crate) fn finish(&self, work: Work) -> Result<(), String> {
        if work == Work::Exec {
            self.call(&["delete", "--force", self.id()])?;
            self.write_config(&["/bin/true"], Filter::None).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Does the work once; gives the time of the runtime's commands.
    pub(crate) fn perform(&self, work: Work) -> Result<Duration, String> {
        match work {
            Work::Run => self.call(&["run", self.id()]),
            Work::Exec => self.call(&["exec", self.id(), "/bin/true"]),
            Work::Version => self.call(&["--version"]),
            Work::Create(filter) => {
                self.write_config(&["/bin/true"], filter).map_err(|error| error.to_string())?;
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
                Ok(created + started + self.call(&["delete", self.id()])?)
            }
        }
    }

    fn call(&self, args: &[&str]) -> Result<Duration, String> {
        let begun = Instant::now();
        let status = self.command(args).status().map_err(|error| error.to_string())?;
        let time = begun.elapsed();
        if status.success() { Ok(time) } else { Err(format!("{} {args:?}: {status}", self.runtime.name())) }
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
