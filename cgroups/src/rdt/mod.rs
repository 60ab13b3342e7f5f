//! Shares of the L3 cache and of the memory bandwidth, `linux.intelRdt`: a group of the resctrl file system
//! (`Documentation/filesystems/resctrl.rst`). It is no cgroup, but is made, joined and removed like one.
//!
//! Every path is below a root that the caller names: on a machine it is [`resctrl_root`].

mod stats;

use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode};
use rustix::io::{self, retry_on_intr};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::dir::Dir;
use crate::error::{Errno, Error, Refusal, Result};
use crate::resources::null_as_default;

pub use stats::{L3CacheInfo, L3Occupancy, MemoryBandwidth, MemoryBandwidthInfo, RdtStats};

const DEFAULT_ROOT: &str = "/sys/fs/resctrl";
/// `RDTGROUP_SUPER_MAGIC` of linux/magic.h.
const MAGIC: libc::c_long = 0x0765_5821;

/// `linux.intelRdt` of the runtime specification 1.3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IntelRdt {
    /// Name of a group that several containers share; empty for one of the container's own.
    #[serde(
        rename = "closID",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub clos_id: String,
    /// Lines for the group's `schemata`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub schemata: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub l3_cache_schema: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub mem_bw_schema: String,
    /// Whether the container gets a monitoring group of its own inside the group.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_as_default")]
    pub enable_monitoring: bool,
}

/// A group, and the monitoring group in it if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResctrlGroup {
    root: PathBuf,
    path: PathBuf,
    monitoring: Option<PathBuf>,
    /// A group named by `closID` belongs to whoever made it.
    shared: bool,
}

/// Where resctrl is mounted, if it is.
///
/// # Errors
/// The mounts cannot be read.
pub fn resctrl_root() -> Result<Option<PathBuf>> {
    match fs::statfs(DEFAULT_ROOT) {
        Ok(stat) if stat.f_type == MAGIC => return Ok(Some(DEFAULT_ROOT.into())),
        // The directory comes with the kernel's support for it.
        Err(io::Errno::NOENT) => return Ok(None),
        Ok(_) => {}
        Err(source) => return Err(Error::Statfs { path: DEFAULT_ROOT.into(), source: Errno(source) }),
    }
    let file = Path::new("/proc/self/mountinfo");
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::Read { path: file.into(), source: error.into() })?;
    Ok(mounted_at(&text))
}

fn mounted_at(mountinfo: &str) -> Option<PathBuf> {
    let line = mountinfo.lines().find(|line| line.contains(" - resctrl "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

impl IntelRdt {
    /// What is to be written to `schemata`, a line each.
    fn lines(&self) -> String {
        let mut lines = String::new();
        for line in [&self.l3_cache_schema, &self.mem_bw_schema].into_iter().chain(&self.schemata) {
            if !line.is_empty() {
                lines.push_str(line);
                lines.push('\n');
            }
        }
        lines
    }
}

impl ResctrlGroup {
    /// The group of container `id`; makes nothing.
    ///
    /// # Errors
    /// A `closID` that is no name of a directory.
    pub fn locate(root: &Path, id: &str, config: &IntelRdt) -> Result<Self> {
        let name = if config.clos_id.is_empty() { id } else { &config.clos_id };
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(Refusal::ClosId(name.to_owned()).into());
        }
        let path = root.join(name);
        let monitoring = config.enable_monitoring.then(|| path.join("mon_groups").join(id));
        Ok(Self { root: root.to_owned(), path, monitoring, shared: !config.clos_id.is_empty() })
    }

    /// The group's directory, for the state file's `intel_rdt_path`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The monitoring group's directory, for the state file's `intel_rdt_mon_path`.
    pub fn monitoring_path(&self) -> Option<&Path> {
        self.monitoring.as_deref()
    }

    /// Makes what is missing and sets the schemata.
    ///
    /// # Errors
    /// A shared group without schemata that is not there, or a schema that the hardware cannot have: the text ends with
    /// the kernel's own explanation.
    pub fn create(&self, config: &IntelRdt) -> Result<()> {
        if self.shared && config.lines().is_empty() && !self.path.is_dir() {
            return Err(Error::ClosNotThere { path: self.path.clone(), source: Errno(io::Errno::NOENT) });
        }
        self.make_dir(&self.path)?;
        if let Some(monitoring) = &self.monitoring {
            self.make_dir(monitoring)?;
        }
        self.set(config)
    }

    /// Sets the schemata, if any are given.
    ///
    /// # Errors
    /// As [`ResctrlGroup::create`].
    pub fn set(&self, config: &IntelRdt) -> Result<()> {
        let lines = config.lines();
        if lines.is_empty() {
            return Ok(());
        }
        let result = Dir::open(&self.path).and_then(|dir| dir.write("schemata", &lines));
        result.map_err(|error| self.explain(format!("unable to write {lines:?}"), &error))
    }

    /// Moves a process in; its children follow.
    ///
    /// # Errors
    /// There is no such process or group.
    pub fn join(&self, pid: Pid) -> Result<()> {
        let pid = pid.as_raw_nonzero();
        for path in std::iter::once(&self.path).chain(&self.monitoring) {
            let result = Dir::open(path).and_then(|dir| dir.write("tasks", &pid.to_string()));
            result.map_err(|error| self.explain(format!("unable to add pid {pid}"), &error))?;
        }
        Ok(())
    }

    /// Removes the container's own group, or its monitoring group in a shared one.
    ///
    /// # Errors
    /// The directory is there and cannot be removed.
    pub fn delete(&self) -> Result<()> {
        let path = if self.shared { self.monitoring.as_ref() } else { Some(&self.path) };
        let Some(path) = path else { return Ok(()) };
        match retry_on_intr(|| fs::rmdir(path)) {
            Ok(()) | Err(io::Errno::NOENT) => Ok(()),
            Err(source) => Err(Error::RemoveDir { path: path.clone(), source: Errno(source) }),
        }
    }

    fn make_dir(&self, path: &Path) -> Result<()> {
        match retry_on_intr(|| fs::mkdir(path, Mode::from_raw_mode(0o755))) {
            Ok(()) | Err(io::Errno::EXIST) => Ok(()),
            Err(source) => {
                let error = Error::MakeDir { path: path.to_owned(), source: Errno(source) };
                Err(self.explain(format!("unable to create {}", path.display()), &error))
            }
        }
    }

    /// resctrl says more than an error number in a file of its own.
    fn explain(&self, act: String, error: &Error) -> Error {
        let status = Dir::open(&self.root.join("info")).and_then(|dir| dir.read("last_cmd_status"));
        let status = status.map(|text| text.trim().to_owned()).unwrap_or_default();
        let act = if status.is_empty() { act } else { format!("{act}, last_cmd_status: {status}") };
        Error::Resctrl { act, source: Errno(error.errno().unwrap_or(io::Errno::IO)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_by_container_or_clos() {
        let locate =
            |json: &str| ResctrlGroup::locate(Path::new("/r"), "box", &serde_json::from_str(json).unwrap());
        assert_eq!(locate("{}").unwrap().path(), Path::new("/r/box"));
        assert_eq!(locate("{}").unwrap().monitoring_path(), None);
        let shared = locate(r#"{"closID":"gold","enableMonitoring":true}"#).unwrap();
        assert_eq!(shared.path(), Path::new("/r/gold"));
        assert_eq!(shared.monitoring_path(), Some(Path::new("/r/gold/mon_groups/box")));
        for id in ["..", ".", "a/b"] {
            let refused = locate(&format!(r#"{{"closID":"{id}"}}"#)).unwrap_err();
            assert_eq!(refused.to_string(), format!("invalid intelRdt.ClosID {id:?}"));
        }
    }

    #[test]
    fn schemata_are_lines() {
        let config: IntelRdt = serde_json::from_str(
            r#"{"l3CacheSchema":"L3:0=f","memBwSchema":"MB:0=20","schemata":["L2:0=3","SMBA:0=5"]}"#,
        )
        .unwrap();
        assert_eq!(config.lines(), "L3:0=f\nMB:0=20\nL2:0=3\nSMBA:0=5\n");
        let nulls = r#"{"closID":null,"schemata":null,"l3CacheSchema":null,"enableMonitoring":null}"#;
        assert_eq!(serde_json::from_str::<IntelRdt>(nulls).unwrap().lines(), "");
    }

    #[test]
    fn a_mount_elsewhere_is_found() {
        let text =
            "1 2 0:3 / /proc rw - proc proc rw\n4 2 0:9 / /mnt/rdt rw,nosuid - resctrl resctrl rw,cdp\n";
        assert_eq!(mounted_at(text), Some("/mnt/rdt".into()));
        assert_eq!(mounted_at("1 2 0:3 / /proc rw - proc proc rw\n"), None);
    }
}
