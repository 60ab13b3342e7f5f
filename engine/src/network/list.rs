//! `network ls` and `network inspect`.

use std::collections::BTreeMap;

use super::Networks;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::wire::{Filters, Ipam, IpamConfig, Network, NetworkContainer};

const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

impl Networks {
    fn predefined(&self) -> Vec<Network> {
        let plain = |name: &str, id: &str, driver: &str| Network {
            name: name.to_owned(),
            id: id.to_owned(),
            created: self.identities.created,
            scope: "local",
            driver: driver.to_owned(),
            enable_ipv4: true,
            ipam: Ipam { driver: "default", ..Ipam::default() },
            ..Network::default()
        };
        let mut networks = Vec::new();
        if let Some(bridge) = &self.bridge {
            let mut network = plain("bridge", &self.identities.bridge, "bridge");
            network.ipam.config = vec![IpamConfig {
                subnet: bridge.address().network().to_string(),
                gateway: bridge.gateway().to_string(),
                ..IpamConfig::default()
            }];
            network.options = bridge.options();
            networks.push(network);
        }
        networks.push(plain("host", &self.identities.host, "host"));
        networks.push(plain("none", &self.identities.none, "null"));
        networks
    }
}

impl Engine {
    /// The networks that the filters want, without their containers.
    pub(crate) fn networks_matching(&self, filters: &Filters) -> Result<Vec<Network>> {
        filters.check(&FILTERS)?;
        let dangling = filters.flag("dangling")?;
        let used = |network: &Network| !self.containers_on(&network.name).is_empty();
        let wanted = |network: &Network| {
            filters.is("driver", &network.driver)
                && filters.begins("id", &network.id)
                && filters.is("scope", network.scope)
                && filters.has_labels("label", Some(&network.labels))
                && (!filters.contains("name") || filters.values("name").any(|name| network.name.contains(name)))
                // None of these is a user's.
                && filters.is("type", "builtin")
                && dangling.is_none_or(|dangling| dangling != used(network))
        };
        Ok(self.networks.predefined().into_iter().filter(wanted).collect())
    }

    /// One network by name, ID or the beginning of its ID, with the containers that are on it.
    pub(crate) fn network(&self, name: &str) -> Result<Network> {
        let networks = self.networks.predefined();
        let exact = |network: &&Network| network.id == name || network.name == name;
        let found = networks.iter().find(exact).or_else(|| {
            let mut beginning = networks.iter().filter(|network| network.id.starts_with(name));
            beginning.next().filter(|_| !name.is_empty() && beginning.next().is_none())
        });
        let mut network =
            found.cloned().ok_or_else(|| Error::not_found(format!("network {name} not found")))?;
        network.containers = self.containers_on(&network.name);
        Ok(network)
    }

    fn containers_on(&self, network: &str) -> BTreeMap<String, NetworkContainer> {
        let records = self.containers.all().into_iter().map(|container| container.record());
        let running = records.filter(|record| record.state.status.is_up());
        let entry = |record: std::sync::Arc<crate::container::Record>| {
            let endpoint = record.networks.get(network)?;
            let address = match endpoint.ip_address.as_str() {
                "" => String::new(),
                address => format!("{address}/{}", endpoint.ip_prefix_len),
            };
            let shown = NetworkContainer {
                name: record.name.clone(),
                endpoint_id: endpoint.endpoint_id.clone(),
                mac_address: endpoint.mac_address.clone(),
                ipv4_address: address,
                ipv6_address: String::new(),
            };
            Some((record.id.clone(), shown))
        };
        running.filter_map(entry).collect()
    }
}
