//! Bridges of the host.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::error::{During, Error, Result};
use crate::link_name::LinkName;
use crate::mac::Mac;
use crate::netlink::link::{Birth, Known};
use crate::netlink::{Socket, address, link};
use crate::{interface, sysctl};

/// A bridge and what the firewall lets pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    pub name: LinkName,
    /// The gateway's address with the network's prefix, such as `172.17.0.1/16`. IPv4.
    pub address: Cidr,
    /// Fixed: a bridge without one takes the lowest of its ports', which changes under those who remember it.
    pub mac: Mac,
    /// In bytes; the kernel's default when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// How far its containers reach.
    #[serde(default)]
    pub reach: Reach,
    /// Whether its containers reach each other.
    #[serde(default)]
    pub neighbours: Neighbours,
}

/// How far the containers of a bridge reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Everywhere, under the host's addresses.
    #[default]
    Masqueraded,
    /// Everywhere, under their own addresses.
    Routed,
    /// The host and no further; nobody beyond the bridge reaches them (internal).
    Internal,
}

/// Whether containers of one bridge reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Neighbours {
    #[default]
    Connected,
    /// icc=false. The bridge keeps packets that are routed apart; frames are kept apart by isolated ports, which each
    /// interface asks for.
    Apart,
}

impl Bridge {
    fn check(&self) -> Result<()> {
        if !self.address.address().is_ipv4() {
            return Err(Error::Value(format!("bridge {}: {} is no IPv4 address", self.name, self.address)));
        }
        Ok(())
    }
}

/// Makes the bridge of what is there: a new one, or one of that name that gets what it lacks. It ends up with its MAC, its
/// address, and `route_localnet`, by which a port published to 127.0.0.1 is reached. Addresses that somebody else gave
/// it stay.
pub fn ensure(bridge: &Bridge) -> Result<()> {
    bridge.check()?;
    shape(bridge).during(|| format!("bridge {}", bridge.name))
}

fn shape(bridge: &Bridge) -> Result<()> {
    let socket = Socket::route()?;
    let known = find_or_make(&socket, bridge)?;
    let addresses = address::list(&socket)?;
    let mut batch = vec![link::set_mac(known.index, bridge.mac)];
    batch.extend(bridge.mtu.map(|mtu| link::set_mtu(known.index, mtu)));
    if !addresses.contains(&(known.index, bridge.address)) {
        batch.push(address::add(known.index, bridge.address));
    }
    batch.push(link::raise(known.index));
    socket.request(&batch)?;
    sysctl::write(&format!("ipv4/conf/{}/route_localnet", bridge.name), "1")
}

fn find_or_make(socket: &Socket, bridge: &Bridge) -> Result<Known> {
    let birth = Birth { name: &bridge.name, mac: Some(bridge.mac), mtu: bridge.mtu };
    match socket.request(&[link::make_bridge(birth)]) {
        Err(error) if error.errno() != Some(Errno::EXIST) => return Err(error),
        _ => {}
    }
    let known = link::find(socket, &bridge.name)?;
    match known.kind.as_deref() {
        Some("bridge") => Ok(known),
        _ => Err(Error::Conflict("a link of that name is there, and is no bridge".to_owned())),
    }
}

/// Removes the bridge. One that is not there is no failure; a link of that name that is no bridge is.
pub fn remove(name: &LinkName) -> Result<()> {
    let socket = Socket::route()?;
    let act = || format!("remove bridge {name}");
    match link::find(&socket, name) {
        Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
        Err(error) => Err(error).during(act),
        Ok(known) if known.kind.as_deref() != Some("bridge") => {
            Err(Error::Conflict("not a bridge".to_owned())).during(act)
        }
        Ok(_) => interface::delete(&socket, name).during(act),
    }
}
