//! The global flags, which runc's parser takes before and after the command, and what they mean.

use knarr_cgroups::Driver;

use super::flag::Flag;
use super::program::Program;
use super::root_dir::{RootDir, in_user_namespace};
use crate::error::{Error, Result};
use crate::log::{Format, Level, Target};

/// What every command knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Globals {
    pub(crate) program: Program,
    pub(crate) root: RootDir,
    pub(crate) cgroup_driver: Driver,
    pub(crate) log: Target,
    pub(crate) log_format: Format,
    pub(crate) log_level: Level,
    rootless: Option<bool>,
}

impl Globals {
    /// Whether a lack of permission for cgroups is to be tolerated: what `--rootless` says; else whether we are not
    /// real root. Inside a user namespace runc asks systemd who owns it when systemd manages the cgroups; we take
    /// every root of such a namespace for a guest.
    pub(crate) fn rootless(&self) -> bool {
        self.rootless.unwrap_or_else(|| !rustix::process::geteuid().is_root() || in_user_namespace())
    }
}

/// The flags as typed.
#[derive(Debug, Default)]
pub(super) struct GlobalFlags {
    debug: bool,
    log: Target,
    log_format: String,
    log_level: Option<Level>,
    root: Option<String>,
    cgroup_driver: Driver,
    rootless: Option<bool>,
    pub(super) help: bool,
    pub(super) version: bool,
}

impl GlobalFlags {
    pub(super) fn resolve(self, program: Program) -> Result<Globals> {
        let log_level = self.log_level.unwrap_or(program.default_level());
        Ok(Globals {
            root: match &self.root {
                Some(root) => RootDir::given(root)?,
                None => RootDir::default_for(&program),
            },
            cgroup_driver: self.cgroup_driver,
            log: self.log,
            log_format: match self.log_format.as_str() {
                "" | "text" => Format::Text,
                "json" => Format::Json,
                other => return Err(Error::Usage(format!("invalid log-format: {other}"))),
            },
            log_level: if self.debug { Level::Debug } else { log_level },
            rootless: self.rootless,
            program,
        })
    }
}

/// Understood before and after the command.
pub(super) const FLAGS: &[Flag<GlobalFlags>] = &[
    Flag::switch(&["debug"], |g, on| g.debug = on, "log what is being done, step by step"),
    Flag::text(
        &["log"],
        |g, text| g.log = Target::parse(text),
        "append log lines to this file ([file:]PATH, journald:ID or syslog:ID) instead of stderr",
    ),
    Flag::text(
        &["log-format"],
        |g, text| g.log_format = text.into(),
        "how log lines look: 'text' or 'json' (default: \"text\")",
    ),
    Flag::parsed(
        &["log-level"],
        |g, text| parse_level(text).map(|level| g.log_level = Some(level)),
        "how much is logged: 'error', 'warning', 'info' or 'debug'",
    ),
    Flag::text(
        &["root"],
        |g, text| g.root = Some(text.into()),
        "directory of the containers' state, best on a tmpfs",
    ),
    Flag::switch(
        &["systemd-cgroup"],
        |g, on| g.cgroup_driver = if on { Driver::Systemd } else { Driver::Cgroupfs },
        "let systemd manage cgroups; cgroupsPath is then \"slice:prefix:name\"",
    ),
    Flag::parsed(
        &["cgroup-manager"],
        |g, text| parse_cgroup_driver(text).map(|driver| g.cgroup_driver = driver),
        "who manages cgroups: 'cgroupfs', 'systemd' or 'disabled' (default: \"cgroupfs\")",
    ),
    Flag::parsed(
        &["rootless"],
        |g, text| parse_bool_or_auto(text).map(|rootless| g.rootless = rootless),
        "tolerate missing permissions on cgroups: 'true', 'false' or 'auto' (default: \"auto\")",
    ),
];

/// Understood before and after the command, about which they ask.
pub(super) const HELP: &[Flag<GlobalFlags>] =
    &[Flag::switch(&["help", "h"], |g, on| g.help = on, "show this")];

/// Understood before the command alone.
pub(super) const FIRST_FLAGS: &[Flag<GlobalFlags>] =
    &[Flag::switch(&["version", "v", "V"], |g, on| g.version = on, "print the version")];

fn parse_level(text: &str) -> Result<Level, String> {
    match text {
        "error" => Ok(Level::Error),
        "warning" | "warn" => Ok(Level::Warning),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        _ => Err("must be error, warning, info or debug".into()),
    }
}

fn parse_cgroup_driver(text: &str) -> Result<Driver, String> {
    match text {
        "cgroupfs" => Ok(Driver::Cgroupfs),
        "systemd" => Ok(Driver::Systemd),
        "disabled" => Ok(Driver::Disabled),
        _ => Err("must be cgroupfs, systemd or disabled".into()),
    }
}

fn parse_bool_or_auto(text: &str) -> Result<Option<bool>, String> {
    if text.is_empty() || text.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    super::flag::parse_bool(text).map(Some).map_err(|_| "must be true, false or auto".into())
}
