//! `linux.sysctl`, checked: only what belongs to a namespace of the container may be written (config-linux.md "Sysctl").

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::sysctl::Sysctl;

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Which namespaces are the container's and not the runtime's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OwnNamespaces {
    pub(crate) ipc: bool,
    pub(crate) network: bool,
    pub(crate) user: bool,
    pub(crate) uts: bool,
}

/// Checks each name and finds its file; texts are runc's.
pub(crate) fn compile(given: &BTreeMap<String, String>, own: OwnNamespaces) -> Result<Vec<Sysctl>> {
    given.iter().map(|(name, value)| compile_one(name, value, own)).collect()
}

fn compile_one(name: &str, value: &str, own: OwnNamespaces) -> Result<Sysctl> {
    let dotted = to_dotted(name);
    let path = swap_separators(&dotted);
    // JSON pointer, RFC 6901.
    let field = || format!("/linux/sysctl/{}", name.replace('~', "~0").replace('/', "~1"));
    check_namespace(&dotted, own).map_err(|reason| Error::refused(field(), reason))?;
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
        return Err(Error::refused(field(), format!("sysctl {dotted:?} names no file")));
    }
    Ok(Sysctl { name: dotted, path, value: value.to_owned() })
}

fn check_namespace(name: &str, own: OwnNamespaces) -> Result<(), String> {
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        return allow_if(own.ipc, || format!("sysctl {name:?} is not allowed in the hosts ipc namespace"));
    }
    if name.starts_with("net.") {
        return allow_if(own.network, || format!("sysctl {name:?} not allowed in host network namespace"));
    }
    if name == "kernel.domainname" && own.uts {
        return Ok(());
    }
    if name == "kernel.hostname" && own.uts {
        return Err(format!(
            "sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field"
        ));
    }
    if name.starts_with("user.") {
        // They would limit processes of the host that have nothing to do with the container.
        return allow_if(own.user, || {
            format!("setting ucounts without a user namespace not allowed: {name}")
        });
    }
    Err(format!("sysctl {name:?} is not in a separate kernel namespace"))
}

fn allow_if(allowed: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if allowed { Ok(()) } else { Err(reason()) }
}

/// The form with dots. The first separator of a name decides which form it is in (sysctl.d(5)): in the one with
/// slashes, `net/ipv4/conf/eth0.1/rp_filter`, dots are part of a name.
fn to_dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(first) if name.as_bytes()[first] == b'/' => swap_separators(name),
        _ => name.to_owned(),
    }
}

fn swap_separators(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: OwnNamespaces = OwnNamespaces { ipc: true, network: true, user: true, uts: true };

    fn refusal(name: &str, own: OwnNamespaces) -> String {
        compile_one(name, "1", own).expect_err(name).line()
    }

    #[test]
    fn both_forms_name_the_same_file() {
        let cases = [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("kernel/shmmax", "kernel/shmmax"),
            ("kernel.domainname", "kernel/domainname"),
            ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
            ("user.max_user_namespaces", "user/max_user_namespaces"),
        ];
        for (name, path) in cases {
            assert_eq!(compile_one(name, "1", ALL).expect(name).path, path, "{name}");
        }
    }

    #[test]
    fn only_namespaces_of_the_container_are_written() {
        let none = OwnNamespaces::default();
        let cases = [
            ("kernel.shmmax", r#"sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace"#),
            ("fs/mqueue/msg_max", r#"sysctl "fs.mqueue.msg_max" is not allowed in the hosts ipc namespace"#),
            ("net.core.somaxconn", r#"sysctl "net.core.somaxconn" not allowed in host network namespace"#),
            ("kernel.domainname", r#"sysctl "kernel.domainname" is not in a separate kernel namespace"#),
            (
                "user.max_pid_namespaces",
                "setting ucounts without a user namespace not allowed: user.max_pid_namespaces",
            ),
        ];
        for (name, text) in cases {
            assert_eq!(refusal(name, none), text);
        }
    }

    #[test]
    fn what_no_namespace_owns_is_refused_always() {
        for name in ["vm.swappiness", "kernel.core_pattern", "kernel.shmmaxx", "netx.a", "", "net"] {
            let text = refusal(name, ALL);
            assert_eq!(text, format!("sysctl {name:?} is not in a separate kernel namespace"));
        }
        assert_eq!(
            refusal("kernel.hostname", ALL),
            r#"sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field"#
        );
    }

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for name in ["net///kernel/x", "net.a//.//.b", "net.ipv4.//.x", "net/../kernel/core_pattern", "net."]
        {
            assert!(compile_one(name, "1", ALL).is_err(), "{name} was taken");
        }
    }

    #[test]
    fn the_field_is_a_json_pointer() {
        let error = compile_one("vm/swappiness", "1", ALL).expect_err("not allowed");
        assert_eq!(error.field(), Some("/linux/sysctl/vm~1swappiness"));
    }
}
