//! Unix sockets that carry descriptors (unix(7), `SCM_RIGHTS`): the console, pidfd and notify sockets of who called us.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg,
    socket_with,
};

use crate::error::{Error, Result};
use crate::sys::{self, Errno, Named as _};

/// Connects to the stream socket at `path`, which may be longer than an address can hold. The socket itself must
/// not be a symbolic link, so that who may write to its directory cannot point us to another.
pub(crate) fn connect_to(path: &Path) -> Result<OwnedFd> {
    let inode = openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .named(|| format!("open {}", path.display()))?;
    let stat = fstat(&inode).named(|| format!("fstat {}", path.display()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(Error::Usage(format!("{} is not a socket", path.display())));
    }
    let address = address(&format!("/proc/self/fd/{}", inode.as_raw_fd()))?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .named(|| "socket(AF_UNIX)".into())?;
    connect(&socket, &address).named(|| format!("connect {}", path.display()))?;
    Ok(socket)
}

/// The address of a socket in the file system, or of an abstract one where `path` starts with `@`.
pub(crate) fn address(path: &str) -> Result<SocketAddrUnix> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        None => SocketAddrUnix::new(path),
    };
    Ok(address.named(|| format!("socket address {path}"))?)
}

/// Sends one descriptor with a text.
pub(crate) fn send(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>, text: &[u8]) -> Result<()> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(sys::Error { call: "sendmsg control buffer".into(), errno: Errno::NOBUFS }.into());
    }
    sys::retry(|| sendmsg(socket, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL))
        .named(|| "sendmsg(SCM_RIGHTS)".into())?;
    Ok(())
}

/// Receives a message and the first descriptor that came with it; more are closed. Returns the message's length.
pub(crate) fn receive(socket: BorrowedFd<'_>, message: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = sys::retry(|| {
        recvmsg(socket, &mut [IoSliceMut::new(message)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })
    .named(|| "recvmsg(SCM_RIGHTS)".into())?;
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok((received.bytes, fds.flatten().next()))
}

/// The other end, which is an engine's.
#[cfg(test)]
pub(crate) mod peer {
    use rustix::net::socketpair;

    use super::*;

    /// The longest text a message of ours or of an engine carries beside its descriptor.
    const MAX_TEXT: usize = 4096;

    /// A descriptor and the text that came with it.
    #[derive(Debug)]
    pub(crate) struct Received {
        pub(crate) fd: OwnedFd,
        pub(crate) text: Vec<u8>,
    }

    /// Two connected stream sockets.
    pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
        let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .named(|| "socketpair(AF_UNIX)".into())?;
        Ok(pair)
    }

    /// Receives one descriptor with its text; more descriptors are closed.
    pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<Received> {
        let mut text = vec![0; MAX_TEXT];
        let (length, fd) = super::receive(socket, &mut text)?;
        let fd = fd.ok_or(sys::Error { call: "recvmsg(SCM_RIGHTS)".into(), errno: Errno::NODATA })?;
        text.truncate(length);
        Ok(Received { fd, text })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixListener;

    use super::peer::{pair, receive};
    use super::*;

    #[test]
    fn a_descriptor_and_its_text_arrive() {
        let (ours, theirs) = pair().expect("a pair");
        let file = std::fs::File::open("/dev/null").expect("open");
        send(ours.as_fd(), file.as_fd(), b"/dev/pts/7").expect("send");
        let received = receive(theirs.as_fd()).expect("receive");
        assert_eq!(received.text, b"/dev/pts/7");
        let (sent, got) = (fstat(&file).expect("stat"), fstat(&received.fd).expect("stat"));
        assert_eq!((sent.st_dev, sent.st_ino), (got.st_dev, got.st_ino));
    }

    #[test]
    fn a_closed_peer_and_a_message_without_a_descriptor_are_errors() {
        let (ours, theirs) = pair().expect("a pair");
        rustix::io::write(&ours, b"no fd").expect("write");
        assert_eq!(
            receive(theirs.as_fd()).expect_err("no descriptor").errno(),
            Some(Errno::NODATA.raw_os_error())
        );
        drop(ours);
        assert!(receive(theirs.as_fd()).is_err());
    }

    #[test]
    fn a_long_path_is_reached_and_a_link_is_not_followed() {
        let dir =
            std::env::temp_dir().join(format!("knarr-socket-{}-{}", std::process::id(), "d".repeat(120)));
        std::fs::create_dir_all(&dir).expect("mkdir");
        let short = dir.parent().expect("parent").join(format!("knarr-socket-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&short).expect("bind");
        let long = dir.join("sock");
        std::fs::rename(&short, &long).expect("rename");
        let link = dir.join("link");
        std::os::unix::fs::symlink(&long, &link).expect("symlink");

        let reached = connect_to(&long);
        let through_link = connect_to(&link);
        let to_directory = connect_to(&dir);
        std::fs::remove_dir_all(&dir).expect("clean up");

        drop(reached.expect("connect through a long path"));
        listener.accept().expect("a connection");
        assert!(through_link.expect_err("a link").line().ends_with("is not a socket"));
        assert!(to_directory.expect_err("a directory").line().ends_with("is not a socket"));
    }
}
