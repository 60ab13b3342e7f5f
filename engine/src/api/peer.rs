//! The client's end of a connection: bytes to and from it, and whether it is still there.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket. Clones are the same connection: one is read and written, others watch.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    socket: Arc<Socket>,
    apart: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// What a client counts as that sends no more over TCP: there it cannot be told whether it still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InDoubt {
    There,
    Gone,
}

/// Calls the same method of either socket.
macro_rules! either {
    ($peer:expr, $stream:ident => $call:expr) => {
        match &*$peer.socket {
            Socket::Unix($stream) => $call,
            Socket::Tcp($stream) => $call,
        }
    };
}

impl Peer {
    pub(super) fn unix(stream: UnixStream) -> Self {
        Self::of(Socket::Unix(stream))
    }

    pub(super) fn tcp(stream: TcpStream) -> Self {
        Self::of(Socket::Tcp(stream))
    }

    fn of(socket: Socket) -> Self {
        Self { socket: Arc::new(socket), apart: Arc::default() }
    }

    /// From here to [`Self::end_apart`], no read of the client has what is written together with what comes later.
    ///
    /// docker-py reads the head of an answer through a buffer, and loses what that gets beyond the head. A Unix socket ends a
    /// read where a descriptor was passed, one that nobody takes as well; TLS ends it with a record. TCP alone has nothing of
    /// the kind: there the head is sent first, as dockerd does, and no more can be done.
    pub(super) fn begin_apart(&self) {
        self.apart.store(true, Ordering::Release);
    }

    pub(super) fn end_apart(&self) {
        self.apart.store(false, Ordering::Release);
    }

    /// Completes when the client has closed the connection. One that has closed its sending side alone is there: it reads
    /// on. If it goes later, the next write fails, and nothing tells before.
    pub(super) async fn gone(&self, in_doubt: InDoubt) {
        // What comes with no data but the end of it: neither priority data, which nobody sends, nor anything else completes
        // this wait, so that it does not disturb reading.
        let end = either!(self, stream => stream.ready(Interest::PRIORITY).await);
        let is_gone = match &*self.socket {
            _ if end.is_err() => true,
            Socket::Unix(stream) => is_hung_up(stream.as_fd()),
            Socket::Tcp(stream) => in_doubt == InDoubt::Gone || is_hung_up(stream.as_fd()),
        };
        if !is_gone {
            std::future::pending::<()>().await;
        }
    }
}

impl Peer {
    fn try_write(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match &*self.socket {
            Socket::Unix(stream) if self.apart.load(Ordering::Acquire) => {
                match stream.try_io(Interest::WRITABLE, || write_with_descriptor(stream, slices)) {
                    // The client has forbidden it (SO_PASSRIGHTS).
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        stream.try_write_vectored(slices)
                    }
                    written => written,
                }
            }
            Socket::Unix(stream) => stream.try_write_vectored(slices),
            Socket::Tcp(stream) => stream.try_write_vectored(slices),
        }
    }
}

/// The descriptor is one that everybody has.
fn write_with_descriptor(stream: &UnixStream, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
    let null = File::open("/dev/null")?;
    let descriptors = [null.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    if !message.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no space for a descriptor"));
    }
    Ok(sendmsg(stream, slices, &mut message, SendFlags::NOSIGNAL)?)
}

/// Neither side is open any more.
fn is_hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut sockets = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut sockets, Some(&now)).is_ok_and(|count| count > 0)
        && sockets[0].revents().contains(PollFlags::HUP)
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(either!(self, stream => stream.poll_read_ready(context)))?;
            match either!(self, stream => stream.try_read_buf(buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(self, stream => stream.poll_write_ready(context)))?;
            match self.try_write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = either!(self, stream => rustix::net::shutdown(stream.as_fd(), Shutdown::Write));
        Poll::Ready(closed.map_err(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as StdUnixStream;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    async fn is_gone(peer: &Peer) -> bool {
        timeout(SOON, peer.gone(InDoubt::There)).await.is_ok()
    }

    fn pair() -> (Peer, StdUnixStream) {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Peer::unix(UnixStream::from_std(ours).unwrap()), theirs)
    }

    #[tokio::test]
    async fn what_is_apart_is_read_alone() {
        let (mut peer, theirs) = pair();
        peer.begin_apart();
        peer.write_all(b"head").await.unwrap();
        peer.end_apart();
        peer.write_all(b"out").await.unwrap();
        peer.write_all(b"put").await.unwrap();
        let mut buffer = [0; 64];
        for want in ["head", "output"] {
            let count = io::Read::read(&mut &theirs, &mut buffer).unwrap();
            assert_eq!(&buffer[..count], want.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_client_is_gone_when_it_has_closed_both_sides() {
        let (mut peer, theirs) = pair();
        let mut text = [0; 5];
        io::Write::write_all(&mut &theirs, b"input").unwrap();
        assert!(!is_gone(&peer).await, "it has sent something");
        peer.read_exact(&mut text).await.unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!is_gone(&peer).await, "it still reads");
        peer.write_all(b"output").await.unwrap();
        peer.shutdown().await.unwrap();
        let mut read = String::new();
        io::Read::read_to_string(&mut &theirs, &mut read).unwrap();
        assert_eq!((text.as_slice(), read.as_str()), (b"input".as_slice(), "output"));
        let (peer, theirs) = pair();
        io::Write::write_all(&mut &theirs, b"unread").unwrap();
        drop(theirs);
        assert!(is_gone(&peer).await);
    }
}
