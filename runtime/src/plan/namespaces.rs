//! Which namespaces the container gets new, and which it joins by path (config-linux.md, Namespaces).

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::spec;

/// A kind of namespace, in the order in which `namespace_paths` of the state lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Cgroup,
    Ipc,
    Mount,
    Network,
    Pid,
    Time,
    User,
    Uts,
}

/// name in config.json, file below /proc/PID/ns, key in the state file, clone flag.
const KINDS: [(Kind, &str, &str, &str, i32); 8] = [
    (Kind::Cgroup, "cgroup", "cgroup", "NEWCGROUP", libc::CLONE_NEWCGROUP),
    (Kind::Ipc, "ipc", "ipc", "NEWIPC", libc::CLONE_NEWIPC),
    (Kind::Mount, "mount", "mnt", "NEWNS", libc::CLONE_NEWNS),
    (Kind::Network, "network", "net", "NEWNET", libc::CLONE_NEWNET),
    (Kind::Pid, "pid", "pid", "NEWPID", libc::CLONE_NEWPID),
    (Kind::Time, "time", "time", "NEWTIME", CLONE_NEWTIME),
    (Kind::User, "user", "user", "NEWUSER", libc::CLONE_NEWUSER),
    (Kind::Uts, "uts", "uts", "NEWUTS", libc::CLONE_NEWUTS),
];

/// Linux 5.6; the C library's headers do not have it everywhere.
const CLONE_NEWTIME: i32 = 0x80;

impl Kind {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, &'static str, i32) {
        &KINDS[self as usize]
    }

    /// The `type` in config.json.
    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    /// The file below `/proc/PID/ns`.
    pub(crate) fn file(self) -> &'static str {
        self.row().2
    }

    /// The key in `namespace_paths` of the state file.
    pub(crate) fn state_key(self) -> &'static str {
        self.row().3
    }

    pub(crate) fn flag(self) -> i32 {
        self.row().4
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        // runc accepts both the spec's names and the file names.
        KINDS.iter().find(|row| row.1 == name || row.2 == name).map(|row| row.0)
    }
}

/// A namespace that exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    /// Where in config.json, for errors.
    pub(crate) field: String,
}

/// How far a new time namespace's clock is ahead of the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockOffset {
    pub(crate) clock: &'static str,
    pub(crate) seconds: i64,
    /// 0 to 999,999,999.
    pub(crate) nanoseconds: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Namespaces {
    /// `CLONE_NEW*` of all namespaces to make.
    new: i32,
    pub(crate) join: Vec<Join>,
    pub(crate) clock_offsets: Vec<ClockOffset>,
}

impl Namespaces {
    pub(crate) fn plan(linux: &spec::Linux) -> Result<Self> {
        let mut plan = Self::default();
        for (index, namespace) in linux.namespaces.iter().enumerate() {
            plan.add(namespace, format!("/linux/namespaces/{index}"))?;
        }
        plan.clock_offsets = clock_offsets(&linux.time_offsets)?;
        plan.check_time()?;
        Ok(plan)
    }

    fn add(&mut self, namespace: &spec::Namespace, field: String) -> Result<()> {
        let Some(kind) = Kind::parse(&namespace.kind) else {
            return Err(Error::refused(field, format!("unknown namespace type {:?}", namespace.kind)));
        };
        if self.has(kind) {
            let text = format!("malformed spec file: duplicated ns {:?}", namespace.kind);
            return Err(Error::refused(field, text));
        }
        if namespace.path.is_empty() {
            self.new |= kind.flag();
            return Ok(());
        }
        let path = PathBuf::from(&namespace.path);
        let field = format!("{field}/path");
        if !path.is_absolute() {
            let text = format!("namespace path {:?} is not an absolute path", namespace.path);
            return Err(Error::refused(field, text));
        }
        self.join.push(Join { kind, path, field });
        Ok(())
    }

    fn check_time(&self) -> Result<()> {
        let text = match (self.clock_offsets.is_empty(), self.is_new(Kind::Time), self.joins(Kind::Time)) {
            (false, _, true) => {
                "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one"
            }
            (false, false, false) => {
                "time namespace offsets specified, but time namespace isn't enabled in the config"
            }
            _ => return Ok(()),
        };
        Err(Error::refused("/linux/timeOffsets", text))
    }

    pub(crate) fn is_new(&self, kind: Kind) -> bool {
        self.new & kind.flag() != 0
    }

    pub(crate) fn joins(&self, kind: Kind) -> bool {
        self.join.iter().any(|join| join.kind == kind)
    }

    /// The container has its own namespace of this kind, new or joined.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.is_new(kind) || self.joins(kind)
    }

    /// The clone flags of the new namespaces among `kinds`.
    pub(crate) fn new_flags(&self, leave_out: &[Kind]) -> i32 {
        leave_out.iter().fold(self.new, |flags, kind| flags & !kind.flag())
    }
}

fn clock_offsets(offsets: &BTreeMap<String, spec::TimeOffset>) -> Result<Vec<ClockOffset>> {
    offsets
        .iter()
        .map(|(name, offset)| {
            let clock =
                ["boottime", "monotonic"].into_iter().find(|clock| clock == name).ok_or_else(|| {
                    let text = format!("unknown clock {name:?}, only monotonic and boottime have an offset");
                    Error::refused(format!("/linux/timeOffsets/{name}"), text)
                })?;
            if offset.nanosecs >= 1_000_000_000 {
                let text = format!("{} is not below 1000000000", offset.nanosecs);
                return Err(Error::refused(format!("/linux/timeOffsets/{name}/nanosecs"), text));
            }
            Ok(ClockOffset { clock, seconds: offset.secs, nanoseconds: offset.nanosecs })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(json: &str) -> spec::Linux {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn new_and_joined_namespaces_are_told_apart() {
        let plan = Namespaces::plan(&linux(
            r#"{"namespaces":[{"type":"pid"},{"type":"network","path":"/run/netns/a"},{"type":"mnt"}]}"#,
        ))
        .unwrap();
        assert_eq!(plan.new_flags(&[]), libc::CLONE_NEWPID | libc::CLONE_NEWNS);
        assert_eq!(plan.new_flags(&[Kind::Mount]), libc::CLONE_NEWPID);
        assert!(plan.joins(Kind::Network) && plan.has(Kind::Mount) && !plan.has(Kind::Uts));
    }

    #[test]
    fn what_the_spec_forbids_is_refused_by_name() {
        let cases = [
            (
                r#"{"namespaces":[{"type":"pid"},{"type":"pid"}]}"#,
                "/linux/namespaces/1",
                "duplicated ns \"pid\"",
            ),
            (r#"{"namespaces":[{"type":"disk"}]}"#, "/linux/namespaces/0", "unknown namespace type \"disk\""),
            (
                r#"{"namespaces":[{"type":"pid","path":"a"}]}"#,
                "/linux/namespaces/0/path",
                "not an absolute path",
            ),
            (r#"{"timeOffsets":{"boottime":{"secs":1}}}"#, "/linux/timeOffsets", "isn't enabled"),
            (
                r#"{"namespaces":[{"type":"time","path":"/a"}],"timeOffsets":{"boottime":{"secs":1}}}"#,
                "/linux/timeOffsets",
                "you may only provide one",
            ),
            (r#"{"timeOffsets":{"wall":{"secs":1}}}"#, "/linux/timeOffsets/wall", "unknown clock"),
            (
                r#"{"timeOffsets":{"monotonic":{"nanosecs":1000000000}}}"#,
                "/linux/timeOffsets/monotonic/nanosecs",
                "not below",
            ),
        ];
        for (json, field, text) in cases {
            let error = Namespaces::plan(&linux(json)).unwrap_err();
            assert_eq!(error.field(), Some(field), "{json}");
            assert!(error.line().contains(text), "{json}: {}", error.line());
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for kind in Kind::all() {
            assert_eq!(kind.row().0, kind);
        }
    }
}
