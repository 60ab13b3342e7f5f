//! `knarr`, an OCI runtime: reads its arguments, runs one command, prints at most one error, chooses the exit code.

mod commands;
mod container;
mod error;
mod process_id;
mod record;
mod signals;
mod store;
mod sys;
mod teardown;
mod timestamp;

fn main() {}
