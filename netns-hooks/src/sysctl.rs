//! Settings below /proc/sys/net, of the network namespace the calling thread is in.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::link_name::LinkName;

const ROOT: &str = "/proc/sys/net";

/// Writes a setting named by its path below /proc/sys/net.
pub(crate) fn write(setting: &str, value: &str) -> Result<()> {
    let path = PathBuf::from(format!("{ROOT}/{setting}"));
    std::fs::write(&path, value).map_err(|source| Error::Write { path, source })
}

pub(crate) fn read(setting: &str) -> Result<String> {
    let path = PathBuf::from(format!("{ROOT}/{setting}"));
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
    Ok(text.trim_end().to_owned())
}

/// A setting of one link as Docker writes it, `net.ipv4.conf.IFNAME.log_martians`: the word IFNAME stands for the link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkSysctl {
    family: String,
    kind: String,
    leaf: String,
}

impl LinkSysctl {
    /// The path below /proc/sys/net for the link called `name`.
    pub(crate) fn path(&self, name: &LinkName) -> String {
        format!("{}/{}/{name}/{}", self.family, self.kind, self.leaf)
    }
}

impl TryFrom<String> for LinkSysctl {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let plain = |leaf: &str| {
            !leaf.is_empty() && leaf.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        match parts[..] {
            ["net", family @ ("ipv4" | "ipv6" | "mpls"), kind @ ("conf" | "neigh"), "IFNAME", leaf]
                if plain(leaf) =>
            {
                Ok(Self { family: family.into(), kind: kind.into(), leaf: leaf.into() })
            }
            _ => Err(Error::Value(format!(
                "sysctl {text:?}: must be net.{{ipv4,ipv6,mpls}}.{{conf,neigh}}.IFNAME.NAME"
            ))),
        }
    }
}

impl From<LinkSysctl> for String {
    fn from(sysctl: LinkSysctl) -> Self {
        sysctl.to_string()
    }
}

impl fmt::Display for LinkSysctl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "net.{}.{}.IFNAME.{}", self.family, self.kind, self.leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_of_a_link_stays_below_that_link() {
        let sysctl = LinkSysctl::try_from("net.ipv4.conf.IFNAME.log_martians".to_owned()).unwrap();
        assert_eq!(sysctl.path(&"eth0".parse().unwrap()), "ipv4/conf/eth0/log_martians");
        let wrong = ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding", "net.ipv4.conf.IFNAME.a/../b"];
        for text in wrong.into_iter().chain(["", "kernel.conf.x.IFNAME.y", "net.ipv4.conf.IFNAME."]) {
            assert!(LinkSysctl::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
