//! What can be wrong with a profile, and what the kernel or an agent can refuse.

use std::io;

/// Why a profile cannot be compiled, installed or announced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The compiler is not there yet.
    #[error("seccomp compiler is unfinished")]
    Unfinished,
    /// seccomp(2) refused the filter.
    #[error("error loading seccomp filter into kernel: error loading seccomp filter")]
    Install(#[source] io::Error),
}
