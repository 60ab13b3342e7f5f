//! `knarr`, an OCI runtime: reads its arguments, runs one command, prints at most one error, chooses the exit code.

mod commands;
mod error;
mod hooks;
mod idmap;
mod namespaces;
mod plan;
mod proc;
mod protocol;
mod rootfs;
mod spawn;
mod spec;
mod sys;

fn main() {}
