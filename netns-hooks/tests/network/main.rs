//! The crate against the real kernel: every test has a host, an outside and containers of its own, all of them network
//! namespaces that end with the test. Needs root and nft(8).
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test ends where an expectation fails

mod hook;
mod leftovers;
mod ports;
mod reach;
mod traffic;
mod world;
