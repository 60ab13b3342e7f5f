//! Kernel parameters of a container's namespaces.

use std::collections::HashMap;

use super::{Network, Spec, host};
use crate::error::{Error, Result};

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Refuses what would be a parameter of the whole machine.
pub(crate) fn check(name: &str, value: &str) -> Result<()> {
    let ours = IPC.contains(&name)
        || ["net.", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix))
        || name == "kernel.domainname";
    if ours { Ok(()) } else { Err(Error::invalid(format!("sysctl '{name}={value}' is not allowed"))) }
}

/// What was asked for above what every network of a container's own has: ping without a capability, and ports below 1024.
pub(super) fn of_container(spec: &Spec<'_>) -> HashMap<String, String> {
    let network =
        [("net.ipv4.ping_group_range", "0 2147483647"), ("net.ipv4.ip_unprivileged_port_start", "0")];
    let private = matches!(spec.network, Network::Private(_));
    let network = network.into_iter().filter(|(name, _)| private && host::has_sysctl(name));
    let mut all: HashMap<_, _> = network.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    all.extend(spec.record.host_config.sysctls.clone().unwrap_or_default());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_namespace() {
        for (name, fine) in [
            ("kernel.msgmax", true),
            ("net.core.somaxconn", true),
            ("fs.mqueue.msg_max", true),
            ("kernel.shm_rmid_forced", true),
            ("kernel.foo", false),
            ("vm.swappiness", false),
            ("netfilter.x", false),
            ("", false),
        ] {
            assert_eq!(check(name, "1").is_ok(), fine, "{name}");
        }
        assert_eq!(
            check("vm.overcommit_memory", "1").unwrap_err().message,
            "sysctl 'vm.overcommit_memory=1' is not allowed"
        );
    }
}
