//! Network namespaces: naming one, and doing something inside.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Error, Named, Result};

/// The network namespace of a process. The caller makes sure that the process is still the one it means.
pub fn of_process(pid: u32) -> Result<OwnedFd> {
    open(Path::new(&format!("/proc/{pid}/ns/net")))
}

/// A network namespace by a path: below /proc, or where one is bound.
pub fn open(path: &Path) -> Result<OwnedFd> {
    let read = |source: std::io::Error| Error::Read { path: path.to_owned(), source };
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    file.map_err(|errno| read(errno.into()))
}

/// Does `act` on a thread that has entered `netns` and ends there: no thread ever has to come back.
pub(crate) fn inside<T: Send>(netns: BorrowedFd<'_>, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, move || {
            move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
                .named(|| "setns(CLONE_NEWNET)".to_owned())?;
            act()
        });
        let ended = thread.named(|| "start a thread for the namespace".to_owned())?.join();
        // A panic there is a panic here.
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Whether the two are the same namespace.
pub(crate) fn same(one: impl AsFd, other: impl AsFd) -> Result<bool> {
    let identity = |fd: BorrowedFd<'_>| {
        rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).named(|| "fstat(netns)".to_owned())
    };
    Ok(identity(one.as_fd())? == identity(other.as_fd())?)
}

/// The namespace this thread is in.
pub(crate) fn current() -> Result<OwnedFd> {
    let path = Path::new("/proc/thread-self/ns/net");
    File::open(path).map(OwnedFd::from).map_err(|source| Error::Read { path: path.to_owned(), source })
}
