//! The default bridge: its subnet, who is on it, and what the hook is told.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Mutex;

use knarr_netns::{Attachment, Interface};

use super::addresses::{Addresses, Subnet};
use super::{ATTACHMENT, Sandbox, ports, write_attachment};
use crate::container::{Record, lock, new_id};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::oci;
use crate::settings::Settings;
use crate::wire::EndpointSettings;

/// Docker's default pools, in its order.
const POOLS: [(u8, u8); 15] = [
    (172, 17), (172, 18), (172, 19), (172, 20), (172, 21), (172, 22), (172, 23), (172, 24),
    (172, 25), (172, 26), (172, 27), (172, 28), (172, 29), (172, 30), (172, 31),
];

pub(crate) struct Bridge {
    pub(crate) name: String,
    pub(crate) subnet: Subnet,
    pub(crate) gateway: Ipv4Addr,
    table: String,
    mtu: Option<u32>,
    icc: bool,
    masquerade: bool,
    publish_address: IpAddr,
    addresses: Mutex<Addresses>,
}

impl Bridge {
    /// Makes the bridge, or takes the one that is there.
    pub(super) fn open(settings: &Settings, mac: [u8; 6], address: Option<&str>) -> Result<Self> {
        let (subnet, gateway) = match address {
            Some(address) => Subnet::around(address)?,
            None => free_pool(&settings.bridge)?,
        };
        let bridge = Self {
            name: settings.bridge.clone(),
            subnet,
            gateway,
            table: settings.firewall_table.clone(),
            mtu: settings.mtu,
            icc: settings.icc,
            masquerade: settings.ip_masquerade,
            publish_address: settings.publish_address,
            addresses: Mutex::new(Addresses::new(subnet, gateway)),
        };
        let wanted = knarr_netns::Bridge {
            name: bridge.name.clone(),
            address: bridge.address(),
            mac,
            mtu: settings.mtu,
            icc: settings.icc,
            masquerade: settings.ip_masquerade,
            internal: false,
        };
        knarr_netns::bridge::ensure(&wanted).map_err(Error::system)?;
        for warning in knarr_netns::firewall::apply(&bridge.table, &[wanted]).map_err(Error::system)? {
            crate::log::warn(&warning);
        }
        Ok(bridge)
    }

    /// As `inspect` shows them.
    pub(super) fn options(&self) -> BTreeMap<String, String> {
        let yes_or_no = |wanted: bool| wanted.to_string();
        [
            ("com.docker.network.bridge.default_bridge", "true".to_owned()),
            ("com.docker.network.bridge.enable_icc", yes_or_no(self.icc)),
            ("com.docker.network.bridge.enable_ip_masquerade", yes_or_no(self.masquerade)),
            ("com.docker.network.bridge.host_binding_ipv4", self.publish_address.to_string()),
            ("com.docker.network.bridge.name", self.name.clone()),
            ("com.docker.network.driver.mtu", self.mtu.unwrap_or(1500).to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The gateway's address with the subnet's prefix.
    pub(crate) fn address(&self) -> String {
        format!("{}/{}", self.gateway, self.subnet.prefix)
    }

    pub(super) fn connect(&self, engine: &Engine, record: &Record, folder: &Path) -> Result<Sandbox> {
        let asked = record.networks.get("bridge").cloned().unwrap_or_default();
        let endpoint = new_id()?;
        let address = lock(&self.addresses).take(&record.id)?;
        let published = lock(&engine.networks.ports).reserve(record, engine.settings.publish_address);
        let published = published.map_err(|error| {
            let act = format!("driver failed programming external connectivity on endpoint {} ({endpoint})", record.name);
            error.within(act).within("failed to set up container networking")
        })?;
        let mac = mac(&asked)?;
        let attachment = self.attachment(record, &endpoint, address, mac, &published);
        write_attachment(folder, &attachment)?;
        let settings = EndpointSettings {
            network_id: engine.networks.identities.bridge.clone(),
            endpoint_id: endpoint,
            gateway: self.gateway.to_string(),
            ip_address: address.to_string(),
            ip_prefix_len: self.subnet.prefix,
            mac_address: mac.map(|byte| format!("{byte:02x}")).join(":"),
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

    fn attachment(
        &self,
        record: &Record,
        endpoint: &str,
        address: Ipv4Addr,
        mac: [u8; 6],
        published: &[ports::Published],
    ) -> Attachment {
        let published = published.iter().map(|one| knarr_netns::Published {
            bridge: self.name.clone(),
            protocol: match one.protocol {
                ports::Protocol::Tcp => knarr_netns::Protocol::Tcp,
                ports::Protocol::Udp => knarr_netns::Protocol::Udp,
            },
            host_ip: Some(one.host_ip).filter(|ip| !ip.is_unspecified()),
            host_port: one.host_port,
            container_ip: address,
            container_port: one.container_port,
        });
        Attachment {
            container: record.id.clone(),
            endpoint: endpoint.to_owned(),
            table: self.table.clone(),
            interfaces: vec![Interface {
                bridge: self.name.clone(),
                host_name: format!("veth{}", endpoint.get(..7).unwrap_or_default()),
                name: "eth0".to_owned(),
                mac,
                addresses: vec![format!("{address}/{}", self.subnet.prefix)],
                gateway: Some(IpAddr::V4(self.gateway)),
                mtu: self.mtu,
            }],
            published: published.collect(),
        }
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
pub(super) fn lonely(record: &Record) -> Attachment {
    Attachment {
        container: record.id.clone(),
        endpoint: String::new(),
        table: String::new(),
        interfaces: Vec::new(),
        published: Vec::new(),
    }
}

/// The first pool that no route and no interface of the host overlaps. The bridge's own address is no obstacle.
fn free_pool(bridge: &str) -> Result<(Subnet, Ipv4Addr)> {
    let used = knarr_netns::bridge::subnets_in_use(bridge).map_err(Error::system)?;
    let used: Vec<Subnet> = used.iter().filter_map(|text| Subnet::around(text).ok()).map(|(subnet, _)| subnet).collect();
    for (first, second) in POOLS {
        let (subnet, _) = Subnet::around(&format!("{first}.{second}.0.1/16"))?;
        if !used.iter().any(|other| other.overlaps(&subnet)) {
            return Ok((subnet, subnet.first()));
        }
    }
    Err(Error::invalid("all predefined address pools have been fully subnetted"))
}

/// The address asked for, or a new one.
fn mac(asked: &EndpointSettings) -> Result<[u8; 6]> {
    if asked.mac_address.is_empty() {
        return new_mac();
    }
    let invalid = || Error::invalid(format!("invalid MAC address: {}", asked.mac_address));
    let mut mac = [0; 6];
    let parts: Vec<&str> = asked.mac_address.split([':', '-']).collect();
    if parts.len() != mac.len() {
        return Err(invalid());
    }
    for (byte, part) in mac.iter_mut().zip(parts) {
        *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
    }
    Ok(mac)
}

/// Random, of one station, administered locally.
pub(super) fn new_mac() -> Result<[u8; 6]> {
    let mut mac = [0; 6];
    rustix::rand::getrandom(&mut mac, rustix::rand::GetRandomFlags::empty()).while_doing("getrandom")?;
    mac[0] = (mac[0] & 0xfe) | 0x02;
    Ok(mac)
}
