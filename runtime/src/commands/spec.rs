//! `knarr spec`: writes a first `config.json`, the same as runc's.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use knarr_cgroups::{Hierarchies, Mode};
use rustix::process::{getegid, geteuid};

use super::view::to_indented_json;
use crate::cli::SpecArgs;
use crate::error::{Error, Result};
use crate::spec::{self, IdMapping, Linux, Mount, Namespace, Spec};
use crate::sys::Named as _;

/// What `runc spec` writes on a host without cgroup v2.
const DEFAULT: &str = include_str!("default_config.json");

pub(crate) fn run(args: &SpecArgs) -> Result<()> {
    let mut spec = default_spec()?;
    // A host that mounts no cgroups at all has no use for the namespace either.
    if Hierarchies::discover().is_ok_and(|hierarchies| hierarchies.mode() == Mode::Unified) {
        add_namespace(&mut spec, "cgroup");
    }
    if args.rootless {
        make_rootless(&mut spec, geteuid().as_raw(), getegid().as_raw());
    }
    let file = args.file.as_deref().unwrap_or(Path::new("config.json"));
    let path = args.bundle.as_ref().map_or(file.to_owned(), |bundle| bundle.join(file));
    write_new(&path, &file.display().to_string(), &to_indented_json(&spec, "\t")?)
}

fn default_spec() -> Result<Spec> {
    spec::parse(DEFAULT.as_bytes())
        .map_err(|source| Error::Json { what: "parse the default config.json".into(), source })
}

/// For an unprivileged user, who may map one id: no network namespace, a user namespace, and nothing that needs more.
fn make_rootless(spec: &mut Spec, uid: u32, gid: u32) {
    spec.mounts.iter_mut().for_each(make_mount_rootless);
    let linux = spec.linux.get_or_insert_with(Linux::default);
    linux.namespaces.retain(|namespace| namespace.kind != "network");
    linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: uid, size: 1 }];
    linux.gid_mappings = vec![IdMapping { container_id: 0, host_id: gid, size: 1 }];
    linux.resources = None;
    add_namespace(spec, "user");
}

fn make_mount_rootless(mount: &mut Mount) {
    if mount.destination == "/sys" {
        // A sysfs can be mounted only by the owner of the network namespace.
        mount.kind = "none".into();
        mount.source = "/sys".into();
        mount.options.insert(0, "rbind".into());
    }
    mount.options.retain(|option| !option.starts_with("uid=") && !option.starts_with("gid="));
}

fn add_namespace(spec: &mut Spec, kind: &str) {
    let linux = spec.linux.get_or_insert_with(Linux::default);
    linux.namespaces.push(Namespace { kind: kind.into(), path: String::new() });
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

    fn json(spec: &Spec) -> String {
        String::from_utf8(to_indented_json(spec, "\t").unwrap()).unwrap()
    }

    #[test]
    fn the_default_is_written_as_it_stands() {
        assert_eq!(json(&default_spec().unwrap()), DEFAULT.trim_end());
    }

    #[test]
    fn it_names_the_version_we_know() {
        assert_eq!(default_spec().unwrap().oci_version, spec::VERSION);
    }

    #[test]
    fn rootless_differs_where_runc_s_does() {
        let mut spec = default_spec().unwrap();
        make_rootless(&mut spec, 1000, 1001);
        let mapping = |name: &str, id| {
            format!(
                "\t\t\"{name}\": [\n\t\t\t{{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": {id},\n\t\t\t\t\"size\": 1\n\t\t\t}}\n\t\t],\n"
            )
        };
        let resources = "\t\t\"resources\": {\n\t\t\t\"devices\": [\n\t\t\t\t{\n\t\t\t\t\t\"allow\": false,\n\t\t\t\t\t\"access\": \"rwm\"\n\t\t\t\t}\n\t\t\t]\n\t\t},\n";
        let expected = DEFAULT
            .replace(",\n\t\t\t\t\"gid=5\"", "")
            .replace("\"type\": \"sysfs\",\n\t\t\t\"source\": \"sysfs\",\n\t\t\t\"options\": [\n", "\"type\": \"none\",\n\t\t\t\"source\": \"/sys\",\n\t\t\t\"options\": [\n\t\t\t\t\"rbind\",\n")
            .replace(resources, &(mapping("uidMappings", 1000) + &mapping("gidMappings", 1001)))
            .replace("\t\t\t{\n\t\t\t\t\"type\": \"network\"\n\t\t\t},\n", "")
            .replace("\"type\": \"mount\"\n\t\t\t}\n", "\"type\": \"mount\"\n\t\t\t},\n\t\t\t{\n\t\t\t\t\"type\": \"user\"\n\t\t\t}\n");
        assert_eq!(json(&spec), expected.trim_end());
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
