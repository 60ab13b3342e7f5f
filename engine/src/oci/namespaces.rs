//! Which namespaces a container has of its own, and which it joins.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType as Kind};

use super::{Network, Spec};

/// In Docker's order. A namespace that is shared with the host is not in the list.
pub(super) fn plan(spec: &Spec<'_>) -> Vec<LinuxNamespace> {
    let host = &spec.record.host_config;
    let mut list = vec![namespace(Kind::Mount, None)];
    match spec.network {
        Network::Private(_) => list.push(namespace(Kind::Network, None)),
        Network::Join(path) => list.push(namespace(Kind::Network, Some(path.clone()))),
        Network::Host => {}
    }
    if host.uts_mode != "host" {
        list.push(namespace(Kind::Uts, None));
    }
    if host.pid_mode != "host" {
        list.push(namespace(Kind::Pid, spec.joined.pid.clone()));
    }
    if host.ipc_mode != "host" {
        list.push(namespace(Kind::Ipc, spec.joined.ipc.clone()));
    }
    if host.cgroupns_mode == "private" {
        list.push(namespace(Kind::Cgroup, None));
    }
    list
}

fn namespace(kind: Kind, path: Option<PathBuf>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path);
    namespace
}
