//! What the engine has decided for one container: the file that `knarr-netns` is given.
//!
//! Every value is checked while it is read; what has these types can be applied. Unknown fields are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::error::{During, Error, Result};
use crate::firewall::Table;
use crate::link_name::LinkName;
use crate::mac::Mac;
use crate::sysctl::LinkSysctl;

/// A container's place on its networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The container's id, as the runtime knows it.
    pub container: String,
    /// The nftables table of the engine that made this.
    pub table: Table,
    /// In the order in which they are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
}

/// One link inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Inside, such as `eth0`.
    pub name: LinkName,
    pub link: Link,
    /// The kernel draws one when none is given; an ipvlan link has its parent's and takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// IPv6 is switched off on the link when none of them is an IPv6 address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Cidr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// In bytes; the kernel's default when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Written before the link is up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<LinkSysctl, String>,
}

/// How a link inside is tied to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Link {
    /// One end of a pair whose other end is a port of a bridge.
    Bridge {
        bridge: LinkName,
        /// The other end, such as `veth1a2b3c4`.
        host_name: LinkName,
        /// No frame goes to or comes from another isolated port (icc=false).
        #[serde(default)]
        isolated: bool,
    },
    /// A link with a MAC of its own on a link of the host.
    Macvlan { parent: LinkName, mode: MacvlanMode },
    /// A link with its parent's MAC on a link of the host.
    Ipvlan { parent: LinkName, mode: IpvlanMode, flag: IpvlanFlag },
}

/// `MACVLAN_MODE_*` of linux/if_link.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    Private,
    Vepa,
    Bridge,
    Passthru,
}

/// `IPVLAN_MODE_*` of linux/if_link.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    L2,
    L3,
    L3s,
}

/// `IPVLAN_F_*` of linux/if_link.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanFlag {
    Bridge,
    Private,
    Vepa,
}

/// A route of the container over the interface it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub destination: Cidr,
    /// None: straight onto the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

impl Route {
    /// The default route by that gateway.
    pub fn default_by(gateway: IpAddr) -> Self {
        Self { destination: Cidr::everything_like(gateway), gateway: Some(gateway) }
    }
}

/// A port of the host that leads to a port of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    pub transport: Transport,
    /// The address of the host it is bound to; none: every one, 127.0.0.0/8 included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<Ipv4Addr>,
    /// Not 0.
    pub host_port: u16,
    pub container_ip: Ipv4Addr,
    /// Not 0.
    pub container_port: u16,
}

impl Published {
    /// The address it is bound to: `0.0.0.0` means what none means.
    pub(crate) fn bound_to(&self) -> Option<Ipv4Addr> {
        self.host_ip.filter(|address| !address.is_unspecified())
    }
}

impl fmt::Display for Published {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let transport = self.transport.name();
        write!(out, "{host}:{}:{}:{}/{transport}", self.host_port, self.container_ip, self.container_port)
    }
}

/// A protocol with ports that can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// IPPROTO_*.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl Attachment {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let what = || format!("{}: not an attachment", path.display());
        let attachment: Self =
            serde_json::from_slice(&text).map_err(|source| Error::Json { what: what(), source })?;
        attachment.check().during(|| path.display().to_string())?;
        Ok(attachment)
    }

    /// The rules between values.
    pub fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for interface in &self.interfaces {
            let doubled = |name: &LinkName| Error::Value(format!("{name}: two links of that name"));
            if !names.insert((false, &interface.name)) {
                return Err(doubled(&interface.name));
            }
            if let Link::Bridge { host_name, .. } = &interface.link
                && !names.insert((true, host_name))
            {
                return Err(doubled(host_name));
            }
            interface.check()?;
        }
        self.published.iter().try_for_each(check_ports)
    }
}

impl Interface {
    pub(crate) fn check(&self) -> Result<()> {
        if matches!(self.link, Link::Ipvlan { .. }) && self.mac.is_some() {
            return Err(Error::Value(format!("{}: an ipvlan link takes no mac", self.name)));
        }
        let mixed = |route: &&Route| {
            route.gateway.is_some_and(|gateway| gateway.is_ipv4() != route.destination.address().is_ipv4())
        };
        match self.routes.iter().find(mixed) {
            Some(route) => {
                let destination = route.destination;
                Err(Error::Value(format!(
                    "{}: route {destination} by an address of another family",
                    self.name
                )))
            }
            None => Ok(()),
        }
    }

    /// Whether IPv6 stays on.
    pub(crate) fn speaks_v6(&self) -> bool {
        self.addresses.iter().any(|cidr| cidr.address().is_ipv6())
    }
}

fn check_ports(published: &Published) -> Result<()> {
    if published.host_port == 0 || published.container_port == 0 {
        return Err(Error::Value(format!("{published}: a port must be 1 to 65535")));
    }
    if published.container_ip.is_loopback() || published.container_ip.is_unspecified() {
        return Err(Error::Value(format!("{published}: must lead to an address of a container")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Attachment> {
        let read: std::result::Result<Attachment, _> = serde_json::from_str(text);
        let attachment = read.map_err(|source| Error::Json { what: "test".into(), source })?;
        attachment.check().map(|()| attachment)
    }

    const WHOLE: &str = r#"{
        "container": "c1", "table": "knarr",
        "interfaces": [{
            "name": "eth0", "mac": "02:42:ac:11:00:02", "addresses": ["172.17.0.2/16"], "mtu": 1400,
            "link": {"bridge": {"bridge": "br0", "host_name": "veth1a2b3c4"}},
            "routes": [{"destination": "0.0.0.0/0", "gateway": "172.17.0.1"}],
            "sysctls": {"net.ipv4.conf.IFNAME.log_martians": "1"}
        }],
        "published": [{"transport": "tcp", "host_port": 8080, "container_ip": "172.17.0.2", "container_port": 80}]
    }"#;

    #[test]
    fn an_attachment_reads_as_it_was_written() {
        let attachment = parse(WHOLE).unwrap();
        let again = serde_json::to_string(&attachment).unwrap();
        assert_eq!(parse(&again).unwrap(), attachment);
        assert_eq!(attachment.interfaces[0].routes, [Route::default_by([172, 17, 0, 1].into())]);
        assert_eq!(attachment.published[0].to_string(), "0.0.0.0:8080:172.17.0.2:80/tcp");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (right, wrong) in [
            ("\"container\": \"c1\"", "\"container\": \"c1\", \"dns\": []"),
            ("\"mtu\"", "\"mtuu\""),
            ("\"host_name\"", "\"vlan\": 7, \"host_name\""),
            ("\"gateway\": \"172.17.0.1\"", "\"gateway\": \"fd00::1\""),
            ("8080", "0"),
            ("8080", "65536"),
            ("\"tcp\"", "\"icmp\""),
            ("eth0", "eth/0"),
            ("\"table\": \"knarr\"", "\"table\": \"knarr; flush ruleset\""),
            ("net.ipv4.conf.IFNAME.log_martians", "net.ipv4.ip_forward"),
        ] {
            assert!(WHOLE.contains(right));
            assert!(parse(&WHOLE.replacen(right, wrong, 1)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_links_of_one_name_are_refused() {
        let mut attachment = parse(WHOLE).unwrap();
        attachment.interfaces.push(attachment.interfaces[0].clone());
        assert!(attachment.check().is_err());
    }
}
