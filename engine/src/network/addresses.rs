//! Who has which address of a subnet. An address that was given back is not given out again at once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::error::{Error, Result};

/// An IPv4 subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    network: u32,
    pub(crate) prefix: u8,
}

impl Subnet {
    /// The subnet that an address with a prefix is in, and the address. `A.B.C.D/N`, N from 8 to 30.
    pub(crate) fn around(text: &str) -> Result<(Self, Ipv4Addr)> {
        let parts = text.split_once('/').and_then(|(address, prefix)| {
            Some((address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?))
        });
        match parts {
            Some((address, prefix @ 8..=30)) => {
                Ok((Self { network: address.to_bits() & mask(prefix), prefix }, address))
            }
            _ => Err(Error::invalid(format!("invalid CIDR address: {text}"))),
        }
    }

    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let shorter = mask(self.prefix.min(other.prefix));
        self.network & shorter == other.network & shorter
    }

    /// The address that a gateway gets.
    pub(crate) fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network + 1)
    }

    fn last(&self) -> u32 {
        (self.network | !mask(self.prefix)) - 1
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", Ipv4Addr::from_bits(self.network), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The addresses of one subnet.
#[derive(Debug)]
pub(super) struct Addresses {
    subnet: Subnet,
    gateway: Ipv4Addr,
    /// By address, the container that has it.
    taken: BTreeMap<u32, String>,
    /// Where to look first.
    next: u32,
}

impl Addresses {
    pub(super) fn new(subnet: Subnet, gateway: Ipv4Addr) -> Self {
        Self { subnet, gateway, taken: BTreeMap::new(), next: subnet.network + 1 }
    }

    /// Takes the next free address for a container.
    pub(super) fn take(&mut self, container: &str) -> Result<Ipv4Addr> {
        let (first, last) = (self.subnet.network + 1, self.subnet.last());
        let candidates = (self.next.max(first)..=last).chain(first..self.next.min(last));
        let free = |address: &u32| {
            !self.taken.contains_key(address) && Ipv4Addr::from_bits(*address) != self.gateway
        };
        let address = candidates.into_iter().find(free);
        let address = address.ok_or_else(|| {
            Error::system("no available IPv4 addresses on this network's address pools: bridge")
        })?;
        self.taken.insert(address, container.to_owned());
        self.next = if address == last { first } else { address + 1 };
        Ok(Ipv4Addr::from_bits(address))
    }

    /// Notes an address that a container has already.
    pub(super) fn note(&mut self, address: Ipv4Addr, container: &str) {
        if self.subnet.contains(address) {
            self.taken.insert(address.to_bits(), container.to_owned());
        }
    }

    pub(super) fn release(&mut self, container: &str) {
        self.taken.retain(|_, owner| owner != container);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_out_in_turn_and_all_of_them() {
        let (subnet, gateway) = Subnet::around("10.0.0.1/29").unwrap();
        assert_eq!(subnet.to_string(), "10.0.0.0/29");
        let mut addresses = Addresses::new(subnet, gateway);
        let mut take = |addresses: &mut Addresses, name: &str| addresses.take(name).map(|address| address.octets()[3]);
        assert_eq!((2..=4).map(|n| take(&mut addresses, &n.to_string()).unwrap()).collect::<Vec<_>>(), [2, 3, 4]);
        addresses.release("2");
        assert_eq!(take(&mut addresses, "a").unwrap(), 5, "not the one just given back");
        assert_eq!(take(&mut addresses, "b").unwrap(), 6);
        assert_eq!(take(&mut addresses, "c").unwrap(), 2);
        assert!(take(&mut addresses, "d").is_err());
        addresses.release("b");
        assert_eq!(take(&mut addresses, "e").unwrap(), 6);
    }

    #[test]
    fn subnets_overlap_when_one_is_in_the_other() {
        let subnet = |text| Subnet::around(text).unwrap().0;
        assert!(subnet("172.17.0.1/16").overlaps(&subnet("172.17.5.0/24")));
        assert!(!subnet("172.17.0.1/16").overlaps(&subnet("172.18.0.0/16")));
        assert!(Subnet::around("172.17.0.1").is_err());
        assert!(Subnet::around("172.17.0.1/31").is_err());
    }
}
