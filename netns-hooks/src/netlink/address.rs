//! Requests about addresses of links (RTM_*ADDR, linux/if_addr.h).

use std::net::IpAddr;

use super::{Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Received, Socket, attribute, u32_at};
use crate::cidr::Cidr;
use crate::error::Result;

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// No duplicate address detection: who gives the addresses knows that they are not taken.
const IFA_F_NODAD: u32 = 2;
/// Size of struct ifaddrmsg.
const HEADER: usize = 8;

pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

pub(super) fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address whose bytes these are.
pub(super) fn from_octets(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Gives the link with that index an address.
pub(crate) fn add(index: u32, cidr: Cidr) -> Message {
    let mut header = [0; HEADER];
    header[0] = family(cidr.address());
    header[1] = cidr.prefix();
    header[4..].copy_from_slice(&index.to_ne_bytes());
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let bytes = octets(cidr.address());
    let message = Message::new(RTM_NEWADDR, flags, &header, format!("RTM_NEWADDR({index}, {cidr})"))
        .attribute(IFA_LOCAL, &bytes)
        .attribute(IFA_ADDRESS, &bytes)
        .attribute(IFA_FLAGS, &IFA_F_NODAD.to_ne_bytes());
    match cidr.broadcast() {
        Some(broadcast) => message.attribute(IFA_BROADCAST, &broadcast.octets()),
        None => message,
    }
}

/// All addresses of the namespace, each with the index of its link.
pub(crate) fn list(socket: &Socket) -> Result<Vec<(u32, Cidr)>> {
    let request = Message::new(RTM_GETADDR, NLM_F_DUMP, &[0; HEADER], "RTM_GETADDR");
    let mut found = Vec::new();
    socket.ask(&request, |answer| found.extend(known(answer)))?;
    Ok(found)
}

fn known(answer: Received<'_>) -> Option<(u32, Cidr)> {
    if answer.kind != RTM_NEWADDR {
        return None;
    }
    let fields = answer.body.get(HEADER..)?;
    // IFA_ADDRESS of a point-to-point link is the other side's.
    let own = attribute(fields, IFA_LOCAL).or_else(|| attribute(fields, IFA_ADDRESS))?;
    let cidr = Cidr::new(from_octets(own)?, answer.body[1]).ok()?;
    Some((u32_at(answer.body, 4)?, cidr))
}
