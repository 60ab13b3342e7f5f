//! Requests about links (RTM_*LINK, linux/if_link.h).

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{
    Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Received, Socket, attribute, to_text, u32_at,
};
use crate::error::Result;
use crate::link_name::LinkName;
use crate::mac::Mac;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;

const IFF_UP: u32 = 1;
const MAKE: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
/// Size of struct ifinfomsg.
const HEADER: usize = 16;

/// Whether a link is made up or left down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Up,
    Down,
}

/// What a link knows from the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Birth<'a> {
    pub(crate) name: &'a LinkName,
    pub(crate) mac: Option<Mac>,
    pub(crate) mtu: Option<u32>,
}

/// What is known of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// The driver's name; none for hardware and loopback.
    pub(crate) kind: Option<String>,
    /// None of a link that is not Ethernet.
    pub(crate) mac: Option<Mac>,
}

/// How a bridge treats a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port {
    /// Frames may leave by the port they came from.
    pub(crate) hairpin: bool,
    /// No frame goes to another isolated port.
    pub(crate) isolated: bool,
}

fn header(index: u32, start: Start) -> [u8; HEADER] {
    let flags = if start == Start::Up { IFF_UP } else { 0 };
    let mut bytes = [0; HEADER];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

fn born(message: Message, birth: Birth<'_>) -> Message {
    let mut message = message.text(IFLA_IFNAME, birth.name.as_str());
    if let Some(mac) = birth.mac {
        message = message.attribute(IFLA_ADDRESS, &mac.octets());
    }
    match birth.mtu {
        Some(mtu) => message.attribute(IFLA_MTU, &mtu.to_ne_bytes()),
        None => message,
    }
}

pub(crate) fn make_bridge(birth: Birth<'_>) -> Message {
    let call = format!("RTM_NEWLINK({}, bridge)", birth.name);
    let message = Message::new(RTM_NEWLINK, MAKE, &header(0, Start::Up), call);
    born(message, birth).nested(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, "bridge"))
}

/// A pair of links: `host` in this namespace, up, a port of the bridge with index `bridge`; `peer` down in `netns`.
pub(crate) fn make_veth(host: Birth<'_>, bridge: u32, peer: Birth<'_>, netns: BorrowedFd<'_>) -> Message {
    let call = format!("RTM_NEWLINK({}, veth, peer {})", host.name, peer.name);
    let message = Message::new(RTM_NEWLINK, MAKE, &header(0, Start::Up), call);
    born(message, host).attribute(IFLA_MASTER, &bridge.to_ne_bytes()).nested(IFLA_LINKINFO, |info| {
        info.text(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, |data| {
            data.nested_after(VETH_INFO_PEER, &header(0, Start::Down), |far| {
                born(far, peer).attribute(IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes())
            })
        })
    })
}

/// A link of driver `kind` on the parent with index `parent`, down in `netns`.
fn on_parent(
    birth: Birth<'_>,
    kind: &str,
    parent: u32,
    netns: BorrowedFd<'_>,
    data: &[(u16, &[u8])],
) -> Message {
    let call = format!("RTM_NEWLINK({}, {kind})", birth.name);
    let message = Message::new(RTM_NEWLINK, MAKE, &header(0, Start::Down), call);
    born(message, birth)
        .attribute(IFLA_LINK, &parent.to_ne_bytes())
        .attribute(IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes())
        .nested(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, kind).nested(IFLA_INFO_DATA, |nest| {
                data.iter().fold(nest, |nest, (kind, value)| nest.attribute(*kind, value))
            })
        })
}

pub(crate) fn make_macvlan(birth: Birth<'_>, parent: u32, mode: u32, netns: BorrowedFd<'_>) -> Message {
    on_parent(birth, "macvlan", parent, netns, &[(IFLA_MACVLAN_MODE, &mode.to_ne_bytes())])
}

pub(crate) fn make_ipvlan(
    birth: Birth<'_>,
    parent: u32,
    (mode, flags): (u16, u16),
    netns: BorrowedFd<'_>,
) -> Message {
    let data = [(IFLA_IPVLAN_MODE, &mode.to_ne_bytes()[..]), (IFLA_IPVLAN_FLAGS, &flags.to_ne_bytes()[..])];
    on_parent(birth, "ipvlan", parent, netns, &data)
}

pub(crate) fn set_port(name: &LinkName, port: Port) -> Message {
    let message =
        Message::new(RTM_NEWLINK, NLM_F_ACK, &header(0, Start::Down), format!("RTM_NEWLINK({name}, port)"));
    // The header's flags are not changed: its mask is empty.
    message.text(IFLA_IFNAME, name.as_str()).nested(IFLA_LINKINFO, |info| {
        info.text(IFLA_INFO_SLAVE_KIND, "bridge").nested(IFLA_INFO_SLAVE_DATA, |data| {
            data.attribute(IFLA_BRPORT_MODE, &[port.hairpin.into()])
                .attribute(IFLA_BRPORT_ISOLATED, &[port.isolated.into()])
        })
    })
}

pub(crate) fn raise(index: u32) -> Message {
    Message::new(RTM_NEWLINK, NLM_F_ACK, &header(index, Start::Up), format!("RTM_NEWLINK({index}, IFF_UP)"))
}

pub(crate) fn set_mtu(index: u32, mtu: u32) -> Message {
    let call = format!("RTM_NEWLINK({index}, mtu {mtu})");
    Message::new(RTM_NEWLINK, NLM_F_ACK, &header(index, Start::Down), call)
        .attribute(IFLA_MTU, &mtu.to_ne_bytes())
}

pub(crate) fn set_mac(index: u32, mac: Mac) -> Message {
    let call = format!("RTM_NEWLINK({index}, mac {mac})");
    Message::new(RTM_NEWLINK, NLM_F_ACK, &header(index, Start::Down), call)
        .attribute(IFLA_ADDRESS, &mac.octets())
}

pub(crate) fn delete(name: &LinkName) -> Message {
    Message::new(RTM_DELLINK, NLM_F_ACK, &header(0, Start::Down), format!("RTM_DELLINK({name})"))
        .text(IFLA_IFNAME, name.as_str())
}

/// The link called `name`. Since 6.8 the kernel first does what a change of the link's carrier has left to be done.
pub(crate) fn find(socket: &Socket, name: &LinkName) -> Result<Known> {
    let request =
        Message::new(RTM_GETLINK, NLM_F_ACK, &header(0, Start::Down), format!("RTM_GETLINK({name})"))
            .text(IFLA_IFNAME, name.as_str());
    let mut found = None;
    socket.ask(&request, |answer| found = found.take().or_else(|| known(answer)))?;
    found.ok_or_else(|| crate::error::Error::Call {
        call: format!("RTM_GETLINK({name})"),
        source: rustix::io::Errno::NODEV.into(),
    })
}

/// All links of the namespace.
pub(crate) fn list(socket: &Socket) -> Result<Vec<Known>> {
    let request = Message::new(RTM_GETLINK, NLM_F_DUMP, &header(0, Start::Down), "RTM_GETLINK");
    let mut links = Vec::new();
    socket.ask(&request, |answer| links.extend(known(answer)))?;
    Ok(links)
}

fn known(answer: Received<'_>) -> Option<Known> {
    if answer.kind != RTM_NEWLINK {
        return None;
    }
    let fields = answer.body.get(HEADER..)?;
    let kind = attribute(fields, IFLA_LINKINFO).and_then(|info| attribute(info, IFLA_INFO_KIND)).map(to_text);
    let name = to_text(attribute(fields, IFLA_IFNAME)?);
    let mac = attribute(fields, IFLA_ADDRESS).and_then(|bytes| bytes.try_into().ok()).map(Mac::from_octets);
    Some(Known { index: u32_at(answer.body, 4)?, name, kind, mac })
}
