//! daemon.json: which of dockerd's directives may stand in it, and what happens when the command line has them too. What
//! each means is in `flags`.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{During as _, Error, Result};

/// Directives by name.
pub(crate) type Directives = Map<String, Value>;

/// Of dockerd's directives, those that have one value here. To ask for that value is fine.
const FIXED: [(&str, Fixed, &str); 12] = [
    ("default-ipc-mode", Fixed::Text("private"), "containers share nothing unless they say so"),
    ("experimental", Fixed::Flag(false), "nothing is experimental"),
    ("ip-forward", Fixed::Flag(true), "bridges need it"),
    ("iptables", Fixed::Flag(true), "bridges need the firewall; it is nftables"),
    ("ipv6", Fixed::Flag(false), "bridges have no IPv6"),
    ("max-concurrent-downloads", Fixed::Number(3), "it cannot be changed"),
    ("max-download-attempts", Fixed::Number(5), "it cannot be changed"),
    ("no-new-privileges", Fixed::Flag(false), "a container asks for it with --security-opt"),
    ("seccomp-profile", Fixed::Text("builtin"), "a container asks for another one with --security-opt"),
    ("selinux-enabled", Fixed::Flag(false), "labels are not set"),
    ("storage-driver", Fixed::Text("overlay2"), "there is no other"),
    ("userland-proxy", Fixed::Flag(false), "ports are published by the firewall"),
];

/// Directives of dockerd's that are known and do nothing here, so that they are refused.
const UNSUPPORTED: [&str; 51] = [
    "allow-direct-routing",
    "allow-nondistributable-artifacts",
    "api-cors-header",
    "authorization-plugins",
    "bip6",
    "builder",
    "cdi-spec-dirs",
    "containerd",
    "containerd-namespace",
    "containerd-plugin-namespace",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cri-containerd",
    "default-address-pools",
    "default-cgroupns-mode",
    "default-gateway",
    "default-gateway-v6",
    "default-init",
    "default-network-opts",
    "deprecated-key-path",
    "fixed-cidr",
    "fixed-cidr-v6",
    "host-gateway-ip",
    "host-gateway-ips",
    "http-proxy",
    "https-proxy",
    "ip-forward-no-drop",
    "ip6tables",
    "log-format",
    "max-concurrent-uploads",
    "metrics-addr",
    "network-control-plane-mtu",
    "network-diagnostic-port",
    "no-proxy",
    "node-generic-resources",
    "oom-score-adjust",
    "proxies",
    "raw-logs",
    "resolv-conf",
    "rootless",
    "storage-opts",
    "swarm-default-advertise-addr",
    "swarm-raft-election-tick",
    "swarm-raft-heartbeat-tick",
    "userland-proxy-path",
    "userns-remap",
    "cluster-advertise",
    "cluster-store",
    "cluster-store-opts",
    "disable-legacy-registry",
    "graph",
];

enum Fixed {
    Flag(bool),
    Number(u64),
    Text(&'static str),
}

impl Fixed {
    fn value(&self) -> Value {
        match *self {
            Self::Flag(flag) => flag.into(),
            Self::Number(number) => number.into(),
            Self::Text(text) => text.into(),
        }
    }
}

/// Whether a file has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
}

/// Reads the file: an object, or nothing at all.
pub(crate) fn read(path: &Path, presence: Presence) -> Result<Directives> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && presence == Presence::Optional => {
            return Ok(Directives::new());
        }
        read => read.during("read", path)?,
    };
    if text.trim_ascii().is_empty() {
        return Ok(Directives::new());
    }
    serde_json::from_slice(&text).map_err(|error| refused(path, &error))
}

pub(crate) fn refused(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("unable to configure the Docker daemon with file {}: {why}", path.display()))
}

/// Refuses what is not known, and what is known and not supported. Takes out what has only one value here.
pub(crate) fn check(
    mut directives: Directives,
    is_known: impl Fn(&str) -> bool,
) -> Result<Directives, String> {
    for (name, fixed, why) in &FIXED {
        match directives.remove(*name) {
            Some(value) if value != fixed.value() => {
                return Err(format!("{name}: only {} is supported: {why}", fixed.value()));
            }
            _ => {}
        }
    }
    check_features(directives.remove("features"))?;
    if directives.get("tls") == Some(&Value::Bool(true))
        && directives.get("tlsverify") != Some(&Value::Bool(true))
    {
        return Err("tls: clients have to show certificates, use tlsverify".to_owned());
    }
    directives.remove("tls");
    if let Some(name) = directives.keys().find(|name| UNSUPPORTED.contains(&name.as_str())) {
        return Err(format!("{name} is not supported by knarrd"));
    }
    let unknown: Vec<&str> = directives.keys().map(String::as_str).filter(|name| !is_known(name)).collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        return Err(format!("the following directives don't match any configuration option: {unknown}"));
    }
    Ok(directives)
}

fn check_features(features: Option<Value>) -> Result<(), String> {
    match features {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(features)) => {
            match features.iter().find(|(_, wanted)| **wanted != Value::Bool(false)) {
                Some((name, _)) => Err(format!("features: {name} is not supported by knarrd")),
                None => Ok(()),
            }
        }
        Some(_) => Err("features: names and booleans are expected".to_owned()),
    }
}

/// Puts the command line's directives and the file's together. None may be in both, but runtimes, which have names.
pub(crate) fn merge(mut flags: Directives, mut file: Directives) -> Result<Directives, String> {
    if let (Some(Value::Object(more)), Some(Value::Object(runtimes))) =
        (flags.get("runtimes").cloned(), file.get_mut("runtimes"))
    {
        runtimes.extend(more);
        flags.remove("runtimes");
    }
    let twice: Vec<String> = flags
        .iter()
        .filter_map(|(name, flag)| {
            let file = file.get(name)?;
            Some(format!("{name}: (from flag: {}, from file: {})", shown(flag), shown(file)))
        })
        .collect();
    if !twice.is_empty() {
        let twice = twice.join(", ");
        return Err(format!(
            "the following directives are specified both as a flag and in the configuration file: {twice}"
        ));
    }
    flags.extend(file);
    Ok(flags)
}

/// As Go shows a value.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries = map.iter().map(|(name, value)| format!("{name}:{}", shown(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value)] // tables are easier to read
    fn object(value: Value) -> Directives {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let refused = |value| check(object(value), |name| name == "labels").unwrap_err();
        assert_eq!(
            refused(json!({"labels": [], "invented": 1, "more": 2})),
            "the following directives don't match any configuration option: invented, more"
        );
        assert_eq!(refused(json!({"userns-remap": "default"})), "userns-remap is not supported by knarrd");
        assert_eq!(
            refused(json!({"userland-proxy": true})),
            "userland-proxy: only false is supported: ports are published by the firewall"
        );
        assert!(refused(json!({"storage-driver": "vfs"})).starts_with("storage-driver: only \"overlay2\""));
        assert!(refused(json!({"features": {"buildkit": true}})).contains("buildkit"));
        assert!(refused(json!({"tls": true})).contains("tlsverify"));
        let fine =
            json!({"labels": ["a=b"], "iptables": true, "features": {"buildkit": false}, "tls": false});
        assert_eq!(check(object(fine), |name| name == "labels").unwrap(), object(json!({"labels": ["a=b"]})));
    }

    #[test]
    fn a_directive_has_one_place() {
        let flags = json!({"hosts": ["fd://"], "debug": true, "runtimes": {"a": {"path": "/a"}}});
        let file = json!({"hosts": ["unix:///x", "tcp://y"], "log-opts": {"k": "v"}, "debug": false});
        assert_eq!(
            merge(object(flags.clone()), object(file)).unwrap_err(),
            "the following directives are specified both as a flag and in the configuration file: debug: (from flag: true, \
             from file: false), hosts: (from flag: [fd://], from file: [unix:///x tcp://y])"
        );
        let merged = merge(object(flags), object(json!({"runtimes": {"b": {"path": "/b"}}}))).unwrap();
        assert_eq!(merged["runtimes"], json!({"a": {"path": "/a"}, "b": {"path": "/b"}}));
    }

    #[test]
    fn an_empty_file_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        assert!(read(&path, Presence::Optional).unwrap().is_empty());
        assert!(read(&path, Presence::Required).is_err());
        fs::write(&path, " \n").unwrap();
        assert!(read(&path, Presence::Required).unwrap().is_empty());
        fs::write(&path, "[]").unwrap();
        let error = read(&path, Presence::Required).unwrap_err().message;
        assert!(error.starts_with("unable to configure the Docker daemon with file "), "{error}");
    }
}
