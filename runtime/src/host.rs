//! What this machine offers and who calls: asked once, before the plan is made.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use knarr_cgroups::Hierarchies;

use crate::error::Result;
use crate::idmap::Caller;
use crate::plan::namespaces::Kind;
use crate::plan::process::Support;
use crate::spec::{Process, Spec};
use crate::{capabilities, lsm};

pub(crate) struct Host {
    pub(crate) caller: Caller,
    pub(crate) support: Support,
    pub(crate) hierarchies: Hierarchies,
}

impl Host {
    pub(crate) fn probe(spec: &Spec) -> Result<Self> {
        Ok(Self {
            caller: caller(),
            support: support(spec.process.as_ref())?,
            hierarchies: Hierarchies::discover()?,
        })
    }
}

/// The namespaces that config.json joins by path, and that this process is in already: not the container's own.
pub(crate) fn shared_namespaces(spec: &Spec) -> Vec<Kind> {
    let namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    let joined = namespaces.filter(|namespace| !namespace.path.is_empty());
    let is_ours = |kind: &Kind, path: &str| is_same_file(Path::new(path), &Path::new(OWN).join(kind.file()));
    joined
        .filter_map(|namespace| Kind::parse(&namespace.kind).filter(|kind| is_ours(kind, &namespace.path)))
        .collect()
}

const OWN: &str = "/proc/self/ns";

/// Of the security modules only those that `process` names are asked for.
pub(crate) fn support(process: Option<&Process>) -> Result<Support> {
    let names = |label: fn(&Process) -> &str| process.is_some_and(|process| !label(process).is_empty());
    Ok(Support {
        last_capability: capabilities::last_supported()?,
        apparmor: names(|process| &process.apparmor_profile) && lsm::apparmor_is_enabled(),
        selinux: names(|process| &process.selinux_label) && lsm::selinux_is_enabled(),
    })
}

/// Whether two paths lead to the same file, such as the same namespace.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|data| (data.dev(), data.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

pub(crate) fn caller() -> Caller {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Caller::Privileged;
    }
    Caller::Unprivileged { uid: uid.as_raw(), gid: rustix::process::getegid().as_raw() }
}
