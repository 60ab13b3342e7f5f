//! Netlink messages: a header of 16 bytes, a family's header, attributes padded to 4 bytes, in the host's byte order
//! (linux/netlink.h). What they mean is for the files beside this one (rtnetlink(7)) and `firewall/elements.rs`.

pub(crate) mod address;
pub(crate) mod link;
pub(crate) mod route;
mod socket;

pub(crate) use socket::Socket;

const HEADER: usize = 16;

/// Flags and types of linux/netlink.h.
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = !(3 << 14);

/// One message, and how an error names it.
#[derive(Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    call: String,
}

impl Message {
    /// A request with its family's header as `body`. `flags` come on top of NLM_F_REQUEST.
    pub(crate) fn new(kind: u16, flags: u16, body: &[u8], call: impl Into<String>) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend(body);
        Self { bytes, call: call.into() }
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let start = self.open(kind);
        self.bytes.extend(value);
        self.close(start);
        self
    }

    /// A string as most families want it: with its zero.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    pub(crate) fn nested(self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        self.nested_after(kind, &[], fill)
    }

    /// A nested attribute that begins with a structure.
    pub(crate) fn nested_after(mut self, kind: u16, head: &[u8], fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.open(kind | NLA_F_NESTED);
        self.bytes.extend(head);
        let mut filled = fill(self);
        filled.close(start);
        filled
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend([0, 0]);
        self.bytes.extend(kind.to_ne_bytes());
        start
    }

    /// Writes the length, and pads: the length does not count the padding.
    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn asks_for_answer(&self) -> bool {
        u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) & NLM_F_ACK != 0
    }

    /// The bytes to send, with length and sequence number in place.
    fn numbered(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes
    }
}

/// One message as the kernel sent it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages in a buffer. What is cut off is left out.
fn messages(buffer: &[u8]) -> impl Iterator<Item = Received<'_>> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let message = rest.get(..length).filter(|_| length >= HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        Some(Received { kind, sequence: u32_at(message, 8)?, body: &message[HEADER..] })
    })
}

/// The attributes in what follows a family's header: type and value.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head: [u8; 4] = rest.get(..4)?.try_into().ok()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([head[2], head[3]]) & NLA_TYPE_MASK, value))
    })
}

/// The value of the first attribute of that type.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A string attribute without its zero.
pub(crate) fn to_text(value: &[u8]) -> String {
    let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_it_was_written() {
        let message = Message::new(16, NLM_F_ACK, &[7; 4], "RTM")
            .text(3, "eth0")
            .nested(18, |nest| nest.text(1, "veth").attribute(2, &[1, 2, 3]));
        let bytes = message.numbered(9);
        let read: Vec<_> = messages(&bytes).collect();
        assert_eq!((read.len(), read[0].kind, read[0].sequence), (1, 16, 9));
        let fields = &read[0].body[4..];
        assert_eq!(to_text(attribute(fields, 3).unwrap()), "eth0");
        let nest = attribute(fields, 18).unwrap();
        assert_eq!(to_text(attribute(nest, 1).unwrap()), "veth");
        assert_eq!(attribute(nest, 2), Some(&[1, 2, 3][..]));
        assert_eq!(attribute(nest, 9), None);
    }

    #[test]
    fn what_is_cut_off_ends_the_reading() {
        let bytes = Message::new(16, 0, &[], "RTM").text(3, "eth0").numbered(1);
        for end in 0..bytes.len() {
            assert_eq!(messages(&bytes[..end]).count(), 0, "{end}");
        }
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0, "a length below the header's");
        assert_eq!(attributes(&[8, 0, 1, 0, 0]).count(), 0, "a length beyond the end");
    }
}
