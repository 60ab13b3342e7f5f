//! `knarr spec`: writes a first `config.json`, the same as runc's, from a text: nothing else writes a whole
//! configuration.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use knarr_cgroups::{Hierarchies, Mode};
use rustix::process::{getegid, geteuid};

use crate::cli::SpecArgs;
use crate::error::{Error, Result};
use crate::sys::Named as _;

/// What `runc spec` writes on a host without cgroup v2.
const DEFAULT: &str = include_str!("default_config.json");
/// The same with `--rootless`, for an unprivileged user, who may map one id: no network namespace, a user namespace,
/// and nothing that needs more. A sysfs can be mounted only by the owner of the network namespace.
const ROOTLESS: &str = include_str!("rootless_config.template");

const MOUNT_NAMESPACE: &str = "\t\t\t{\n\t\t\t\t\"type\": \"mount\"\n\t\t\t}";
const CGROUP_NAMESPACE: &str = ",\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}";

pub(crate) fn run(args: &SpecArgs) -> Result<()> {
    let mut config = if args.rootless {
        rootless(geteuid().as_raw(), getegid().as_raw())
    } else {
        DEFAULT.trim_end().to_owned()
    };
    // A host that mounts no cgroups at all has no use for the namespace either.
    if Hierarchies::discover().is_ok_and(|hierarchies| hierarchies.mode() == Mode::Unified) {
        config = with_cgroup_namespace(&config);
    }
    let file = args.file.as_deref().unwrap_or(Path::new("config.json"));
    let path = args.bundle.as_ref().map_or(file.to_owned(), |bundle| bundle.join(file));
    write_new(&path, &file.display().to_string(), config.as_bytes())
}

fn rootless(uid: u32, gid: u32) -> String {
    ROOTLESS.trim_end().replace("HOST_UID", &uid.to_string()).replace("HOST_GID", &gid.to_string())
}

fn with_cgroup_namespace(config: &str) -> String {
    config.replacen(MOUNT_NAMESPACE, &[MOUNT_NAMESPACE, CGROUP_NAMESPACE].concat(), 1)
}

/// Writes a file that must not exist yet.
fn write_new(path: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Error::Usage(format!("File {name} exists. Remove it first")));
        }
        result => result.named(|| format!("open {}", path.display()))?,
    };
    Ok(file.write_all(bytes).named(|| format!("write {}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::commands::view::to_indented_json;
    use crate::spec::{self, IdMapping, Namespace, Spec};

    fn parsed(config: &str) -> Spec {
        spec::parse(config.as_bytes()).unwrap()
    }

    fn as_written(spec: &Spec) -> String {
        String::from_utf8(to_indented_json(spec, "\t").unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_a_configuration_as_runc_prints_it() {
        let rootless = rootless(1000, 1001);
        let default = DEFAULT.trim_end();
        for config in [default, &rootless, &with_cgroup_namespace(default), &with_cgroup_namespace(&rootless)]
        {
            assert_eq!(as_written(&parsed(config)), config);
        }
    }

    #[test]
    fn it_names_the_version_we_know() {
        assert_eq!(parsed(DEFAULT).oci_version, spec::VERSION);
    }

    #[test]
    fn a_cgroup_namespace_comes_behind_that_of_mounts() {
        let kinds = |config: &str| {
            let namespaces = parsed(&with_cgroup_namespace(config)).linux.unwrap().namespaces;
            namespaces.into_iter().map(|namespace| namespace.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(DEFAULT), ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
        assert_eq!(kinds(&rootless(0, 0)), ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
    }

    #[test]
    fn rootless_differs_where_runc_s_does() {
        let mut expected = parsed(DEFAULT);
        for mount in &mut expected.mounts {
            if mount.destination == "/sys" {
                (mount.kind, mount.source) = ("none".into(), "/sys".into());
                mount.options.insert(0, "rbind".into());
            }
            mount.options.retain(|option| option != "gid=5");
        }
        let linux = expected.linux.as_mut().unwrap();
        linux.namespaces.retain(|namespace| namespace.kind != "network");
        linux.namespaces.push(Namespace { kind: "user".into(), path: String::new() });
        linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: 1000, size: 1 }];
        linux.gid_mappings = vec![IdMapping { container_id: 0, host_id: 1001, size: 1 }];
        linux.resources = None;
        assert_eq!(parsed(&rootless(1000, 1001)), expected);
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let path = std::env::temp_dir().join(format!("knarr-spec-{}", std::process::id()));
        fs::write(&path, "mine").unwrap();
        let error = write_new(&path, "config.json", b"{}").unwrap_err();
        let left = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(error.line(), "File config.json exists. Remove it first");
        assert_eq!(left, "mine");
    }

    #[test]
    fn a_missing_bundle_is_named() {
        let error = write_new(Path::new("/nonexistent/config.json"), "config.json", b"{}").unwrap_err();
        assert_eq!(error.line(), "open /nonexistent/config.json: no such file or directory");
    }
}
