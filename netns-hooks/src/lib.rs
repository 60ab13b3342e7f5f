//! Puts a container's network namespace on a network: bridges of the host, links and addresses of the container, and
//! the firewall rules between them.
//!
//! Nothing is decided here. Who calls, the engine or `knarr-netns` as an OCI hook for it, has chosen every name, address
//! and port; this crate applies the choice in an order that can be undone. It speaks netlink(7) itself and runs `nft` only
//! where a whole rule set is replaced. The reasons stand in `docs/design/network.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod attachment;
pub mod bridge;
mod cidr;
mod error;
pub mod firewall;
pub mod host;
pub mod interface;
mod link_name;
pub mod loopback;
mod mac;
mod netlink;
mod netns;
mod setup;
mod sysctl;

pub use attachment::{
    Attachment, Interface, IpvlanFlag, IpvlanMode, Link, MacvlanMode, Published, Route, Transport,
};
pub use bridge::{Bridge, Neighbours, Reach};
pub use cidr::Cidr;
pub use error::{Error, Result, chain};
pub use firewall::Table;
pub use link_name::LinkName;
pub use mac::Mac;
pub use netns::{of_process, open};
pub use setup::{setup, teardown};
pub use sysctl::LinkSysctl;
