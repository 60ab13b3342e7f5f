//! A small blocking D-Bus client: enough to ask systemd for units and to wait for its answer. No threads, no signals
//! but the one that is waited for, no descriptors in messages. See the D-Bus specification, 0.43.

mod address;
mod connection;
mod message;
mod value;

pub(crate) use connection::{Bus, Connection};
pub(crate) use message::Call;
pub(crate) use value::{Value, split_type};
