//! The store and what is built on it, against real registries, archives of real tools, and the real kernel. As root.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test ends where an expectation fails

mod archives;
mod crash;
mod difference;
mod facts;
mod load;
mod pull;
mod registry;
mod remove;
mod rootless;
mod store;
mod world;
