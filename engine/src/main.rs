//! `knarrd`: Docker's Engine API. This file reads the flags, starts the engine and serves it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod container;
mod engine;
mod error;
mod events;
mod settings;
mod wire;

fn main() {}
