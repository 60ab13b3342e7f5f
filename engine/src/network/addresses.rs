//! Who has which address of a subnet. An address that was given back is not given out again at once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::error::{Error, Result};

/// The addresses of one subnet.
#[derive(Debug)]
pub(super) struct Addresses {
    /// The first and the last that a container can have.
    range: (u32, u32),
    gateway: Ipv4Addr,
    /// By address, the container that has it.
    taken: BTreeMap<u32, String>,
    /// Where to look first.
    next: u32,
}

impl Addresses {
    /// Of the subnet that the gateway's address is in; its prefix has at most 30 bits.
    pub(super) fn new(gateway: Ipv4Addr, prefix: u8) -> Self {
        let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        let network = gateway.to_bits() & !hosts;
        let range = (network + 1, network + hosts - 1);
        Self { range, gateway, taken: BTreeMap::new(), next: range.0 }
    }

    /// Takes the next free address for a container.
    pub(super) fn take(&mut self, container: &str) -> Result<Ipv4Addr> {
        let (first, last) = self.range;
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
        if (self.range.0..=self.range.1).contains(&address.to_bits()) {
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
        let mut addresses = Addresses::new(Ipv4Addr::new(10, 0, 0, 1), 29);
        let take =
            |addresses: &mut Addresses, name: &str| addresses.take(name).map(|address| address.octets()[3]);
        assert_eq!(
            (2..=4).map(|n| take(&mut addresses, &n.to_string()).unwrap()).collect::<Vec<_>>(),
            [2, 3, 4]
        );
        addresses.release("2");
        assert_eq!(take(&mut addresses, "a").unwrap(), 5, "not the one just given back");
        assert_eq!(take(&mut addresses, "b").unwrap(), 6);
        assert_eq!(take(&mut addresses, "c").unwrap(), 2);
        assert!(take(&mut addresses, "d").is_err());
        addresses.release("b");
        assert_eq!(take(&mut addresses, "e").unwrap(), 6);
    }
}
