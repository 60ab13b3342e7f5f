//! Which registries may be spoken to without a verified certificate or in plain HTTP: dockerd's `insecure-registries`.
//!
//! Loopback addresses always may. A name that merely resolves to one may not: the next lookup may answer otherwise.

use std::collections::HashSet;
use std::net::{IpAddr, ToSocketAddrs};

use super::Error;
use super::location::is_loopback;
use crate::reference::is_registry;

/// Hosts and networks.
#[derive(Debug, Default)]
pub(super) struct Insecure {
    hosts: HashSet<String>,
    networks: Vec<Network>,
}

impl Insecure {
    /// Reads `HOST[:PORT]` and CIDR notation.
    pub(super) fn parse(entries: &[String]) -> Result<Self, Error> {
        let mut parsed = Self::default();
        for entry in entries {
            if let Some(network) = Network::parse(entry) {
                parsed.networks.push(network);
            } else if is_registry(entry) {
                parsed.hosts.insert(entry.clone());
            } else {
                return Err(Error::Insecure(entry.clone()));
            }
        }
        Ok(parsed)
    }

    /// A host is looked up only when there are networks that its address could lie in.
    pub(super) fn contains(&self, registry: &str) -> bool {
        let host = without_port(registry);
        is_loopback(host) || self.hosts.contains(registry) || self.contains_address_of(host)
    }

    fn contains_address_of(&self, host: &str) -> bool {
        if self.networks.is_empty() {
            return false;
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        // A name that has no address is insecure by name alone, and the request itself reports it.
        let Ok(mut addresses) = (bare, 0).to_socket_addrs() else { return false };
        addresses.any(|address| self.networks.iter().any(|network| network.contains(address.ip())))
    }
}

fn without_port(registry: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    registry.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(registry, |(host, _)| host)
}

/// A network in CIDR notation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let network = Self { address: address.parse().ok()?, prefix: prefix.parse().ok()? };
        (network.prefix <= if network.address.is_ipv4() { 32 } else { 128 }).then_some(network)
    }

    pub(super) fn contains(&self, other: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| self.prefix == 0 || (a ^ b) >> (width - self.prefix) == 0;
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_networks_and_loopback_are_insecure() {
        let entries = ["a.example:5000", "b.example", "192.0.2.128/25", "2001:db8::/32"].map(str::to_owned);
        let insecure = Insecure::parse(&entries).unwrap();
        for registry in [
            "a.example:5000",
            "b.example",
            "127.0.0.1:5000",
            "127.9.9.9",
            "localhost",
            "localhost:5000",
            "[::1]:5000",
            "192.0.2.200",
            "192.0.2.128:5000",
            "[2001:db8::7]:443",
        ] {
            assert!(insecure.contains(registry), "{registry}");
        }
        for registry in
            ["a.example", "b.example:443", "192.0.2.127", "192.0.3.200:1", "[2001:db9::7]", "docker.io"]
        {
            assert!(!insecure.contains(registry), "{registry}");
        }
        let all = Insecure::parse(&["0.0.0.0/0".to_owned()]).unwrap();
        assert!(all.contains("192.0.2.1:5") && !all.contains("[2001:db8::7]"));
    }

    #[test]
    fn what_is_neither_host_nor_network_is_refused() {
        for entry in ["", "http://a", "192.0.2.0/33", "a/b", "2001:db8::/129", "a b"] {
            let error = Insecure::parse(&[entry.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(&format!("{entry:?}")), "{error}");
        }
    }
}
