//! OCI seccomp profiles as the smallest classic BPF programs.
//!
//! [`Profile`] is `linux.seccomp` as written, [`compile`] makes a [`Program`] of it, [`Program::install`] gives it
//! to the kernel and [`notify`] tells an agent about the listener. [`Explainer`] says what a profile does to a call,
//! [`run`] what a program does, and a program prints itself: these are for people and tests.
//!
//! Invariants: only `rules` reads names, only `resolve` knows which rule wins, only `emit` knows instructions; compiling
//! does no I/O and equal profiles give equal programs; installing is one syscall and allocates nothing.
#![cfg_attr(test, allow(clippy::expect_used, reason = "a test may stop"))]

pub mod abi;
mod action;
mod arguments;
mod compile;
mod condition;
mod decision;
pub mod default_profile;
mod emit;
mod error;
mod explain;
pub mod features;
mod interpret;
pub mod notify;
mod profile;
mod program;
mod resolve;
mod rules;
mod sys;
pub mod syscalls;
mod text;

pub use abi::Abi;
pub use action::Action;
pub use compile::compile;
pub use error::Error;
pub use explain::{Because, Explainer, Explanation};
pub use interpret::{Call, Run, RunError, longest_path, run};
pub use profile::{Arg, Profile, Rule};
pub use program::{Program, SockFilter};
