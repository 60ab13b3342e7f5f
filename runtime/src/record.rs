//! What `state.json` says, in the shape that runc gives it, so that what reads runc's reads ours and the other way
//! round: keys, nesting and the mix of letter cases are runc's. Only the keys below are read; `null` is as good as
//! absent, as Go writes it for an empty list.

mod crun;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::plan::namespaces::Kind;
use crate::process_id::ProcessId;
use crate::spec;

const BUNDLE_LABEL: &str = "bundle=";

/// One container. Written first without a process, so that a `create` that is killed leaves a name for what it made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    /// In the runtime's pid namespace; 0 (runc: -1) while there is no process yet.
    #[serde(default)]
    pub(crate) init_process_pid: i32,
    /// Clock ticks since boot: field 22 of `proc_pid_stat(5)`.
    #[serde(default)]
    pub(crate) init_process_start: u64,
    /// RFC 3339 in UTC with nanoseconds.
    pub(crate) created: String,
    pub(crate) config: Config,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) rootless: bool,
    /// Directory by controller name, the version 2 one under `""`. Deleting the container kills what is in them, so
    /// they are recorded only once they were made for it or found empty.
    #[serde(default)]
    pub(crate) cgroup_paths: BTreeMap<String, PathBuf>,
    /// `/proc/PID/ns/...` by `NEW...` name.
    #[serde(default)]
    pub(crate) namespace_paths: BTreeMap<String, PathBuf>,
    /// What descriptors 0, 1 and 2 of the first process were open on.
    #[serde(default)]
    pub(crate) external_descriptors: Vec<String>,
    /// The group of resctrl, and the monitoring group in it; empty when there is none.
    #[serde(default)]
    pub(crate) intel_rdt_path: PathBuf,
    #[serde(default)]
    pub(crate) intel_rdt_mon_path: PathBuf,
}

/// The part of runc's internal configuration that says something to others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) rootfs: PathBuf,
    #[serde(default)]
    pub(crate) namespaces: Vec<Namespace>,
    #[serde(default)]
    pub(crate) cgroups: Cgroups,
    /// `ociVersion` of the configuration.
    #[serde(default)]
    pub(crate) version: String,
    /// `bundle=/path`, then each annotation as `key=value`.
    #[serde(default)]
    pub(crate) labels: Vec<String>,
    /// For runc, which keeps no configuration beside the record: the poststop hooks, for its `delete`.
    #[serde(default, rename = "Hooks", skip_serializing_if = "no_hooks")]
    pub(crate) hooks: spec::Hooks,
    /// The caller was not root.
    #[serde(default)]
    pub(crate) rootless_euid: bool,
    /// The caller may have had no right to make cgroups.
    #[serde(default)]
    pub(crate) rootless_cgroups: bool,
}

/// A namespace of its own (empty path) or a joined one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Namespace {
    /// `NEWPID`, `NEWNS`, ...
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) path: PathBuf,
}

/// Enough for runc to load the container: it refuses a missing object and one without any resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cgroups {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) path: String,
    /// A resource: runc's empty value, which changes nothing.
    #[serde(default)]
    pub(crate) freezer: String,
    #[serde(default, rename = "Systemd")]
    pub(crate) systemd: bool,
    #[serde(default, rename = "Rootless")]
    pub(crate) rootless: bool,
}

impl Record {
    pub(crate) fn from_json(id: &str, json: &[u8]) -> Result<Self> {
        spec::parse(json)
            .map_err(|source| Error::Json { what: format!("read state.json of container {id}"), source })
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|source| Error::Json {
            what: format!("write state.json of container {}", self.id),
            source,
        })
    }

    /// The container's first process; none while there is none yet.
    pub(crate) fn init(&self) -> Option<ProcessId> {
        // runc writes -1, which is no number that a Pid may hold.
        let pid = Pid::from_raw(self.init_process_pid.max(0))?;
        Some(ProcessId { pid, start: self.init_process_start })
    }

    pub(crate) fn set_init(&mut self, init: ProcessId) {
        self.init_process_pid = init.pid.as_raw_nonzero().get();
        self.init_process_start = init.start;
        let folder = PathBuf::from(format!("/proc/{}/ns", init.pid.as_raw_nonzero()));
        self.namespace_paths =
            Kind::all().map(|kind| (kind.state_key().into(), folder.join(kind.file()))).collect();
    }

    /// Whether its first process is pid 1 of a namespace, so that the kernel ends all others with it.
    pub(crate) fn has_own_pid_namespace(&self) -> bool {
        self.config
            .namespaces
            .iter()
            .any(|namespace| namespace.kind == "NEWPID" && namespace.path.as_os_str().is_empty())
    }

    /// Its namespaces as a configuration names them.
    pub(crate) fn namespaces(&self) -> Vec<spec::Namespace> {
        let kind = |key: &str| Kind::all().find(|kind| kind.state_key() == key).map(Kind::name);
        let recorded = self.config.namespaces.iter();
        recorded
            .filter_map(|own| {
                let path = own.path.to_string_lossy().into_owned();
                Some(spec::Namespace { kind: kind(&own.kind)?.into(), path })
            })
            .collect()
    }

    pub(crate) fn has_namespace(&self, kind: Kind) -> bool {
        self.config.namespaces.iter().any(|namespace| namespace.kind == kind.state_key())
    }

    /// Where it got a namespace of this kind from that it did not make.
    pub(crate) fn joined_namespace(&self, kind: Kind) -> Option<&Path> {
        let mut namespaces = self.config.namespaces.iter();
        let path = namespaces.find(|namespace| namespace.kind == kind.state_key())?.path.as_path();
        (!path.as_os_str().is_empty()).then_some(path)
    }

    /// The bundle's directory; empty when no label names it.
    pub(crate) fn bundle(&self) -> &Path {
        let path = self.config.labels.iter().find_map(|label| label.strip_prefix(BUNDLE_LABEL));
        Path::new(path.unwrap_or_default())
    }

    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        let labels = self.config.labels.iter();
        let others = labels.filter(|label| !label.starts_with(BUNDLE_LABEL));
        let pairs = others.filter_map(|label| label.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The hooks that runc recorded, with the timeouts of poststop in seconds: runc writes nanoseconds.
    pub(crate) fn hooks_of_runc(&self) -> spec::Hooks {
        let mut hooks = self.config.hooks.clone();
        for hook in &mut hooks.poststop {
            hook.timeout = hook.timeout.map(|nanos| nanos / SECOND + i64::from(nanos % SECOND > 0));
        }
        hooks
    }
}

const SECOND: i64 = 1_000_000_000;

/// The poststop hooks as runc records them.
pub(crate) fn hooks_for_runc(hooks: Option<&spec::Hooks>) -> spec::Hooks {
    let mut poststop = hooks.map(|hooks| hooks.poststop.clone()).unwrap_or_default();
    for hook in &mut poststop {
        hook.timeout = hook.timeout.map(|seconds| seconds.saturating_mul(SECOND));
    }
    spec::Hooks { poststop, ..spec::Hooks::default() }
}

fn no_hooks(hooks: &spec::Hooks) -> bool {
    *hooks == spec::Hooks::default()
}

/// The labels of a container: its bundle and its annotations.
pub(crate) fn labels<'a>(
    bundle: &str,
    annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<String> {
    let annotations = annotations.into_iter().map(|(key, value)| format!("{key}={value}"));
    std::iter::once(format!("{BUNDLE_LABEL}{bundle}")).chain(annotations).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As runc 1.1 writes it, without the keys that we do not read.
    const OF_RUNC: &str = r#"{"id":"web","init_process_pid":4711,"init_process_start":62317,
        "created":"2026-01-02T03:04:05.801162099Z","config":{"no_pivot_root":false,"rootfs":"/b/rootfs","umask":null,
        "namespaces":[{"type":"NEWPID","path":""},{"type":"NEWNET","path":"/proc/1/ns/net"}],"routes":null,
        "cgroups":{"name":"web","path":"/web","devices":[],"memory":0,"Systemd":false,"Rootless":false},
        "version":"1.0.2-dev","labels":["bundle=/b","a.key=x=y"],"no_new_keyring":false},"rootless":false,
        "cgroup_paths":{"":"/sys/fs/cgroup/unified/web","pids":"/sys/fs/cgroup/pids/web"},
        "namespace_paths":{"NEWPID":"/proc/4711/ns/pid"},"external_descriptors":["/dev/null","pipe:[1]","pipe:[2]"],
        "intel_rdt_path":""}"#;

    fn record() -> Record {
        Record::from_json("web", OF_RUNC.as_bytes()).unwrap()
    }

    #[test]
    fn a_state_file_of_runc_is_understood() {
        let record = record();
        let init = record.init().unwrap();
        assert_eq!((init.pid.as_raw_nonzero().get(), init.start), (4711, 62317));
        assert_eq!(record.bundle(), Path::new("/b"));
        assert_eq!(record.annotations(), BTreeMap::from([("a.key".into(), "x=y".into())]));
        assert_eq!(record.cgroup_paths["pids"], Path::new("/sys/fs/cgroup/pids/web"));
        assert!(record.has_own_pid_namespace());
    }

    #[test]
    fn go_nulls_are_empty() {
        let json = r#"{"id":"a","init_process_pid":-1,"created":"","config":{"rootfs":"/r","namespaces":null,
            "cgroups":null,"labels":null},"cgroup_paths":null,"external_descriptors":null}"#;
        let record = Record::from_json("a", json.as_bytes()).unwrap();
        assert_eq!(record.init(), None);
        assert_eq!(record.bundle(), Path::new(""));
        assert!(!record.has_own_pid_namespace());
    }

    #[test]
    fn a_joined_pid_namespace_is_not_its_own() {
        let mut record = record();
        record.config.namespaces[0].path = "/proc/1/ns/pid".into();
        assert!(!record.has_own_pid_namespace());
    }

    #[test]
    fn what_is_written_is_read_back_and_has_what_runc_insists_on() {
        let record = record();
        let json = record.to_json().unwrap();
        assert_eq!(Record::from_json("web", &json).unwrap(), record);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["config"]["cgroups"]["freezer"], "");
        assert_eq!(value["config"]["cgroups"]["Systemd"], false);
        assert_eq!(value["config"]["namespaces"][0], serde_json::json!({"type": "NEWPID", "path": ""}));
    }

    #[test]
    fn the_hooks_of_runc_have_timeouts_in_seconds() {
        let json = OF_RUNC.replace(
            r#""no_new_keyring""#,
            r#""Hooks":{"prestart":null,"poststop":[{"path":"/h","args":["h","x"],"env":null,"dir":"","timeout":1500000000},
               {"path":"/i","args":null,"env":null,"dir":"","timeout":null}]},"no_new_keyring""#,
        );
        let hooks = Record::from_json("web", json.as_bytes()).unwrap().hooks_of_runc();
        let poststop: Vec<_> = hooks.poststop.iter().map(|hook| (hook.path.as_str(), hook.timeout)).collect();
        assert_eq!(poststop, [("/h", Some(2)), ("/i", None)]);
    }

    #[test]
    fn runc_finds_the_poststop_hooks_in_its_own_units() {
        let mut record = record();
        assert_eq!(serde_json::to_value(&record).unwrap()["config"].get("Hooks"), None);
        let hook = spec::Hook { path: "/h".into(), timeout: Some(3), ..spec::Hook::default() };
        let hooks =
            spec::Hooks { prestart: vec![hook.clone()], poststop: vec![hook], ..spec::Hooks::default() };
        record.config.hooks = hooks_for_runc(Some(&hooks));
        let written = serde_json::to_value(&record).unwrap()["config"]["Hooks"].clone();
        assert_eq!(written, serde_json::json!({"poststop": [{"path": "/h", "timeout": 3_000_000_000_u64}]}));
        assert_eq!(record.hooks_of_runc().poststop[0].timeout, Some(3));
    }

    #[test]
    fn a_process_is_recorded_when_there_is_one() {
        let mut record = record();
        record.init_process_pid = 0;
        assert_eq!(record.init(), None);
        let own = ProcessId::current(rustix::process::getpid()).unwrap().unwrap();
        record.set_init(own);
        assert_eq!(record.init(), Some(own));
    }

    #[test]
    fn labels_hold_bundle_and_annotations() {
        assert_eq!(labels("/b", [("k", "v=w")]), ["bundle=/b", "k=v=w"]);
    }

    #[test]
    fn a_broken_state_file_names_the_container() {
        let error = Record::from_json("web", b"{").unwrap_err();
        assert!(error.line().starts_with("read state.json of container web: EOF"), "{}", error.line());
    }
}
