//! `knarr features`: what this build can do, as features.md of runtime-spec 1.3 defines it.
//!
//! Only what is true: names come from the tables that the rest of the runtime works by, and what it lacks is `false`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::view::to_indented_json;
use crate::cli::{Globals, Manners, Program};
use crate::error::Result;
use crate::plan::mount_options::known_words;
use crate::plan::namespaces::Kind;
use crate::{capabilities, mempolicy, spec, sys};

type Names = Vec<&'static str>;

/// Fields in the order of the spec's Go structs; none is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: Names,
    mount_options: Names,
    linux: Linux,
    annotations: BTreeMap<&'static str, &'static str>,
    potentially_unsafe_config_annotations: Names,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Names,
    capabilities: Names,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: Names,
    operators: Names,
    archs: Names,
    known_flags: Names,
    supported_flags: Names,
}

#[derive(Serialize)]
struct MemoryPolicy {
    modes: Names,
    flags: Names,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    enable_monitoring: bool,
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

pub(crate) fn run(globals: &Globals) -> Result<()> {
    let mut json = to_indented_json(&features(&globals.program), "    ")?;
    json.push(b'\n');
    Ok(sys::print(&json)?)
}

fn features(program: &Program) -> Features {
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: spec::VERSION,
        hooks: vec![
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        mount_options: known_words().collect(),
        linux: Linux {
            namespaces: Kind::all().map(Kind::name).collect(),
            capabilities: capabilities::NAMES.to_vec(),
            cgroup: Cgroup { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
            seccomp: Seccomp {
                enabled: true,
                actions: knarr_seccomp::features::actions().to_vec(),
                operators: knarr_seccomp::features::operators().to_vec(),
                archs: knarr_seccomp::features::archs(),
                known_flags: knarr_seccomp::features::known_flags().to_vec(),
                supported_flags: knarr_seccomp::features::supported_flags(),
            },
            apparmor: Enabled { enabled: true },
            selinux: Enabled { enabled: true },
            intel_rdt: IntelRdt { enabled: true, schemata: true, enable_monitoring: true },
            memory_policy: MemoryPolicy {
                modes: mempolicy::mode_names().collect(),
                flags: mempolicy::flag_names().collect(),
            },
            mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
            net_devices: Enabled { enabled: true },
        },
        annotations: annotations(program),
        // `bundle` would collide with the label that records the bundle's path.
        potentially_unsafe_config_annotations: vec!["bundle", "org.systemd.property.", "org.criu.config"],
    }
}

/// The version under the key of the program we stand in for, and that there is checkpointing, given a criu.
fn annotations(program: &Program) -> BTreeMap<&'static str, &'static str> {
    let [version, commit, checkpoint] = match program.manners {
        Manners::Crun => ["run.oci.crun.version", "run.oci.crun.commit", "run.oci.crun.checkpoint.enabled"],
        Manners::Runc | Manners::Knarr => [
            "org.opencontainers.runc.version",
            "org.opencontainers.runc.commit",
            "org.opencontainers.runc.checkpoint.enabled",
        ],
    };
    BTreeMap::from([(version, program.version()), (commit, Program::COMMIT), (checkpoint, "true")])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn printed(argv0: &str) -> Value {
        let json = to_indented_json(&features(&Program::new(argv0)), "    ").unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    #[test]
    fn the_layout_is_runc_s() {
        let json = to_indented_json(&features(&Program::new("runc")), "    ").unwrap();
        let text = String::from_utf8(json).unwrap();
        let start = "{\n    \"ociVersionMin\": \"1.0.0\",\n    \"ociVersionMax\": \"1.3.0\",\n    \"hooks\": [\n        \"prestart\",\n";
        assert!(text.starts_with(start), "{text}");
    }

    #[test]
    fn lists_are_sorted_where_runc_sorts_them() {
        let features = printed("runc");
        for pointer in [
            "/mountOptions",
            "/linux/namespaces",
            "/linux/seccomp/actions",
            "/linux/seccomp/operators",
            "/linux/seccomp/archs",
            "/linux/memoryPolicy/modes",
            "/linux/memoryPolicy/flags",
        ] {
            let names: Vec<_> = features.pointer(pointer).unwrap().as_array().unwrap().iter().collect();
            assert!(names.len() > 2, "{pointer}");
            assert!(names.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()), "{pointer}");
        }
    }

    #[test]
    fn what_engines_ask_for_is_there() {
        let features = printed("runc");
        assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        let options = features["mountOptions"].as_array().unwrap();
        assert!(options.contains(&"rro".into()) && !options.contains(&"idmap".into()));
        assert_eq!(features["linux"]["capabilities"][0], "CAP_CHOWN");
    }

    #[test]
    fn the_version_has_the_key_of_the_program_we_are_called_by() {
        let version = |argv0: &str, key: &str| printed(argv0)["annotations"][key].as_str().map(str::to_owned);
        assert!(version("runc", "org.opencontainers.runc.version").unwrap().starts_with("1."));
        assert!(version("crun", "run.oci.crun.version").unwrap().starts_with("1."));
        assert_eq!(version("crun", "org.opencontainers.runc.version"), None);
        assert_eq!(version("knarr", "org.opencontainers.runc.version").unwrap(), env!("CARGO_PKG_VERSION"));
    }
}
