//! `knarr`, an OCI runtime: reads its arguments, runs one command, prints at most one error, chooses the exit code.

mod affinity;
mod bitmask;
mod capabilities;
mod commands;
mod error;
mod identity;
mod keyring;
mod mempolicy;
mod personality;
mod pidfd_socket;
mod plan;
mod rlimits;
mod scheduler;
mod spec;
mod sys;
mod sysctl;
mod tty;
mod unix_socket;

fn main() {}
