//! The default bridge: its subnet, who is on it, and what the hook is told.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Mutex;

use knarr_netns::{
    Attachment, Cidr, Interface, Link, LinkName, Mac, Neighbours, Published, Reach, Route, Table, bridge,
    host,
};

use super::addresses::Addresses;
use super::{ATTACHMENT, Sandbox, ports, write_attachment};
use crate::container::{Record, lock, new_id};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::oci;
use crate::settings::Settings;
use crate::wire::EndpointSettings;

/// Docker's default pools: 172.17.0.0/16 and those after it.
const POOLS: std::ops::RangeInclusive<u8> = 17..=31;
/// With less a gateway and a container have no room.
const LONGEST_PREFIX: u8 = 30;
const DEFAULT_MTU: u32 = 1500;

pub(crate) struct Bridge {
    made: knarr_netns::Bridge,
    gateway: Ipv4Addr,
    publish_address: IpAddr,
    addresses: Mutex<Addresses>,
}

impl Bridge {
    /// Makes the bridge, or takes the one that is there.
    pub(super) fn open(settings: &Settings, mac: Mac, address: Option<Cidr>) -> Result<Self> {
        let name: LinkName = settings.bridge.parse().map_err(Error::invalid)?;
        let address = address.map_or_else(|| free_pool(&name), Ok)?;
        let gateway = match address.address() {
            IpAddr::V4(gateway) if address.prefix() <= LONGEST_PREFIX => gateway,
            _ => {
                return Err(Error::invalid(format!(
                    "bip: {address} is no IPv4 address in a subnet for a bridge"
                )));
            }
        };
        let made = knarr_netns::Bridge {
            name,
            address,
            mac,
            mtu: settings.mtu,
            reach: if settings.ip_masquerade { Reach::Masqueraded } else { Reach::Routed },
            neighbours: if settings.icc { Neighbours::Connected } else { Neighbours::Apart },
        };
        bridge::ensure(&made).map_err(|error| Error::system(knarr_netns::chain(&error)))?;
        let addresses = Mutex::new(Addresses::new(gateway, address.prefix()));
        Ok(Self { made, gateway, publish_address: settings.publish_address, addresses })
    }

    pub(super) fn made(&self) -> &knarr_netns::Bridge {
        &self.made
    }

    /// The gateway's address with the subnet's prefix.
    pub(crate) fn address(&self) -> Cidr {
        self.made.address
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// As `inspect` shows them.
    pub(super) fn options(&self) -> BTreeMap<String, String> {
        let icc = self.made.neighbours == Neighbours::Connected;
        let masquerade = self.made.reach == Reach::Masqueraded;
        [
            ("com.docker.network.bridge.default_bridge", "true".to_owned()),
            ("com.docker.network.bridge.enable_icc", icc.to_string()),
            ("com.docker.network.bridge.enable_ip_masquerade", masquerade.to_string()),
            ("com.docker.network.bridge.host_binding_ipv4", self.publish_address.to_string()),
            ("com.docker.network.bridge.name", self.made.name.to_string()),
            ("com.docker.network.driver.mtu", self.made.mtu.unwrap_or(DEFAULT_MTU).to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    pub(super) fn connect(&self, engine: &Engine, record: &Record, folder: &Path) -> Result<Sandbox> {
        let asked = record.networks.get("bridge").cloned().unwrap_or_default();
        let endpoint = new_id()?;
        let mac = mac(&asked)?;
        let address = lock(&self.addresses).take(&record.id)?;
        let published = lock(&engine.networks.ports).reserve(record, engine.settings.publish_address);
        let published = published.map_err(|error| {
            let act = format!(
                "driver failed programming external connectivity on endpoint {} ({endpoint})",
                record.name
            );
            error.within(act).within("failed to set up container networking")
        })?;
        let attachment = Attachment {
            container: record.id.clone(),
            table: engine.networks.table.clone(),
            interfaces: vec![self.interface(&endpoint, address, mac)?],
            published: published.iter().map(|one| one.to(address)).collect(),
        };
        write_attachment(folder, &attachment)?;
        let settings = EndpointSettings {
            network_id: engine.networks.identities.bridge.clone(),
            endpoint_id: endpoint,
            gateway: self.gateway.to_string(),
            ip_address: address.to_string(),
            ip_prefix_len: self.made.address.prefix(),
            mac_address: mac.to_string(),
            ..asked
        };
        Ok(Sandbox {
            network: oci::Network::Private(folder.join(ATTACHMENT)),
            endpoints: BTreeMap::from([("bridge".to_owned(), settings)]),
            ports: ports::shown(record, &published),
            files_of: None,
            gateway: Some(IpAddr::V4(self.gateway)),
        })
    }

    fn interface(&self, endpoint: &str, address: Ipv4Addr, mac: Mac) -> Result<Interface> {
        let name = |text: &str| text.parse::<LinkName>().map_err(Error::system);
        Ok(Interface {
            name: name("eth0")?,
            link: Link::Bridge {
                bridge: self.made.name.clone(),
                host_name: name(&format!("veth{}", endpoint.get(..7).unwrap_or_default()))?,
                isolated: self.made.neighbours == Neighbours::Apart,
            },
            mac: Some(mac),
            addresses: vec![Cidr::new(address.into(), self.made.address.prefix()).map_err(Error::system)?],
            routes: vec![Route::default_by(self.gateway.into())],
            mtu: self.made.mtu,
            sysctls: BTreeMap::new(),
        })
    }

    pub(super) fn release(&self, container: &str) {
        lock(&self.addresses).release(container);
    }

    pub(super) fn adopt(&self, record: &Record) {
        let address = record.networks.get("bridge").and_then(|endpoint| endpoint.ip_address.parse().ok());
        if let Some(address) = address {
            lock(&self.addresses).note(address, &record.id);
        }
    }
}

/// What a container on no network is given: its loopback.
pub(super) fn lonely(record: &Record, table: &Table) -> Attachment {
    let (interfaces, published): (Vec<Interface>, Vec<Published>) = (Vec::new(), Vec::new());
    Attachment { container: record.id.clone(), table: table.clone(), interfaces, published }
}

/// The address that the bridge has already, or the first pool that no route and no address of the host overlaps.
fn free_pool(bridge: &LinkName) -> Result<Cidr> {
    let failed = |error: knarr_netns::Error| Error::system(knarr_netns::chain(&error));
    let addresses = host::addresses().map_err(failed)?;
    let own = addresses.iter().find(|(name, cidr)| name == bridge.as_str() && cidr.address().is_ipv4());
    if let Some((_, address)) = own {
        return Ok(*address);
    }
    let routes = host::routes().map_err(failed)?;
    let used: Vec<Cidr> = addresses.into_iter().map(|(_, cidr)| cidr).chain(routes).collect();
    for second in POOLS {
        let pool = Cidr::new(Ipv4Addr::new(172, second, 0, 1).into(), 16).map_err(Error::system)?;
        if !used.iter().any(|other| other.overlaps(pool)) {
            return Ok(pool);
        }
    }
    Err(Error::invalid("all predefined address pools have been fully subnetted"))
}

/// The address asked for, or a new one.
fn mac(asked: &EndpointSettings) -> Result<Mac> {
    if asked.mac_address.is_empty() {
        return new_mac();
    }
    let invalid = |_| Error::invalid(format!("invalid MAC address: {}", asked.mac_address));
    asked.mac_address.replace('-', ":").parse().map_err(invalid)
}

/// Random, of one station, administered locally.
pub(super) fn new_mac() -> Result<Mac> {
    let mut bytes = [0; 6];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).while_doing("getrandom")?;
    Ok(Mac::from_random(bytes))
}
