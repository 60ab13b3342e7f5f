//! Docker's local format: a protocol buffers message between its length and its length again, both four bytes, the most
//! significant first.
//!
//! The message: 1 stream, 2 time in nanoseconds since 1970, 3 text without its newline, 4 whether the line goes on.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::lines::Entry;

const TEXT: u8 = 2;
const NUMBER: u8 = 0;

pub(crate) fn encode(out: &mut Vec<u8>, stream: &str, time: SystemTime, entry: &Entry<'_>) {
    // A clock before 1970 is broken: then the epoch is as good as any.
    let nanoseconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let mut message = Vec::with_capacity(entry.text.len() + 32);
    field(&mut message, 1, stream.as_bytes());
    message.push(2 << 3 | NUMBER);
    varint(&mut message, u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    field(&mut message, 3, entry.text);
    if entry.partial {
        message.extend_from_slice(&[4 << 3 | NUMBER, 1]);
    }
    #[allow(clippy::cast_possible_truncation)] // an entry is at most 16 KiB
    let length = (message.len() as u32).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&message);
    out.extend_from_slice(&length);
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | TEXT);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_entry_is_dockers() {
        let mut out = Vec::new();
        encode(
            &mut out,
            "stdout",
            UNIX_EPOCH + Duration::from_nanos(300),
            &Entry { text: b"hi", partial: true },
        );
        let message = b"\x0a\x06stdout\x10\xac\x02\x1a\x02hi\x20\x01";
        let length = [0, 0, 0, u8::try_from(message.len()).unwrap()];
        assert_eq!(out, [&length[..], message, &length].concat());
    }
}
