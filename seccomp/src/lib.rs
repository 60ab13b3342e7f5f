//! OCI seccomp profiles as the smallest classic BPF programs.
//!
//! [`Profile`] is `linux.seccomp` as written, [`compile`] makes a [`Program`] of it, [`Program::install`] gives it
//! to the kernel and [`notify`] tells an agent about the listener.

pub mod abi;
mod error;
pub mod features;
mod profile;
mod program;
mod sys;
pub mod syscalls;

pub use error::Error;
pub use profile::{Arg, Profile, Rule};
pub use program::{Program, SockFilter};

/// Compiles a profile for the architecture of this build.
pub fn compile(_profile: &Profile) -> Result<Program, Error> {
    Err(Error::Unfinished)
}
