//! `knarrd` is killed at any moment and started again: its containers run on, and nothing is lost or left.
//!
//! Each test has an engine of its own in namespaces of its own, and speaks HTTP to it.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

mod attach;
mod client;
mod daemon;
mod ends;
#[path = "../engines/image.rs"]
mod image;
mod nest;
mod states;
mod storm;
mod transfers;
mod versions;
mod writer;
