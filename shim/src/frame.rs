//! The frames on the monitor's socket: eight bytes of header and a payload, as Docker's multiplexed streams have them,
//! so that output reaches a client of the API without being taken apart.
//!
//! `[kind, 0, 0, 0, length as u32, most significant byte first]`

/// Bytes of a header.
pub(crate) const HEADER: usize = 8;
/// The longest payload that a client may send, in bytes.
pub(crate) const LONGEST: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To the process's standard input. An empty one closes it.
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
    /// A JSON object: a request, or its answer, or the news that the process has ended.
    Control = 3,
}

/// A stream of bytes that is not one of frames.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A frame in the bytes that a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) payload: &'a [u8],
    /// Bytes of header and payload.
    pub(crate) length: usize,
}

/// Adds a frame to `out`.
pub(crate) fn write(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    // What is written comes from a buffer of 64 KiB, or is a short object.
    #[allow(clippy::cast_possible_truncation)]
    let length = payload.len() as u32;
    out.extend_from_slice(&[kind as u8, 0, 0, 0]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The first frame of `input`, when all of it is there.
pub(crate) fn read(input: &[u8]) -> Result<Option<Frame<'_>>, Malformed> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER>() else { return Ok(None) };
    let kind = match header[0] {
        0 => Kind::Stdin,
        3 => Kind::Control,
        _ => return Err(Malformed),
    };
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
    if length > LONGEST {
        return Err(Malformed);
    }
    Ok(rest.get(..length).map(|payload| Frame { kind, payload, length: HEADER + length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_when_it_is_whole() {
        let mut bytes = Vec::new();
        write(&mut bytes, Kind::Control, b"{}");
        write(&mut bytes, Kind::Stdin, b"");
        for end in 0..HEADER + 2 {
            assert_eq!(read(&bytes[..end]), Ok(None));
        }
        assert_eq!(read(&bytes), Ok(Some(Frame { kind: Kind::Control, payload: b"{}", length: 10 })));
        assert_eq!(read(&bytes[10..]), Ok(Some(Frame { kind: Kind::Stdin, payload: b"", length: 8 })));
    }

    #[test]
    fn what_a_client_may_not_send_is_malformed() {
        assert_eq!(read(&[1, 0, 0, 0, 0, 0, 0, 0]), Err(Malformed));
        assert_eq!(read(&[0, 0, 0, 0, 0, 1, 0, 1]), Err(Malformed));
    }
}
