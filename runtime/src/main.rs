//! `knarr`, an OCI runtime: reads its arguments, runs one command, prints at most one error, chooses the exit code.

mod affinity;
mod bitmask;
mod capabilities;
mod commands;
mod error;
mod fds;
mod identity;
mod interpreter;
mod keyring;
mod mempolicy;
mod personality;
mod pidfd_socket;
mod plan;
mod program;
mod rlimits;
mod scheduler;
mod spec;
mod sys;
mod sysctl;
mod tty;
mod unix_socket;
mod users;

fn main() {}
