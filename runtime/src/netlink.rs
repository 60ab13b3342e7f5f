//! The few rtnetlink(7) messages the runtime needs: find a link, read its addresses, move it, address it, raise it.
//!
//! One socket, one request at a time. The layout is that of linux/netlink.h and linux/rtnetlink.h: a header of 16
//! bytes, a family header, attributes padded to 4 bytes, all in the host's byte order.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::sys::{self, Errno, Named};

/// Attribute types of linux/if_link.h and linux/if_addr.h.
const IFLA_IFNAME: u16 = libc::IFLA_IFNAME;
const IFLA_NET_NS_FD: u16 = libc::IFLA_NET_NS_FD;

const HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
/// The kernel fills dumps in buffers of at most this size (netlink(7)).
const BUFFER: usize = 32 * 1024;

/// An address of a link, as RTM_GETADDR gave it and RTM_NEWADDR takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// struct ifaddrmsg.
    header: [u8; ADDRESS_HEADER],
    /// IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST, IFA_LABEL-free attributes, with their headers.
    attributes: Vec<u8>,
}

/// A NETLINK_ROUTE socket of the network namespace it was opened in.
pub(crate) struct Route {
    socket: OwnedFd,
}

impl Route {
    pub(crate) fn open() -> sys::Result<Self> {
        // Protocol 0 is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None);
        Ok(Self { socket: socket.named(|| "socket(AF_NETLINK, NETLINK_ROUTE)".into())? })
    }

    /// The index of the link called `name`.
    pub(crate) fn link_index(&self, name: &str) -> sys::Result<u32> {
        let call = || format!("RTM_GETLINK({name:?})");
        let mut request = Request::link(libc::RTM_GETLINK, 0, 0, 0);
        request.attribute(IFLA_IFNAME, &zero_terminated(name));
        let mut index = None;
        self.talk(request, call, |kind, body| {
            if kind == libc::RTM_NEWLINK {
                index = body.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
            }
        })?;
        index.ok_or_else(|| sys::Error { call: call(), errno: Errno::NODEV })
    }

    /// The global unicast addresses of a link that somebody set: what the kernel makes by itself comes back by itself.
    pub(crate) fn addresses(&self, index: u32) -> sys::Result<Vec<Address>> {
        let mut request = Request::new(libc::RTM_GETADDR, libc::NLM_F_DUMP);
        request.bytes.extend([0; ADDRESS_HEADER]);
        let mut addresses = Vec::new();
        self.talk(
            request,
            || format!("RTM_GETADDR({index})"),
            |kind, body| {
                if kind == libc::RTM_NEWADDR {
                    addresses.extend(Address::parse(body, index));
                }
            },
        )?;
        Ok(addresses)
    }

    pub(crate) fn add_address(&self, index: u32, address: &Address) -> sys::Result<()> {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut request = Request::new(libc::RTM_NEWADDR, flags);
        request.bytes.extend(address.header);
        let at = request.bytes.len() - 4;
        request.bytes[at..].copy_from_slice(&index.to_ne_bytes());
        request.bytes.extend(&address.attributes);
        self.talk(request, || format!("RTM_NEWADDR({index})"), |_, _| {})
    }

    /// Moves a link into the namespace behind `netns` (a descriptor number), under a new name.
    pub(crate) fn move_link(&self, index: u32, netns: i32, name: &str) -> sys::Result<()> {
        let mut request = Request::link(libc::RTM_NEWLINK, index, 0, 0);
        request.attribute(IFLA_NET_NS_FD, &netns.to_ne_bytes());
        request.attribute(IFLA_IFNAME, &zero_terminated(name));
        self.talk(request, || format!("RTM_NEWLINK({index}, netns, {name:?})"), |_, _| {})
    }

    pub(crate) fn raise(&self, index: u32) -> sys::Result<()> {
        // IFF_UP fits any integer.
        let up = libc::IFF_UP.cast_unsigned();
        let request = Request::link(libc::RTM_NEWLINK, index, up, up);
        self.talk(request, || format!("RTM_NEWLINK({index}, IFF_UP)"), |_, _| {})
    }

    /// Sends a request and reads to its acknowledgement or to the end of its dump.
    fn talk(
        &self,
        request: Request,
        call: impl Fn() -> String,
        mut each: impl FnMut(u16, &[u8]),
    ) -> sys::Result<()> {
        send(&self.socket, &request.finish(), SendFlags::empty()).named(&call)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let (length, _) =
                rustix::io::retry_on_intr(|| recv(&self.socket, &mut buffer[..], RecvFlags::empty()))
                    .named(&call)?;
            let mut rest = &buffer[..length];
            while let Some((kind, body, next)) = split_message(rest) {
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => return acknowledgement(body).named(&call),
                    _ => each(kind, body),
                }
                rest = next;
            }
        }
    }
}

/// The first message of a packet: its type, its body, and what follows.
fn split_message(packet: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(packet.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(packet.get(4..6)?.try_into().ok()?);
    let body = packet.get(HEADER..length)?;
    Some((kind, body, packet.get(padded(length)..).unwrap_or_default()))
}

/// struct nlmsgerr: a negative errno, 0 for success.
fn acknowledgement(body: &[u8]) -> rustix::io::Result<()> {
    let code = body.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(-libc::EIO, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(code.wrapping_neg())) }
}

impl Address {
    fn parse(body: &[u8], index: u32) -> Option<Self> {
        let (header, mut rest) = body.split_first_chunk::<ADDRESS_HEADER>()?;
        let [_family, _prefix, flags, scope, link @ ..] = *header;
        let by_somebody = u32::from(flags) & libc::IFA_F_PERMANENT != 0;
        if u32::from_ne_bytes(link) != index || scope != libc::RT_SCOPE_UNIVERSE || !by_somebody {
            return None;
        }
        let mut attributes = Vec::new();
        while let Some((length, kind)) = attribute_header(rest) {
            let end = padded(length).min(rest.len());
            if matches!(kind, libc::IFA_LOCAL | libc::IFA_ADDRESS | libc::IFA_BROADCAST) {
                attributes.extend(&rest[..end]);
            }
            rest = &rest[end..];
        }
        Some(Self { header: *header, attributes })
    }
}

/// Length (header included) and type of the attribute that `bytes` starts with.
fn attribute_header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
    (4..=bytes.len()).contains(&length).then_some((length, kind))
}

struct Request {
    bytes: Vec<u8>,
}

impl Request {
    fn new(kind: u16, flags: i32) -> Self {
        let flags = u16::try_from(libc::NLM_F_REQUEST | flags).unwrap_or_default();
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        // Sequence and port: one request at a time on a socket of our own.
        bytes.extend([0; 8]);
        Self { bytes }
    }

    /// struct ifinfomsg.
    fn link(kind: u16, index: u32, flags: u32, change: u32) -> Self {
        let mut request = Self::new(kind, libc::NLM_F_ACK);
        request.bytes.extend([0; 4]);
        request.bytes.extend(index.to_ne_bytes());
        request.bytes.extend(flags.to_ne_bytes());
        request.bytes.extend(change.to_ne_bytes());
        debug_assert_eq!(request.bytes.len(), HEADER + LINK_HEADER);
        request
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(padded(self.bytes.len()), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn zero_terminated(name: &str) -> Vec<u8> {
    name.bytes().chain([0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_link_is_found_and_a_missing_one_is_not() {
        let route = Route::open().unwrap();
        assert_eq!(route.link_index("lo").unwrap(), 1);
        assert_eq!(route.link_index("no-such-link").unwrap_err().errno, Errno::NODEV);
        // 127.0.0.1 has host scope: not one of those that move along.
        assert_eq!(route.addresses(1).unwrap(), []);
    }

    #[test]
    fn broken_packets_end_the_walk() {
        for packet in [&[][..], &[1, 2, 3], &[255, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]] {
            assert!(split_message(packet).is_none());
        }
        assert!(attribute_header(&[2, 0, 1, 0]).is_none());
        assert!(attribute_header(&[8, 0, 1, 0]).is_none());
    }
}
