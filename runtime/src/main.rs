//! `knarr`, an OCI runtime: reads its arguments, runs one command, prints at most one error, chooses the exit code.

mod affinity;
mod bitmask;
mod capabilities;
mod commands;
mod error;
mod fds;
mod foreground;
mod hooks;
mod host_terminal;
mod identity;
mod idmap;
mod interpreter;
mod keyring;
mod lsm;
mod mempolicy;
mod namespaces;
mod notify_socket;
mod oom_score;
mod personality;
mod pidfd_socket;
mod plan;
mod proc;
mod program;
mod protocol;
mod rlimits;
mod rootfs;
mod scheduler;
mod signals;
mod spawn;
mod spec;
mod sys;
mod sysctl;
mod terminal_proxy;
mod tty;
mod unix_socket;
mod users;
mod working_directory;

fn main() {}
