//! What the host uses already: for who chooses a network that must not overlap.

use crate::cidr::Cidr;
use crate::error::Result;
use crate::netlink::{Socket, address, link, route};

/// All addresses of this namespace with the names of their links.
pub fn addresses() -> Result<Vec<(String, Cidr)>> {
    let socket = Socket::route()?;
    let links = link::list(&socket)?;
    let name = |index| {
        let found = links.iter().find(|known| known.index == index);
        found.map_or_else(String::new, |known| known.name.clone())
    };
    Ok(address::list(&socket)?.into_iter().map(|(index, cidr)| (name(index), cidr)).collect())
}

/// The networks that unicast routes of this namespace lead to, default routes (a prefix of 0) left out.
pub fn routes() -> Result<Vec<Cidr>> {
    let all = route::list(&Socket::route()?)?;
    Ok(all.into_iter().filter(|destination| destination.prefix() > 0).collect())
}
