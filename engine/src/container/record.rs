//! What is known of a container and outlives the engine: one JSON file in its folder, replaced as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{During as _, Error, Result};
use crate::replace::replace;
use crate::volume;
use crate::wire::{Config, EndpointSettings, HostConfig, MountPoint, PortBinding};

const FILE: &str = "container.json";

/// Everything about one container. What was asked for is complete: the image's part is merged into it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    /// Without a leading slash.
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    /// ID of the image, `sha256:...`.
    pub(crate) image: String,
    /// The program and its arguments: entrypoint and command in one.
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    pub(crate) config: Config,
    pub(crate) host_config: HostConfig,
    /// In the order in which they are mounted.
    pub(crate) mounts: Vec<MountPoint>,
    /// What the engine has to know of them beside that, by destination.
    #[serde(default)]
    pub(crate) mount_details: BTreeMap<String, volume::Details>,
    /// By name of the network. Addresses are those of the current run.
    pub(crate) networks: BTreeMap<String, EndpointSettings>,
    /// Host ports of the current run, by `PORT/PROTOCOL`.
    pub(crate) ports: BTreeMap<String, Vec<PortBinding>>,
    pub(crate) state: State,
    /// MAC addresses that were asked for, by network: they are the container's in every run.
    #[serde(default)]
    pub(crate) asked_macs: BTreeMap<String, String>,
    /// Starts that the restart policy made since a user's.
    pub(crate) restart_count: u32,
    /// Ends in a row of runs that were too short to show that the container works.
    #[serde(default)]
    pub(crate) short_runs: u32,
    /// A user sent it a signal in this run: `unless-stopped` lets it be after its end, also if a later engine sees that.
    pub(crate) stopped_by_hand: bool,
    /// A removal has begun and has to be finished.
    pub(crate) removing: bool,
    /// And takes the anonymous volumes as well.
    #[serde(default)]
    pub(crate) removing_volumes: bool,
    /// Folder of the memory cgroup of the current run, which tells whether memory ran out.
    pub(crate) memory_cgroup: Option<PathBuf>,
}

/// What a container does, or did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) status: Status,
    /// Of the first process, on the host; 0 while none runs.
    pub(crate) pid: i32,
    pub(crate) exit_code: i32,
    /// Why it could not start.
    pub(crate) error: String,
    pub(crate) oom_killed: bool,
    /// None before the first start.
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
    /// None without a health check.
    pub(crate) health: Option<Health>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Created,
    Running,
    Paused,
    /// The restart policy waits before it starts it again.
    Restarting,
    Exited,
    /// Its removal failed.
    Dead,
}

impl Status {
    /// There is a process.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// As Docker's `State.Running` has it: also while the restart policy waits.
    pub(crate) fn is_running(self) -> bool {
        self.is_up() || self == Self::Restarting
    }
}

/// What the health check has found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// `starting`, `healthy`, `unhealthy`.
    pub(crate) status: String,
    /// Failures in a row.
    pub(crate) failing_streak: u32,
    /// The last five, the oldest first.
    pub(crate) log: Vec<Probe>,
}

/// One run of the health check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) exit_code: i32,
    /// At most 4096 bytes.
    pub(crate) output: String,
}

impl Record {
    /// Reads the record of a container's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = fs::read(&path).during("read", &path)?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::system(format!("read {}: {error}", path.display())))
    }

    /// Replaces the record of a container's folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        replace(&folder.join(FILE), self)
    }

    /// `host`, `none`, `bridge`, `container:ID` or the name of a network.
    pub(crate) fn network_mode(&self) -> &str {
        &self.host_config.network_mode
    }

    /// The first twelve characters of the ID, as users see it.
    pub(crate) fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    pub(crate) fn has_terminal(&self) -> bool {
        self.config.tty
    }
}
