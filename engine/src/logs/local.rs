//! Entries of Docker's local format: a protocol buffers message between its length and its length again, both four bytes, the
//! most significant first. Fields: 1 stream, 2 nanoseconds since 1970, 3 text, 4 whether the line goes on.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Entry, Stream};

/// Bytes of a length.
pub(super) const LENGTH: usize = 4;
/// Docker's limit of a message: what claims to be longer is none.
pub(super) const LONGEST: usize = 1_000_000;

/// A length at the beginning of `bytes`.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<LENGTH>().map(|bytes| u32::from_be_bytes(*bytes))?;
    usize::try_from(length).ok()
}

/// None of what is no message.
pub(super) fn decode(mut message: &[u8]) -> Option<Entry> {
    let mut entry = Entry {
        stream: Stream::Stdout,
        time: Timestamp::UNIX_EPOCH,
        attributes: BTreeMap::new(),
        text: Vec::new(),
    };
    let mut goes_on = false;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 2) => {
                entry.stream = match bytes(&mut message)? {
                    b"stdout" => Stream::Stdout,
                    b"stderr" => Stream::Stderr,
                    _ => return None,
                }
            }
            (2, 0) => entry.time = Timestamp::from_nanosecond(varint(&mut message)?.into()).ok()?,
            (3, 2) => entry.text = bytes(&mut message)?.to_vec(),
            (4, 0) => goes_on = varint(&mut message)? != 0,
            // Docker's own count of the pieces of a line, and what is to come.
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => drop(bytes(&mut message)?),
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    if !goes_on {
        entry.text.push(b'\n');
    }
    Some(entry)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn bytes<'a>(message: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(message)?).ok()?;
    let (bytes, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_monitor_and_of_docker() {
        let entry = decode(b"\x0a\x06stderr\x10\xac\x02\x1a\x02hi\x20\x01").unwrap();
        assert_eq!((entry.stream, entry.text.as_slice()), (Stream::Stderr, &b"hi"[..]));
        assert_eq!(entry.time.as_nanosecond(), 300);
        // With Docker's metadata of a partial line: last, an ID, an ordinal.
        let entry = decode(b"\x0a\x06stdout\x10\x01\x1a\x01x\x2a\x07\x08\x01\x12\x01a\x18\x02").unwrap();
        assert_eq!(entry.text, b"x\n");
        for wrong in [&b"\x0a\x06stdin"[..], b"\x0a\x7fx", b"\x10", b"\x0a\x05stdin", b"\x0f"] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }
}
