//! `knarr`, an OCI runtime: reads its arguments, runs one command, prints at most one error, chooses the exit code.

mod affinity;
mod bitmask;
mod capabilities;
mod commands;
mod container;
mod error;
mod hooks;
mod host;
mod identity;
mod idmap;
mod keyring;
mod mempolicy;
mod namespaces;
mod net_devices;
mod netlink;
mod personality;
mod pidfd_socket;
mod plan;
mod process_id;
mod protocol;
mod record;
mod rlimits;
mod scheduler;
mod sealed_exe;
mod signals;
mod spawn;
mod spec;
mod start_gate;
mod store;
mod sys;
mod teardown;
mod timestamp;

fn main() {}
