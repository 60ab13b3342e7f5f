//! `knarr`, an OCI runtime: reads its arguments, runs one command, prints at most one error, chooses the exit code.

mod commands;
mod container;
mod error;
mod hooks;
mod idmap;
mod namespaces;
mod plan;
mod process_id;
mod protocol;
mod record;
mod signals;
mod spawn;
mod spec;
mod store;
mod sys;
mod teardown;
mod timestamp;

fn main() {}
