//! A container that exists: what its record says, and what the kernel says about it now.
//!
//! The status is never stored. It follows from the container's first process, its cgroup's freezer and the start gate.

use std::path::Path;

use knarr_cgroups::Cgroup;
use serde::Serialize;

use crate::bundle;
use crate::error::{During as _, Error, Result};
use crate::process_id::{Process, ProcessId};
use crate::record::Record;
use crate::spec::{self, Spec};
use crate::store::{Maker, StateDir, Store};
use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) dir: StateDir,
    pub(crate) record: Record,
}

impl Container {
    /// The container to look at.
    pub(crate) fn find(root: &Path, id: &str) -> Result<Self> {
        Self::load(Store::open(root)?.dir(id)?)
    }

    /// The container to change: waits for any other command that changes it.
    pub(crate) fn find_for_change(root: &Path, id: &str) -> Result<Self> {
        let dir = Store::open(root)?.dir(id)?;
        // Before reading: what held the lock may have removed the container.
        dir.lock()?;
        Self::load(dir)
    }

    /// The container of a directory; [`Error::NotExist`] where `create` got no further than the directory.
    pub(crate) fn load(dir: StateDir) -> Result<Self> {
        let record = Self::record_in(&dir)?.ok_or(Error::NotExist)?;
        Ok(Self { dir, record })
    }

    /// What the directory records, in runc's form or in crun's.
    pub(crate) fn record_in(dir: &StateDir) -> Result<Option<Record>> {
        if let Some(state) = dir.read_state()? {
            return Record::from_json(dir.id(), &state).map(Some);
        }
        let (Some(status), Some(config)) = (dir.read_status()?, dir.read_config()?) else { return Ok(None) };
        Record::of_crun(dir.id(), &status, &config, !rustix::process::geteuid().is_root()).map(Some)
    }

    /// The configuration that it was created with. runc keeps no copy: for its containers that is the bundle's.
    pub(crate) fn config(&self) -> Result<Vec<u8>> {
        match self.dir.read_config()? {
            Some(json) => Ok(json),
            None => bundle::load_raw(self.record.bundle())
                .during(|| format!("read the configuration of container {}", self.dir.id())),
        }
    }

    /// The same, read. A bundle may have changed since: which namespaces a container of runc's has, its state says.
    pub(crate) fn spec(&self) -> Result<Spec> {
        let what = || format!("read the configuration of container {}", self.dir.id());
        let mut spec: Spec =
            spec::parse(&self.config()?).map_err(|source| Error::Json { what: what(), source })?;
        if self.dir.maker()? == Maker::Runc {
            spec.linux.get_or_insert_default().namespaces = self.record.namespaces();
        }
        Ok(spec)
    }

    /// Its first process; none when that has ended or does not exist yet.
    pub(crate) fn init(&self) -> Result<Option<Process>> {
        self.record.init().map_or(Ok(None), ProcessId::open)
    }

    pub(crate) fn cgroup(&self) -> Cgroup {
        let config = &self.record.config;
        let mut cgroup = Cgroup::from_paths(&self.record.cgroup_paths);
        if config.rootless_cgroups || config.cgroups.rootless {
            cgroup = cgroup.rootless();
        }
        if config.cgroups.systemd { cgroup.by_systemd() } else { cgroup }
    }

    /// A container whose first process has ended is stopped even in a frozen cgroup: there is nothing to resume, and
    /// `delete` has to be possible.
    pub(crate) fn status(&self) -> Result<Status> {
        if !self.record.init().map_or(Ok(false), ProcessId::is_alive)? {
            Ok(Status::Stopped)
        } else if self.cgroup().is_frozen()? {
            Ok(Status::Paused)
        } else if self.dir.is_gate_closed()? {
            Ok(Status::Created)
        } else {
            Ok(Status::Running)
        }
    }

    /// Sends a signal to the first process. SIGKILL goes to all where no pid namespace makes the others follow it.
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        if signal == libc::SIGKILL && !self.record.has_own_pid_namespace() {
            return self.signal_all(signal).during(|| "unable to kill all processes".into());
        }
        self.signal_init(&self.init()?.ok_or(Error::NotRunning)?, signal)
    }

    /// Sends a signal to every process in the container's cgroup.
    pub(crate) fn signal_all(&self, signal: i32) -> Result<()> {
        let cgroup = self.cgroup();
        match sys::to_signal(signal) {
            Some(signal) if !cgroup.all_processes()?.is_empty() => Ok(cgroup.kill(signal)?),
            // Without a cgroup only the first process is known; and of the numbers that are no signals the kernel
            // takes 0 alone, which does nothing to anyone.
            _ => self.signal_init(&self.init()?.ok_or(Error::NotRunning)?, signal),
        }
    }

    /// Sends a signal to the first process, and sees to it that SIGKILL takes effect: on cgroup v1 a frozen process
    /// dies only when it is thawed.
    pub(crate) fn signal_init(&self, init: &Process, signal: i32) -> Result<()> {
        init.signal(signal).during(|| "unable to signal init".into())?;
        if signal == libc::SIGKILL { self.thaw() } else { Ok(()) }
    }

    /// Lets the processes go on if they are frozen.
    pub(crate) fn thaw(&self) -> Result<()> {
        let cgroup = self.cgroup();
        if cgroup.is_frozen()? {
            cgroup.thaw()?;
        }
        Ok(())
    }
}
