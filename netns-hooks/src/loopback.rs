//! The loopback link, which a new namespace has, but down.

use std::os::fd::BorrowedFd;

use crate::error::{During, Result};
use crate::netlink::{Socket, link};
use crate::netns;

/// The index that the kernel gives it in every namespace (LOOPBACK_IFINDEX).
const INDEX: u32 = 1;

/// Raises `lo` in `netns`; 127.0.0.1 and ::1 come with that.
pub fn raise(netns: BorrowedFd<'_>) -> Result<()> {
    netns::inside(netns, || Socket::route()?.request(&[link::raise(INDEX)])).during(|| "raise lo".to_owned())
}
