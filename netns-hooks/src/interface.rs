//! Links of a container: made in its namespace, addressed, taken away.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::attachment::{Interface, IpvlanFlag, IpvlanMode, Link, MacvlanMode};
use crate::error::{During, Error, Result};
use crate::link_name::LinkName;
use crate::netlink::link::{Birth, Known, Port};
use crate::netlink::{Message, Socket, address, link, route};
use crate::{netns, sysctl};

/// Makes the interface in `netns`, tied to a bridge or link of this namespace. What was made before a failure is gone.
pub fn attach(netns: BorrowedFd<'_>, interface: &Interface) -> Result<()> {
    interface.check()?;
    let host = Socket::route()?;
    make(&host, netns, interface).during(|| format!("make interface {}", interface.name))?;
    let configured = netns::inside(netns, || configure(interface));
    configured
        .and_then(|inside| announce(&host, &inside, interface))
        .during(|| format!("configure interface {}", interface.name))
        .inspect_err(|_| {
            // The failure that is reported is the first one. With one end goes the other.
            let _ = detach(netns, interface);
        })
}

/// Takes the interface away. One that is not there is no failure, nor is a namespace that has gone: see [`forget`].
pub fn detach(netns: BorrowedFd<'_>, interface: &Interface) -> Result<()> {
    match &interface.link {
        Link::Bridge { .. } => forget(interface),
        Link::Macvlan { .. } | Link::Ipvlan { .. } => {
            netns::inside(netns, || delete(&Socket::route()?, &interface.name))
        }
    }
}

/// Takes away what the host still has of an interface whose namespace may be gone.
pub fn forget(interface: &Interface) -> Result<()> {
    match &interface.link {
        Link::Bridge { host_name, .. } => delete(&Socket::route()?, host_name),
        // They live in the container's namespace, and go with it.
        Link::Macvlan { .. } | Link::Ipvlan { .. } => Ok(()),
    }
}

pub(crate) fn delete(socket: &Socket, name: &LinkName) -> Result<()> {
    match socket.request(&[link::delete(name)]) {
        Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
        other => other,
    }
}

fn make(host: &Socket, netns: BorrowedFd<'_>, interface: &Interface) -> Result<()> {
    let inside = Birth { name: &interface.name, mac: interface.mac, mtu: interface.mtu };
    match &interface.link {
        Link::Bridge { bridge, host_name, isolated } => {
            let bridge = bridge_index(host, bridge)?;
            let outside = Birth { name: host_name, mac: None, mtu: interface.mtu };
            // With br_netfilter, a port published by the host leads back to the port of the bridge it came from. Not
            // with IPv6: a link that hears its own neighbour solicitations takes its address for a duplicate.
            let port = Port { hairpin: !interface.speaks_v6(), isolated: *isolated };
            host.request(&[link::make_veth(outside, bridge, inside, netns)])?;
            host.request(&[link::set_port(host_name, port)]).inspect_err(|_| {
                let _ = delete(host, host_name);
            })
        }
        Link::Macvlan { parent, mode } => {
            let parent = link::find(host, parent)?.index;
            host.request(&[link::make_macvlan(inside, parent, macvlan_mode(*mode), netns)])
        }
        Link::Ipvlan { parent, mode, flag } => {
            let parent = link::find(host, parent)?.index;
            let mode = (ipvlan_mode(*mode), ipvlan_flag(*flag));
            host.request(&[link::make_ipvlan(inside, parent, mode, netns)])
        }
    }
}

fn bridge_index(host: &Socket, name: &LinkName) -> Result<u32> {
    let known = link::find(host, name)?;
    match known.kind.as_deref() {
        Some("bridge") => Ok(known.index),
        _ => Err(Error::Conflict(format!("{name}: not a bridge"))),
    }
}

/// A link in the container's namespace, and a socket that stays there.
struct Inside {
    socket: Socket,
    link: Known,
}

/// Runs inside. The settings come before the link is up, and the addresses as well: `arp_notify` has the kernel tell the
/// neighbours, who may remember another MAC for an address that is given anew.
fn configure(interface: &Interface) -> Result<Inside> {
    let socket = Socket::route()?;
    let link = link::find(&socket, &interface.name)?;
    let index = link.index;
    let name = &interface.name;
    if interface.speaks_v6() {
        sysctl::write(&format!("ipv6/conf/{name}/disable_ipv6"), "0")?;
    } else {
        switch_off_v6(name)?;
    }
    sysctl::write(&format!("ipv4/conf/{name}/arp_notify"), "1")?;
    for (setting, value) in &interface.sysctls {
        sysctl::write(&setting.path(name), value)?;
    }
    let mut batch: Vec<Message> = interface.addresses.iter().map(|cidr| address::add(index, *cidr)).collect();
    batch.push(link::raise(index));
    for wanted in &interface.routes {
        // A gateway off the link, as with a /32, needs a way to it first.
        if let Some(gateway) = wanted.gateway.filter(|gateway| !reaches(interface, *gateway)) {
            let bits = if gateway.is_ipv4() { 32 } else { 128 };
            batch.push(route::add(index, crate::cidr::Cidr::new(gateway, bits)?, None));
        }
        batch.push(route::add(index, wanted.destination, wanted.gateway));
    }
    socket.request(&batch)?;
    Ok(Inside { socket, link })
}

/// Has the neighbours told where they can hear it. Nothing passes a link before the kernel has noticed, at its leisure, that
/// it has a carrier: the port of the bridge, the bridge itself when this is its first port, and the end inside. A
/// container that is faster than that loses a packet, and a second by it. Asking for the links makes the kernel notice; and
/// a MAC that is set once more is told once more (`arp_notify`).
fn announce(host: &Socket, inside: &Inside, interface: &Interface) -> Result<()> {
    let Link::Bridge { bridge, host_name, .. } = &interface.link else { return Ok(()) };
    link::find(host, host_name)?;
    link::find(host, bridge)?;
    link::find(&inside.socket, &interface.name)?;
    match inside.link.mac {
        Some(mac) => inside.socket.request(&[link::set_mac(inside.link.index, mac)]),
        None => Ok(()),
    }
}

fn reaches(interface: &Interface, gateway: IpAddr) -> bool {
    let link_local = matches!(gateway, IpAddr::V6(address) if address.is_unicast_link_local());
    link_local || interface.addresses.iter().any(|cidr| cidr.contains(gateway))
}

/// A kernel without IPv6 has no such file, and nothing to switch off.
fn switch_off_v6(name: &LinkName) -> Result<()> {
    match sysctl::write(&format!("ipv6/conf/{name}/disable_ipv6"), "1") {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn macvlan_mode(mode: MacvlanMode) -> u32 {
    match mode {
        MacvlanMode::Private => 1,
        MacvlanMode::Vepa => 2,
        MacvlanMode::Bridge => 4,
        MacvlanMode::Passthru => 8,
    }
}

fn ipvlan_mode(mode: IpvlanMode) -> u16 {
    match mode {
        IpvlanMode::L2 => 0,
        IpvlanMode::L3 => 1,
        IpvlanMode::L3s => 2,
    }
}

fn ipvlan_flag(flag: IpvlanFlag) -> u16 {
    match flag {
        IpvlanFlag::Bridge => 0,
        IpvlanFlag::Private => 1,
        IpvlanFlag::Vepa => 2,
    }
}
