//! Cuts a stream into log entries: at each newline, and where a line is longer than Docker's 16 KiB.

use std::mem;

/// The longest entry, in bytes.
const LONGEST: usize = 16 * 1024;

/// What of a stream has not become an entry yet. One for each stream.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

/// One entry. `text` has no newline at its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) text: &'a [u8],
    /// The line went on: no newline followed.
    pub(crate) partial: bool,
}

impl Lines {
    /// Gives `sink` each entry that `bytes` completes.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut sink: impl FnMut(Entry<'_>)) {
        while let Some(taken) = self.complete(bytes, &mut sink) {
            bytes = &bytes[taken..];
        }
        self.rest.extend_from_slice(bytes);
    }

    /// The stream has ended: what is left is an entry too.
    pub(crate) fn finish(&mut self, mut sink: impl FnMut(Entry<'_>)) {
        let rest = mem::take(&mut self.rest);
        if !rest.is_empty() {
            sink(Entry { text: &rest, partial: true });
        }
    }

    /// Gives `sink` the first entry, when it is whole: how many of `bytes` it took.
    fn complete(&mut self, bytes: &[u8], sink: &mut impl FnMut(Entry<'_>)) -> Option<usize> {
        let room = LONGEST - self.rest.len();
        let window = &bytes[..bytes.len().min(room)];
        let (length, taken, partial) = match window.iter().position(|&byte| byte == b'\n') {
            Some(at) => (at, at + 1, false),
            None if window.len() == room => (room, room, true),
            None => return None,
        };
        if self.rest.is_empty() {
            sink(Entry { text: &bytes[..length], partial });
        } else {
            self.rest.extend_from_slice(&bytes[..length]);
            sink(Entry { text: &self.rest, partial });
            self.rest.clear();
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.push(piece, |entry| found.push((entry.text.to_vec(), entry.partial)));
        }
        lines.finish(|entry| found.push((entry.text.to_vec(), entry.partial)));
        found
    }

    #[test]
    fn a_line_is_one_entry_however_it_comes() {
        let want = [(b"ab".to_vec(), false), (b"".to_vec(), false), (b"c".to_vec(), true)];
        assert_eq!(cut(&[b"ab\n\nc"]), want);
        assert_eq!(cut(&[b"a", b"b", b"\n", b"\nc"]), want);
    }

    #[test]
    fn a_long_line_is_cut_where_docker_cuts_it() {
        let long = vec![b'x'; 2 * LONGEST + 1];
        let lengths: Vec<_> =
            cut(&[&long, b"\n"]).iter().map(|(text, partial)| (text.len(), *partial)).collect();
        assert_eq!(lengths, [(LONGEST, true), (LONGEST, true), (1, false)]);
        let exact = cut(&[&long[..LONGEST], b"\n"]);
        assert_eq!(exact.iter().map(|(text, _)| text.len()).collect::<Vec<_>>(), [LONGEST, 0]);
    }

    #[test]
    fn nothing_is_lost_wherever_the_stream_is_cut() {
        let text: Vec<u8> =
            (0..100_000_u32).map(|n| if n % 977 == 0 { b'\n' } else { b'a' + (n % 26) as u8 }).collect();
        for size in [1, 7, 4096, LONGEST, LONGEST + 1] {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            let joined: Vec<u8> = cut(&pieces)
                .into_iter()
                .flat_map(|(mut text, partial)| {
                    text.extend((!partial).then_some(b'\n'));
                    text
                })
                .collect();
            assert_eq!(joined, text, "pieces of {size}");
        }
    }
}
