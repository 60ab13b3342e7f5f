//! The crate's error: one variant per act, with the object it was done to. Texts that other programs match are runc's.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io;

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A kernel error number, displayed as Go does (`no such file or directory`): container engines match that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub io::Errno);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = std::io::Error::from(self.0).to_string();
        let text = full.split(" (os error").next().unwrap_or(&full);
        // As Go's table has it: the first letter is lowered unless the text starts with an acronym.
        let mut letters = text.chars();
        match (letters.next(), letters.clone().next()) {
            (Some(first), Some(second)) if second.is_lowercase() => {
                write!(f, "{}{}", first.to_ascii_lowercase(), letters.as_str())
            }
            _ => f.write_str(text),
        }
    }
}

impl std::error::Error for Errno {}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        Self(io::Errno::from_io_error(&error).unwrap_or(io::Errno::IO))
    }
}

/// Why an act on a cgroup failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `linux.cgroupsPath`, a limit or a device rule says something that cannot be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("mountpoint for {0} not found")]
    NoHierarchy(String),
    #[error("no D-Bus address: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")]
    NoBus,
    #[error("connect to systemd at {address}")]
    BusConnect { address: String, source: Errno },
    #[error("{act} a D-Bus message")]
    BusIo { act: &'static str, source: Errno },
    #[error("D-Bus: {0}")]
    BusProtocol(String),
    #[error("{call}: {message}")]
    BusReply { call: String, name: String, message: String },
    #[error("unable to start unit {unit:?}")]
    StartUnit { unit: String, source: Box<Error> },
    #[error("unable to set unit properties of {unit:?}")]
    SetUnit { unit: String, source: Box<Error> },
    #[error("error in the job for systemd unit `{unit}`: got `{result}`")]
    UnitJob { unit: String, result: String },
    #[error("no cgroup mount found in mountinfo")]
    NoMounts,
    #[error("cannot parse {}: {line:?}", file.display())]
    Malformed { file: PathBuf, line: String },
    #[error("open {}", path.display())]
    Open { path: PathBuf, source: Errno },
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: Errno },
    #[error("write {value:?} to {}", path.display())]
    Write { path: PathBuf, value: String, source: Errno },
    #[error("create cgroup {}", path.display())]
    MakeDir { path: PathBuf, source: Errno },
    #[error("intelrdt: {act}")]
    Resctrl { act: String, source: Errno },
    #[error(
        "clos dir {} not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty)",
        path.display()
    )]
    ClosNotThere { path: PathBuf, source: Errno },
    #[error("change the owner of {}", path.display())]
    Delegate { path: PathBuf, source: Errno },
    #[error("remove cgroup {}", path.display())]
    RemoveDir { path: PathBuf, source: Errno },
    #[error("statfs {}", path.display())]
    Statfs { path: PathBuf, source: Errno },
    #[error("rootless needs no limits + no cgrouppath when no permission is granted for cgroups")]
    RootlessNeedsPermission { source: Box<Error> },
    #[error("cannot enter cgroupv2 {path:?} with domain controllers -- it is in {state}")]
    NoDomainControllers { path: PathBuf, state: String },
    #[error("error adding pid {pid} to cgroups {}", path.display())]
    Join { pid: i32, path: PathBuf, source: Errno },
    #[error("cannot set {controller} limit: container could not join or create cgroup")]
    NoCgroup { controller: String },
    #[error("cannot set {file}: controller {controller} is not available in {}", path.display())]
    NoController { controller: String, file: String, path: PathBuf },
    #[error("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})")]
    MemoryInUse { limit: String, usage: String, peak: String },
    #[error("rejecting memory limit {limit} <= usage {usage}")]
    MemoryBelowUsage { limit: u64, usage: u64 },
    #[error("rejecting memory+swap limit {limit} <= usage {usage}")]
    SwapBelowUsage { limit: u64, usage: u64 },
    #[error("the maximum allowed cpu-shares is {0}")]
    SharesAboveMaximum(u64),
    #[error("the minimum allowed cpu-shares is {0}")]
    SharesBelowMinimum(u64),
    #[error("unified resource {key:?} can't be set: controller {controller:?} not available")]
    UnifiedNoController { key: String, controller: String },
    #[error("unable to set unified resource {key:?}")]
    Unified { key: String, source: Box<Error> },
    #[error("resulting devices cgroup doesn't precisely match target")]
    DevicesNotInForce,
    #[error("{call}")]
    Bpf { call: String, source: Errno },
    #[error("cannot toggle freezer: cgroups not configured for container")]
    NoFreezer,
    #[error("unable to freeze {} within {seconds} s", path.display())]
    FreezeTimeout { path: PathBuf, seconds: u64 },
    #[error("signal process {pid}")]
    Signal { pid: i32, source: Errno },
    #[error("watch for the end of memory")]
    Watch { source: Errno },
    #[error("wait for cgroup {}", path.display())]
    Wait { path: PathBuf, source: Errno },
    #[error("bad sub cgroup path: {} is not a sub cgroup path", .0.display())]
    BadSubPath(PathBuf),
    #[error("unknown controller {0} in SubCgroupPaths")]
    UnknownController(String),
}

/// What a configuration asks for and cannot have; found before anything is touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    #[error(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {0:?} instead"
    )]
    SystemdPath(String),
    #[error("invalid intelRdt.ClosID {0:?}")]
    ClosId(String),
    #[error("invalid unit name: {0:?}")]
    UnitName(String),
    #[error("invalid slice name: {0}")]
    SliceName(String),
    #[error("annotation {key} name incorrect: {reason}")]
    AnnotationName { key: String, reason: &'static str },
    #[error("annotation {key}={value} value parse error: {reason}")]
    AnnotationValue { key: String, value: String, reason: &'static str },
    #[error("linux.resources.{field}: {list:?} is not a list of numbers and ranges")]
    NodeList { field: &'static str, list: String },
    #[error("unified resource {key:?} value invalid: {value:?}")]
    UnifiedValue { key: String, value: String },
    #[error("invalid configuration: cannot use unified on cgroup v1")]
    UnifiedOnV1,
    #[error("unified resource {0:?} must be a file name (no slashes)")]
    UnifiedSlash(String),
    #[error("unified resource {0:?} must be in the form CONTROLLER.PARAMETER")]
    UnifiedForm(String),
    #[error("unable to set swap limit without memory limit")]
    SwapWithoutLimit,
    #[error("memory+swap limit should be >= memory limit")]
    SwapBelowLimit,
    #[error("invalid memory value: {0}")]
    MemoryValue(i64),
    #[error("invalid memory swappiness value: {0} (valid range is 0-100)")]
    Swappiness(u64),
    #[error("linux.resources.blockIO.{field}: {value} is not in the range 10-1000")]
    Weight { field: String, value: u16 },
    #[error("linux.resources.hugepageLimits[{index}].pageSize: {size:?} is not a size such as \"2MB\"")]
    PageSize { index: usize, size: String },
    #[error("linux.resources.rdma[{0:?}]: neither hcaHandles nor hcaObjects is given")]
    EmptyRdma(String),
    #[error("linux.resources.{field}: {value:?} is empty or holds white space")]
    Words { field: String, value: String },
    #[error("device access at {0} field cannot be empty")]
    DeviceAccessEmpty(usize),
    #[error("invalid cgroup device type {kind:?} at linux.resources.devices[{index}]")]
    DeviceType { index: usize, kind: String },
    #[error("linux.resources.devices[{index}]: device number {number} is above 4294967295")]
    DeviceNumber { index: usize, number: i64 },
    #[error("device rule {rule:?} cannot punch a hole in the existing wildcard rule {wildcard:?}")]
    DeviceHole { rule: String, wildcard: String },
}

impl Error {
    pub(crate) fn open(path: &Path, source: io::Errno) -> Self {
        Self::Open { path: path.to_owned(), source: Errno(source) }
    }

    pub(crate) fn read(path: &Path, source: io::Errno) -> Self {
        Self::Read { path: path.to_owned(), source: Errno(source) }
    }

    pub(crate) fn write(path: &Path, value: &str, source: io::Errno) -> Self {
        Self::Write { path: path.to_owned(), value: value.to_owned(), source: Errno(source) }
    }

    /// The kernel's answer behind the error, if there was one.
    pub fn errno(&self) -> Option<io::Errno> {
        match self {
            Self::Open { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::MakeDir { source, .. }
            | Self::RemoveDir { source, .. }
            | Self::Delegate { source, .. }
            | Self::Resctrl { source, .. }
            | Self::ClosNotThere { source, .. }
            | Self::Statfs { source, .. }
            | Self::Join { source, .. }
            | Self::Bpf { source, .. }
            | Self::Signal { source, .. }
            | Self::BusConnect { source, .. }
            | Self::BusIo { source, .. }
            | Self::Watch { source }
            | Self::Wait { source, .. } => Some(source.0),
            Self::RootlessNeedsPermission { source } | Self::Unified { source, .. } => source.errno(),
            _ => None,
        }
    }

    /// No such file or cgroup: ENOENT when opened, ENODEV when it went away while open.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.errno(), Some(io::Errno::NOENT | io::Errno::NODEV))
    }

    /// Permission in the loose sense: a read-only mount is one for an unprivileged user.
    pub(crate) fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(io::Errno::PERM | io::Errno::ACCESS | io::Errno::ROFS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_reads_as_in_go() {
        for (errno, text) in [
            (io::Errno::NOENT, "no such file or directory"),
            (io::Errno::ACCESS, "permission denied"),
            (io::Errno::PERM, "operation not permitted"),
            (io::Errno::BUSY, "device or resource busy"),
            (io::Errno::NOCSI, "no CSI structure available"),
        ] {
            assert_eq!(Errno(errno).to_string(), text);
        }
    }

    #[test]
    fn texts_that_others_match_are_runcs() {
        let join = Error::Join { pid: 7, path: "/sys/fs/cgroup/a".into(), source: Errno(io::Errno::BUSY) };
        assert_eq!(join.to_string(), "error adding pid 7 to cgroups /sys/fs/cgroup/a");
        assert_eq!(
            Error::NoCgroup { controller: "pids".into() }.to_string(),
            "cannot set pids limit: container could not join or create cgroup"
        );
        assert_eq!(
            Error::from(Refusal::SystemdPath("/a".into())).to_string(),
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a\" instead"
        );
    }
}
