//! An address with the length of its network's prefix.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// `172.17.0.2/16`, `fd00::2/64`: an address and its network. The prefix length is at most 32 or 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Fails when the prefix is longer than an address.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, Error> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if prefix > longest {
            return Err(Error::Value(format!(
                "{address}/{prefix}: the prefix is longer than {longest} bits"
            )));
        }
        Ok(Self { address, prefix })
    }

    /// The whole of IPv4 or IPv6: where a default route leads.
    pub fn everything_like(address: IpAddr) -> Self {
        let address = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { address, prefix: 0 }
    }

    /// The address as it was given, host bits included.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// In bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The same without host bits.
    #[must_use]
    pub fn network(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        };
        Self { address, ..self }
    }

    /// The last address of an IPv4 network that has room for one: fewer than 31 bits of prefix.
    pub(crate) fn broadcast(self) -> Option<Ipv4Addr> {
        let IpAddr::V4(address) = self.address else { return None };
        let host = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
        (self.prefix < 31).then(|| (address.to_bits() | host).into())
    }

    /// Whether the address belongs to the network.
    pub fn contains(self, address: IpAddr) -> bool {
        Self { address, ..self }.network() == self.network() && address.is_ipv4() == self.address.is_ipv4()
    }

    /// Whether the two networks have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        let wider = if self.prefix < other.prefix { (self, other) } else { (other, self) };
        wider.0.contains(wider.1.address)
    }
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error::Value(format!("{text:?}: must be an address, a slash and a prefix length"));
        let (address, prefix) = text.split_once('/').ok_or_else(refused)?;
        let plain = !prefix.starts_with('+');
        let prefix = prefix.parse().ok().filter(|_| plain).ok_or_else(refused)?;
        Self::new(address.parse().map_err(|_| refused())?, prefix)
    }
}

impl TryFrom<String> for Cidr {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_have_no_host_bits() {
        for (text, network) in [
            ("172.17.3.2/16", "172.17.0.0/16"),
            ("10.0.0.7/32", "10.0.0.7/32"),
            ("10.0.0.7/0", "0.0.0.0/0"),
            ("fd00::7/64", "fd00::/64"),
            ("fd00::7/0", "::/0"),
        ] {
            assert_eq!(cidr(text).network(), cidr(network));
        }
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        assert!(cidr("172.17.0.1/16").overlaps(cidr("172.17.9.0/24")));
        assert!(cidr("172.17.9.0/24").overlaps(cidr("172.17.0.1/16")));
        assert!(!cidr("172.17.0.0/16").overlaps(cidr("172.18.0.0/16")));
        assert!(!cidr("0.0.0.0/0").overlaps(cidr("fd00::/64")));
        assert!(!cidr("::/0").contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn the_broadcast_address_is_the_last_one() {
        assert_eq!(cidr("172.17.0.2/16").broadcast(), Some(Ipv4Addr::new(172, 17, 255, 255)));
        assert_eq!(cidr("10.0.0.0/31").broadcast(), None);
        assert_eq!(cidr("fd00::1/64").broadcast(), None);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.1", "10.0.0.1/33", "fd00::/129", "10.0.0/8", "10.0.0.1/+8", "10.0.0.1/"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
