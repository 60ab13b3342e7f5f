//! A netlink socket: requests out, answers in. It belongs to the network namespace it was opened in, for good.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::{Message, NLMSG_DONE, NLMSG_ERROR, Received, messages, u32_at};
use crate::error::{Named, Result};

/// The kernel fills dumps in buffers of at most this size (netlink(7)).
const BUFFER: usize = 32 * 1024;
/// In the send buffer that a socket has by default.
const ALWAYS_FITS: usize = 64 * 1024;

pub(crate) struct Socket {
    socket: OwnedFd,
    next: Cell<u32>,
}

impl Socket {
    /// For links, addresses and routes.
    pub(crate) fn route() -> Result<Self> {
        // Protocol 0.
        Self::open(None, "socket(AF_NETLINK, NETLINK_ROUTE)")
    }

    /// For nf_tables.
    pub(crate) fn netfilter() -> Result<Self> {
        Self::open(Some(netlink::NETFILTER), "socket(AF_NETLINK, NETLINK_NETFILTER)")
    }

    fn open(protocol: Option<Protocol>, call: &str) -> Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .named(|| call.to_owned())?;
        Ok(Self { socket, next: Cell::new(1) })
    }

    /// Sends the messages at once. The kernel takes them one by one and goes on after a failure; the first failure is the
    /// answer, and the caller undoes the rest.
    pub(crate) fn request(&self, batch: &[Message]) -> Result<()> {
        let Some(call) = batch.first().map(|message| message.call.as_str()) else { return Ok(()) };
        let first = self.next.get();
        let numbered: Vec<_> = (first..).zip(batch).collect();
        self.next.set(first + u32::try_from(batch.len()).unwrap_or(0));
        let bytes: Vec<u8> =
            numbered.iter().flat_map(|(sequence, message)| message.numbered(*sequence)).collect();
        self.make_room(bytes.len()).named(|| "setsockopt(SO_SNDBUFFORCE)".to_owned())?;
        send(&self.socket, &bytes, SendFlags::empty()).named(|| call.to_owned())?;
        let mut due = batch.iter().filter(|message| message.asks_for_answer()).count();
        let mut failure = None;
        while due > 0 {
            self.receive(call, |answer| {
                if answer.kind != NLMSG_ERROR || answer.sequence < first {
                    return;
                }
                let asked = numbered.iter().find(|(sequence, _)| *sequence == answer.sequence);
                let refused = error_code(answer.body).err();
                // Nobody asks for an answer to the brackets of a batch: one comes when all of it was refused.
                due = if asked.is_some_and(|(_, message)| message.asks_for_answer()) { due - 1 } else { 0 };
                if let (None, Some(errno)) = (&failure, refused) {
                    failure = Some((asked.map_or(call, |(_, message)| &message.call).to_owned(), errno));
                }
            })?;
        }
        match failure {
            None => Ok(()),
            Some((call, errno)) => Err(errno).named(|| call),
        }
    }

    /// A transaction is one datagram, however many ports there are.
    fn make_room(&self, length: usize) -> rustix::io::Result<()> {
        if length < ALWAYS_FITS {
            return Ok(());
        }
        // The kernel counts its own overhead as well.
        set_socket_send_buffer_size_force(&self.socket, length * 2)
    }

    /// Sends a request and hands over each answer, to its acknowledgement or to the end of its dump.
    pub(crate) fn ask(&self, message: &Message, mut each: impl FnMut(Received<'_>)) -> Result<()> {
        let sequence = self.next.replace(self.next.get() + 1);
        let call = message.call.as_str();
        send(&self.socket, &message.numbered(sequence), SendFlags::empty()).named(|| call.to_owned())?;
        let mut end = None;
        while end.is_none() {
            self.receive(call, |answer| match answer.kind {
                _ if answer.sequence != sequence => {}
                NLMSG_ERROR | NLMSG_DONE => end = Some(error_code(answer.body)),
                _ => each(answer),
            })?;
        }
        end.unwrap_or(Ok(())).named(|| call.to_owned())
    }

    fn receive(&self, call: &str, each: impl FnMut(Received<'_>)) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        let answer = rustix::io::retry_on_intr(|| recv(&self.socket, &mut buffer[..], RecvFlags::empty()));
        let (length, _) = answer.named(|| call.to_owned())?;
        messages(&buffer[..length]).for_each(each);
        Ok(())
    }
}

/// What NLMSG_ERROR and NLMSG_DONE begin with: zero or a negative errno.
fn error_code(body: &[u8]) -> std::result::Result<(), Errno> {
    match u32_at(body, 0).map(u32::cast_signed) {
        Some(code) if code < 0 => Err(Errno::from_raw_os_error(-code)),
        _ => Ok(()),
    }
}
