//! A seccomp agent: what listens at `listenerPath`, gets the listener of a container's filter, and answers the calls that
//! wait there (config-linux.md, "The Container Process State"; seccomp_unotify(2)).

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

use crate::console::readable;
use crate::sys::{self, SeccompAnswer, SeccompNotification};
use crate::wait::PATIENCE;

/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const CONTINUE: u32 = 1;

/// A socket that runtimes connect to.
pub struct Agent {
    socket: UnixListener,
    path: String,
}

impl Agent {
    /// Listens at a path, or at an abstract address: `@name`.
    pub fn listen(path: &str) -> Self {
        let socket = match path.strip_prefix('@') {
            Some(name) => {
                SocketAddr::from_abstract_name(name).and_then(|address| UnixListener::bind_addr(&address))
            }
            None => UnixListener::bind(path),
        };
        let socket = socket.unwrap_or_else(|error| panic!("listen on {path}: {error}"));
        Self { socket, path: path.to_owned() }
    }

    /// What the next runtime sends: the message, and the listener with it.
    pub fn accept(&self) -> (Value, Listener) {
        assert!(readable(&self.socket, PATIENCE), "nobody connected to {}", self.path);
        let (mut stream, _) = self.socket.accept().unwrap_or_else(|error| panic!("accept: {error}"));
        assert!(readable(&stream, PATIENCE), "nothing came to {}", self.path);
        let mut text = vec![0; 65536];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&stream, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC);
        text.truncate(received.map_or(0, |message| message.bytes));
        let fds: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        let [fd] = <[OwnedFd; 1]>::try_from(fds)
            .unwrap_or_else(|fds| panic!("{} descriptors came with the message", fds.len()));
        (rest_of(&mut stream, text), Listener(fd))
    }
}

/// The message that begins with `text`. runc leaves the connection open, so its end cannot be waited for.
fn rest_of(stream: &mut UnixStream, mut text: Vec<u8>) -> Value {
    loop {
        match serde_json::from_slice(&text) {
            Ok(message) => return message,
            Err(error) => {
                let mut more = [0; 4096];
                let length =
                    if readable(&*stream, PATIENCE) { stream.read(&mut more).unwrap_or(0) } else { 0 };
                assert!(length > 0, "not JSON: {error}: {}", String::from_utf8_lossy(&text));
                text.extend_from_slice(&more[..length]);
            }
        }
    }
}

/// Where calls wait for an answer.
pub struct Listener(OwnedFd);

impl Listener {
    /// The next call.
    pub fn receive(&self) -> SeccompNotification {
        let call = self.receive_or_end();
        call.unwrap_or_else(|| panic!("no process is left under the filter"))
    }

    /// The next call, or `None` when no process is left that could make one.
    pub fn receive_or_end(&self) -> Option<SeccompNotification> {
        let limit = Timespec::try_from(PATIENCE).ok();
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        let polled = poll(&mut ready, limit.as_ref());
        assert_eq!(polled, Ok(1), "no call waits at the listener");
        if !ready[0].revents().contains(PollFlags::IN) {
            return None;
        }
        let call = sys::receive_notification(self.0.as_fd());
        Some(call.unwrap_or_else(|error| panic!("receive a call: {error}")))
    }

    /// The call fails with `errno`.
    pub fn fail(&self, call: &SeccompNotification, errno: i32) {
        self.answer(&SeccompAnswer { id: call.id, error: -errno, ..SeccompAnswer::default() });
    }

    /// The call returns `value` without being done.
    pub fn return_value(&self, call: &SeccompNotification, value: i64) {
        self.answer(&SeccompAnswer { id: call.id, value, ..SeccompAnswer::default() });
    }

    /// The call is done.
    pub fn let_pass(&self, call: &SeccompNotification) {
        self.answer(&SeccompAnswer { id: call.id, flags: CONTINUE, ..SeccompAnswer::default() });
    }

    fn answer(&self, answer: &SeccompAnswer) {
        let sent = sys::answer_notification(self.0.as_fd(), answer);
        assert!(sent.is_ok(), "answer a call: {sent:?}");
    }
}
