//! OCI seccomp profiles as the smallest classic BPF programs.
//!
//! [`Profile`] is `linux.seccomp` as written, [`compile`] makes a [`Program`] of it, [`Program::install`] gives it
//! to the kernel.

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
mod profile;
mod program;
mod resolve;
mod rules;
mod sys;
pub mod syscalls;

pub use abi::Abi;
pub use action::Action;
pub use compile::compile;
pub use error::Error;
pub use explain::{Because, Explainer, Explanation};
pub use interpret::{Call, Run, RunError, longest_path, run};
pub use profile::{Arg, Profile, Rule};
pub use program::{Program, SockFilter};
