//! Network devices to move into the container (config-linux.md, Network devices).

use std::collections::BTreeMap;

use super::namespaces::{Kind, Namespaces};
use crate::error::{Error, Result};
use crate::spec;

/// IFNAMSIZ of linux/if.h counts the terminating NUL.
const MAX_NAME: usize = 15;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetDevice {
    /// On the host.
    pub(crate) host_name: String,
    /// In the container.
    pub(crate) name: String,
}

pub(crate) fn plan(
    devices: &BTreeMap<String, spec::NetDevice>,
    namespaces: &Namespaces,
) -> Result<Vec<NetDevice>> {
    if !devices.is_empty() && !namespaces.has(Kind::Network) {
        let text = "unable to move network devices without a NET namespace";
        return Err(Error::refused("/linux/netDevices", text));
    }
    let plan = devices.iter().map(|(host_name, device)| {
        let name = if device.name.is_empty() { host_name } else { &device.name };
        for name in [host_name, name] {
            check_name(name)
                .map_err(|text| Error::refused(format!("/linux/netDevices/{host_name}"), text))?;
        }
        Ok(NetDevice { host_name: host_name.clone(), name: name.clone() })
    });
    plan.collect()
}

/// What the kernel's `dev_valid_name` accepts.
fn check_name(name: &str) -> Result<(), String> {
    let bad_byte = |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace();
    if name.is_empty() || name.len() > MAX_NAME || name == "." || name == ".." || name.bytes().any(bad_byte) {
        return Err(format!("invalid network device name {name:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(json: &str) -> Result<Vec<NetDevice>> {
        let linux: spec::Linux = serde_json::from_str(json).unwrap();
        plan(&linux.net_devices, &Namespaces::plan(&linux)?)
    }

    #[test]
    fn a_device_keeps_its_name_unless_told() {
        let devices =
            plan_of(r#"{"namespaces":[{"type":"network"}],"netDevices":{"a":{},"b":{"name":"eth0"}}}"#);
        let names: Vec<_> =
            devices.unwrap().into_iter().map(|device| (device.host_name, device.name)).collect();
        assert_eq!(names, [("a".into(), "a".into()), ("b".into(), "eth0".into())]);
    }

    #[test]
    fn names_the_kernel_would_refuse_are_refused_before() {
        for name in ["", "sixteen-letters-", ".", "..", "a/b", "a:b", "a b", "a\\tb"] {
            let json = format!(r#"{{"namespaces":[{{"type":"network"}}],"netDevices":{{"{name}":{{}}}}}}"#);
            assert!(plan_of(&json).unwrap_err().line().contains("invalid network device name"), "{name:?}");
        }
        let error = plan_of(r#"{"netDevices":{"a":{}}}"#).unwrap_err();
        assert!(error.line().contains("without a NET namespace"));
    }
}
