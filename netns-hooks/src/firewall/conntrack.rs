//! Entries of connection tracking that outlive a port (linux/netfilter/nfnetlink_conntrack.h).
//!
//! UDP has no end of connection: as long as a client sends, its packets follow the entry and no rule is asked. So what was
//! translated otherwise is forgotten when a port is published, and what was translated to it when it is withdrawn.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::attachment::{Published, Transport};
use crate::error::Result;
use crate::netlink::{Message, NLM_F_ACK, NLM_F_DUMP, Socket, attribute};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// Compare protocol and destination port: `CTA_FILTER_FLAG` of CTA_PROTO_NUM and CTA_PROTO_DST_PORT.
const BY_PORT: u32 = 1 << 3 | 1 << 5;

const NFPROTO_IPV4: u8 = 2;
const NLA_F_NESTED: u16 = 1 << 15;
/// Size of struct nfgenmsg.
const HEADER: usize = 4;

/// Which entries of a port are stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stale {
    /// After it is published: those that lead elsewhere.
    LeadingElsewhere,
    /// After it is withdrawn: those that lead to the container.
    LeadingThere,
}

/// One entry: where it was sent, and who answers.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    original: Vec<u8>,
    sent_to: (Ipv4Addr, u16),
    answered_by: Ipv4Addr,
}

/// Forgets the stale entries of those ports that speak UDP.
pub(super) fn forget(ports: &[Published], stale: Stale) -> Result<()> {
    let udp: Vec<_> = ports.iter().filter(|port| port.transport == Transport::Udp).collect();
    if udp.is_empty() {
        return Ok(());
    }
    let socket = Socket::netfilter()?;
    for port in udp {
        for entry in entries(&socket, port.host_port)? {
            if is_stale(&entry, port, stale) {
                delete(&socket, &entry)?;
            }
        }
    }
    Ok(())
}

fn is_stale(entry: &Entry, port: &Published, stale: Stale) -> bool {
    let (address, number) = entry.sent_to;
    let there = entry.answered_by == port.container_ip;
    number == port.host_port
        && port.bound_to().is_none_or(|bound| bound == address)
        && there == (stale == Stale::LeadingThere)
}

/// The UDP entries sent to that port. The kernel filters since 5.8; before, all come.
fn entries(socket: &Socket, port: u16) -> Result<Vec<Entry>> {
    let request = message(IPCTNL_MSG_CT_GET, NLM_F_DUMP, "IPCTNL_MSG_CT_GET")
        .nested(CTA_TUPLE_ORIG, |tuple| {
            tuple.nested(CTA_TUPLE_PROTO, |proto| {
                proto
                    .attribute(CTA_PROTO_NUM, &[Transport::Udp.number()])
                    .attribute(CTA_PROTO_DST_PORT, &port.to_be_bytes())
            })
        })
        .nested(CTA_FILTER, |filter| {
            filter
                .attribute(CTA_FILTER_ORIG_FLAGS, &BY_PORT.to_ne_bytes())
                .attribute(CTA_FILTER_REPLY_FLAGS, &0_u32.to_ne_bytes())
        });
    let mut found = Vec::new();
    socket.ask(&request, |answer| found.extend(answer.body.get(HEADER..).and_then(entry)))?;
    Ok(found)
}

fn entry(fields: &[u8]) -> Option<Entry> {
    let original = attribute(fields, CTA_TUPLE_ORIG)?;
    let proto = attribute(original, CTA_TUPLE_PROTO)?;
    if attribute(proto, CTA_PROTO_NUM)? != [Transport::Udp.number()] {
        return None;
    }
    let port = u16::from_be_bytes(attribute(proto, CTA_PROTO_DST_PORT)?.try_into().ok()?);
    let sent_to = (ipv4(original, CTA_IP_V4_DST)?, port);
    let answered_by = ipv4(attribute(fields, CTA_TUPLE_REPLY)?, CTA_IP_V4_SRC)?;
    Some(Entry { original: original.to_vec(), sent_to, answered_by })
}

fn ipv4(tuple: &[u8], kind: u16) -> Option<Ipv4Addr> {
    let value = attribute(attribute(tuple, CTA_TUPLE_IP)?, kind)?;
    <[u8; 4]>::try_from(value).map(Ipv4Addr::from).ok()
}

/// One that has ended meanwhile is no failure.
fn delete(socket: &Socket, entry: &Entry) -> Result<()> {
    let request = message(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, "IPCTNL_MSG_CT_DELETE")
        .attribute(CTA_TUPLE_ORIG | NLA_F_NESTED, &entry.original);
    match socket.request(&[request]) {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn message(act: u16, flags: u16, call: &str) -> Message {
    Message::new(NFNL_SUBSYS_CTNETLINK << 8 | act, flags, &[NFPROTO_IPV4, 0, 0, 0], call)
}
