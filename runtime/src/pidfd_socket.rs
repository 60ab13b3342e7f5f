//! `--pidfd-socket`: hands the caller a pidfd of the container's process.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::{During as _, Result};
use crate::unix_socket;

/// Whose pidfd it is; sent along as text, in runc's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first process of the container.
    Init,
    /// A process joined to it.
    Exec,
}

/// Connects before anything exists, so that a wrong path fails early.
pub(crate) fn connect(path: &Path) -> Result<OwnedFd> {
    unix_socket::connect_to(path).during(|| format!("failed to dial {}", path.display()))
}

/// Sends it and hangs up.
pub(crate) fn send(socket: OwnedFd, pidfd: BorrowedFd<'_>, kind: Kind) -> Result<()> {
    let text: &[u8] = match kind {
        Kind::Init => b"standard",
        Kind::Exec => b"setns",
    };
    let sent =
        unix_socket::send(socket.as_fd(), pidfd, text).during(|| "failed to send pidfd on socket".into());
    // One message is all there is.
    drop(socket);
    sent
}
