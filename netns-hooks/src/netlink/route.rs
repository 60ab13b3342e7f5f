//! Requests about routes (RTM_*ROUTE, linux/rtnetlink.h).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::{AF_INET, family, from_octets, octets};
use super::{Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Received, Socket, attribute};
use crate::cidr::Cidr;
use crate::error::Result;

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
/// Size of struct rtmsg.
const HEADER: usize = 12;

/// A route over the link with that index, by a gateway or straight onto the link.
pub(crate) fn add(index: u32, destination: Cidr, gateway: Option<IpAddr>) -> Message {
    let destination = destination.network();
    let scope =
        if gateway.is_none() && destination.address().is_ipv4() { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
    let mut header = [0; HEADER];
    header[0] = family(destination.address());
    header[1] = destination.prefix();
    header[4..8].copy_from_slice(&[RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST]);
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let over = gateway.map_or_else(|| "link".to_owned(), |gateway| gateway.to_string());
    let call = format!("RTM_NEWROUTE({index}, {destination} by {over})");
    let mut message = Message::new(RTM_NEWROUTE, flags, &header, call);
    if destination.prefix() > 0 {
        message = message.attribute(RTA_DST, &octets(destination.address()));
    }
    if let Some(gateway) = gateway {
        message = message.attribute(RTA_GATEWAY, &octets(gateway));
    }
    message.attribute(RTA_OIF, &index.to_ne_bytes())
}

/// Where the namespace's unicast routes lead, whatever their table; default routes have a prefix of 0.
pub(crate) fn list(socket: &Socket) -> Result<Vec<Cidr>> {
    let request = Message::new(RTM_GETROUTE, NLM_F_DUMP, &[0; HEADER], "RTM_GETROUTE");
    let mut found = Vec::new();
    socket.ask(&request, |answer| found.extend(known(answer)))?;
    Ok(found)
}

fn known(answer: Received<'_>) -> Option<Cidr> {
    let head: [u8; HEADER] = answer.body.get(..HEADER)?.try_into().ok()?;
    if answer.kind != RTM_NEWROUTE || head[7] != RTN_UNICAST {
        return None;
    }
    let anywhere = if head[0] == AF_INET {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let destination = attribute(&answer.body[HEADER..], RTA_DST);
    Cidr::new(destination.map_or(Some(anywhere), from_octets)?, head[1]).ok()
}
