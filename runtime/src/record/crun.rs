//! A container of crun's: its `status` file and the copy of its config.json, read as a [`Record`]. Nothing is written in
//! that format; keys are those of crun's `status.c`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use knarr_cgroups::Hierarchies;
use rustix::process::Pid;
use serde::Deserialize;

use super::{Cgroups, Config, Namespace, Record, labels};
use crate::error::{Error, Result};
use crate::plan::namespaces::Kind;
use crate::process_id::ProcessId;
use crate::spec::{self, Spec};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    pid: i32,
    process_start_time: u64,
    /// Below the mount point of each hierarchy; empty when the container has no cgroup.
    cgroup_path: String,
    #[serde(default)]
    systemd_cgroup: bool,
    /// Relative to the bundle.
    rootfs: PathBuf,
    bundle: String,
    created: String,
}

impl Record {
    /// `rootless`: the caller may have had no right to make cgroups.
    pub(crate) fn of_crun(id: &str, status: &[u8], config: &[u8], rootless: bool) -> Result<Self> {
        let status: Status = parse(id, "status", status)?;
        let spec: Spec = parse(id, "config.json", config)?;
        let linux = spec.linux.unwrap_or_default();
        let namespaces = linux.namespaces.iter().filter_map(|namespace| {
            let kind = Kind::parse(&namespace.kind)?.state_key().into();
            Some(Namespace { kind, path: namespace.path.clone().into() })
        });
        let annotations = spec.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut record = Self {
            id: id.to_owned(),
            init_process_pid: 0,
            init_process_start: 0,
            created: status.created,
            config: Config {
                rootfs: Path::new(&status.bundle).join(&status.rootfs),
                namespaces: namespaces.collect(),
                cgroups: Cgroups { systemd: status.systemd_cgroup, ..Cgroups::default() },
                version: spec.oci_version,
                labels: labels(&status.bundle, annotations),
                rootless_cgroups: rootless,
                ..Config::default()
            },
            rootless,
            cgroup_paths: cgroup_paths(&status.cgroup_path)?,
            namespace_paths: BTreeMap::new(),
            external_descriptors: Vec::new(),
            // Only whether there is one is asked: which, the configuration says.
            intel_rdt_path: linux.intel_rdt.map(|_| id.into()).unwrap_or_default(),
            intel_rdt_mon_path: PathBuf::new(),
        };
        if let Some(pid) = Pid::from_raw(status.pid.max(0)) {
            record.set_init(ProcessId { pid, start: status.process_start_time });
        }
        Ok(record)
    }
}

fn parse<T: serde::de::DeserializeOwned>(id: &str, file: &str, json: &[u8]) -> Result<T> {
    spec::parse(json).map_err(|source| Error::Json { what: format!("read {file} of container {id}"), source })
}

/// The directories that are there: crun leaves out some hierarchies.
fn cgroup_paths(path: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut paths = BTreeMap::new();
    let below = path.trim_start_matches('/');
    if below.is_empty() {
        return Ok(paths);
    }
    for hierarchy in &Hierarchies::discover()? {
        let path = hierarchy.mount_point.join(below);
        if path.is_dir() {
            paths.extend(hierarchy.controllers.iter().map(|name| (name.clone(), path.clone())));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As crun 1.8 writes it.
    const STATUS: &str = r#"{"pid":4711,"process-start-time":62317,"cgroup-path":"/no/such/cgroup","scope":"",
        "rootfs":"rootfs","systemd-cgroup":false,"bundle":"/b","created":"2026-01-02T03:04:05.801162Z","owner":"root",
        "detached":true,"external_descriptors":"[\"/dev/null\",\"/dev/null\",\"/dev/null\"]"}"#;
    const CONFIG: &str = r#"{"ociVersion":"1.0.0","annotations":{"k":"v"},
        "linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/n"}]}}"#;

    fn of_crun(status: &str, config: &str) -> Result<Record> {
        Record::of_crun("web", status.as_bytes(), config.as_bytes(), false)
    }

    #[test]
    fn status_and_configuration_make_a_record() {
        let record = of_crun(STATUS, CONFIG).unwrap();
        let init = record.init().unwrap();
        assert_eq!((init.pid.as_raw_nonzero().get(), init.start), (4711, 62317));
        assert_eq!(
            (record.bundle(), record.config.rootfs.as_path()),
            (Path::new("/b"), Path::new("/b/rootfs"))
        );
        assert_eq!(record.annotations(), BTreeMap::from([("k".into(), "v".into())]));
        assert_eq!(record.namespace_paths["NEWNET"], Path::new("/proc/4711/ns/net"));
        assert!(record.has_own_pid_namespace() && record.cgroup_paths.is_empty());
        assert_eq!(record.config.version, "1.0.0");
    }

    #[test]
    fn what_could_name_a_stranger_is_refused() {
        for (status, missing) in [
            (STATUS.replace("\"process-start-time\":62317,", ""), "process-start-time"),
            (STATUS.replace("\"pid\":4711,", ""), "pid"),
            (STATUS.replace("cgroup-path", "x"), "cgroup-path"),
        ] {
            let line = of_crun(&status, CONFIG).unwrap_err().line();
            assert!(line.starts_with("read status of container web") && line.contains(missing), "{line}");
        }
        let line = of_crun(STATUS, "{").unwrap_err().line();
        assert!(line.starts_with("read config.json of container web"), "{line}");
    }
}
