//! Elements of the maps of published ports, by netlink (linux/netfilter/nf_tables.h): no program is started for a
//! container's ports, and all of them come in one transaction.
//!
//! A key is the fields of a concatenation, each padded to four bytes, in network byte order.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use super::Table;
use super::conntrack::{self, Stale};
use super::nf_tables::{
    HEADER, NFPROTO_IPV4, NFT_MSG_DELSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_NEWSETELEM, NFTA_DATA_VALUE,
    NFTA_LIST_ELEM, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS,
    NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, message, transaction,
};
use crate::attachment::Published;
use crate::error::{Error, Result};
use crate::netlink::{Message, NLM_F_ACK, NLM_F_CREATE, Socket, attribute, attributes};

/// Elements in one message: its attributes have 64 KiB, and an element takes 48 bytes.
const ELEMENTS: usize = 1000;

/// Where a published port stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Map {
    Anywhere,
    AtAddress,
}

impl Map {
    fn name(self) -> &'static str {
        match self {
            Self::Anywhere => "published",
            Self::AtAddress => "published_at",
        }
    }

    fn of(port: &Published) -> Self {
        if port.bound_to().is_some() { Self::AtAddress } else { Self::Anywhere }
    }
}

/// Publishes the ports, all or none. A port that leads there already is no failure; one that leads elsewhere is.
pub fn publish(table: &Table, ports: &[Published]) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let failed = |error: Error| match error.errno() {
        Some(Errno::NOENT) => {
            Error::Conflict(format!("nftables table {table} is not there, or not of this make"))
        }
        Some(Errno::BUSY | Errno::EXIST) => Error::Conflict("port is already published".to_owned()),
        _ => error,
    };
    let listed = || ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let act = |error| Error::During { act: format!("publish {}", listed()), source: Box::new(failed(error)) };
    change(NFT_MSG_NEWSETELEM, table, ports).map_err(act)?;
    conntrack::forget(ports, Stale::LeadingElsewhere).inspect_err(|_| {
        // The failure that is reported is the first one.
        let _ = withdraw(table, ports);
    })
}

/// Withdraws the ports. What is not there is no failure; a port that leads elsewhere by now is left alone.
pub fn withdraw(table: &Table, ports: &[Published]) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut ours = Vec::new();
    let socket = Socket::netfilter()?;
    for port in ports {
        if leads_to(&socket, table, port)? == Some(data(port)) {
            ours.push(*port);
        }
    }
    match change(NFT_MSG_DELSETELEM, table, &ours) {
        Err(error) if error.errno() == Some(Errno::NOENT) => one_by_one(table, &ours)?,
        other => other?,
    }
    conntrack::forget(&ours, Stale::LeadingThere)
}

/// After something else has removed some of them.
fn one_by_one(table: &Table, ports: &[Published]) -> Result<()> {
    ports.iter().try_for_each(|port| match change(NFT_MSG_DELSETELEM, table, &[*port]) {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        other => other,
    })
}

fn change(act: u16, table: &Table, ports: &[Published]) -> Result<()> {
    let mut messages = Vec::new();
    for map in [Map::Anywhere, Map::AtAddress] {
        let of_map: Vec<_> = ports.iter().filter(|port| Map::of(port) == map).collect();
        messages.extend(of_map.chunks(ELEMENTS).map(|chunk| elements(act, table, map, chunk)));
    }
    if messages.is_empty() {
        return Ok(());
    }
    Socket::netfilter()?.request(&transaction(messages))
}

/// Where the port leads now.
fn leads_to(socket: &Socket, table: &Table, port: &Published) -> Result<Option<Vec<u8>>> {
    let question = elements(NFT_MSG_GETSETELEM, table, Map::of(port), &[port]);
    let mut found = None;
    let answered = socket.ask(&question, |answer| found = answer.body.get(HEADER..).and_then(first_data));
    match answered {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
        other => other.map(|()| found),
    }
}

fn first_data(fields: &[u8]) -> Option<Vec<u8>> {
    let list = attribute(fields, NFTA_SET_ELEM_LIST_ELEMENTS)?;
    let (_, element) = attributes(list).next()?;
    let data = attribute(element, NFTA_SET_ELEM_DATA)?;
    attribute(data, NFTA_DATA_VALUE).map(<[u8]>::to_vec)
}

fn elements(act: u16, table: &Table, map: Map, ports: &[&Published]) -> Message {
    let name = map.name();
    let (flags, call) = match act {
        NFT_MSG_NEWSETELEM => (NLM_F_ACK | NLM_F_CREATE, "NFT_MSG_NEWSETELEM"),
        NFT_MSG_DELSETELEM => (NLM_F_ACK, "NFT_MSG_DELSETELEM"),
        _ => (NLM_F_ACK, "NFT_MSG_GETSETELEM"),
    };
    message(NFPROTO_IPV4, act, flags, format!("{call}({table} {name})"))
        .text(NFTA_SET_ELEM_LIST_TABLE, table.as_str())
        .text(NFTA_SET_ELEM_LIST_SET, name)
        .nested(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
            ports.iter().fold(list, |list, port| {
                list.nested(NFTA_LIST_ELEM, |element| {
                    let element =
                        element.nested(NFTA_SET_ELEM_KEY, |nest| nest.attribute(NFTA_DATA_VALUE, &key(port)));
                    if act != NFT_MSG_NEWSETELEM {
                        return element;
                    }
                    element.nested(NFTA_SET_ELEM_DATA, |nest| nest.attribute(NFTA_DATA_VALUE, &data(port)))
                })
            })
        })
}

fn key(port: &Published) -> Vec<u8> {
    let mut key = port.bound_to().map_or_else(Vec::new, |address| address.octets().to_vec());
    key.extend([port.transport.number(), 0, 0, 0]);
    key.extend(padded(port.host_port));
    key
}

fn data(port: &Published) -> Vec<u8> {
    let address: Ipv4Addr = port.container_ip;
    [address.octets(), padded(port.container_port)].concat()
}

fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::Transport;

    #[test]
    fn keys_are_padded_fields_in_network_byte_order() {
        let mut port = Published {
            transport: Transport::Udp,
            host_ip: None,
            host_port: 53,
            container_ip: Ipv4Addr::new(1, 2, 3, 4),
            container_port: 80,
        };
        // What nft --debug=netlink shows for `udp . 53 : 1.2.3.4 . 80`.
        assert_eq!(key(&port), [17, 0, 0, 0, 0, 53, 0, 0]);
        assert_eq!(data(&port), [1, 2, 3, 4, 0, 80, 0, 0]);
        port.host_ip = Some(Ipv4Addr::LOCALHOST);
        assert_eq!(key(&port), [127, 0, 0, 1, 17, 0, 0, 0, 0, 53, 0, 0]);
        port.host_ip = Some(Ipv4Addr::UNSPECIFIED);
        assert_eq!(key(&port), [17, 0, 0, 0, 0, 53, 0, 0], "0.0.0.0 is every address");
    }
}
