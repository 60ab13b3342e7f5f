//! Entries as a client of the API gets them.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Entry, LogQuery, Stream};

/// As Docker's: nine digits, always.
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));
/// What Go's url.QueryEscape leaves as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

/// How the two streams share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each piece behind a header of eight bytes: the stream and the length.
    Multiplexed,
    /// As a terminal shows it.
    Raw,
}

#[derive(Debug)]
pub(super) struct Framer {
    pub(super) framing: Framing,
    timestamps: bool,
    details: bool,
    /// Of stdout and stderr: the last piece did not end its line. What goes on has no time of its own.
    in_line: [bool; 2],
}

impl Framer {
    pub(super) fn new(framing: Framing, query: &LogQuery) -> Self {
        Self { framing, timestamps: query.timestamps, details: query.details, in_line: [false; 2] }
    }

    pub(super) fn write(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        let (index, kind) = match entry.stream {
            Stream::Stdout => (0, 1),
            Stream::Stderr => (1, 2),
        };
        let mut prefix = String::new();
        if !self.in_line[index] {
            if self.timestamps {
                prefix.push_str(&timestamp(entry.time));
                prefix.push(' ');
            }
            if self.details {
                details(entry, &mut prefix);
            }
        }
        self.in_line[index] = !entry.ends_a_line();
        if self.framing == Framing::Multiplexed {
            // An entry has at most 16 KiB, or a megabyte of a foreign log.
            let length = u32::try_from(prefix.len() + entry.text.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&[kind, 0, 0, 0]);
            out.extend_from_slice(&length.to_be_bytes());
        }
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(&entry.text);
    }
}

fn timestamp(time: Timestamp) -> String {
    PRINTER.timestamp_to_string(&time)
}

/// `NAME=VALUE,NAME=VALUE` and a space, in the encoding of queries.
fn details(entry: &Entry, out: &mut String) {
    for (index, (name, value)) in entry.attributes.iter().enumerate() {
        let escape = |text| utf8_percent_encode(text, ESCAPED).to_string().replace(' ', "+");
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{}={}", escape(name), escape(value)); // a String takes everything
    }
    out.push(' ');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn query(timestamps: bool, details: bool) -> LogQuery {
        LogQuery {
            stdout: true,
            stderr: true,
            since: None,
            until: None,
            tail: None,
            follow: false,
            timestamps,
            details,
        }
    }

    fn entry(stream: Stream, text: &str, attributes: &[(&str, &str)]) -> Entry {
        let attributes: BTreeMap<_, _> =
            attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let time = Timestamp::from_nanosecond(1_500_000_000).unwrap();
        Entry { stream, time, attributes, text: text.as_bytes().to_vec() }
    }

    fn framed(framing: Framing, query: &LogQuery, entries: &[Entry]) -> Vec<u8> {
        let mut framer = Framer::new(framing, query);
        let mut out = Vec::new();
        for entry in entries {
            framer.write(entry, &mut out);
        }
        out
    }

    #[test]
    fn frames_are_dockers() {
        let entries = [entry(Stream::Stdout, "hello\n", &[]), entry(Stream::Stderr, "no", &[])];
        assert_eq!(
            framed(Framing::Multiplexed, &query(false, false), &entries),
            b"\x01\0\0\0\0\0\0\x06hello\n\x02\0\0\0\0\0\0\x02no"
        );
        assert_eq!(framed(Framing::Raw, &query(false, false), &entries), b"hello\nno");
    }

    #[test]
    fn a_line_of_several_pieces_has_one_time() {
        let entries = [
            entry(Stream::Stdout, "long", &[]),
            entry(Stream::Stderr, "other\n", &[]),
            entry(Stream::Stdout, "er\n", &[]),
            entry(Stream::Stdout, "next\n", &[]),
        ];
        let time = "1970-01-01T00:00:01.500000000Z ";
        let want = format!("{time}long{time}other\ner\n{time}next\n");
        assert_eq!(String::from_utf8(framed(Framing::Raw, &query(true, false), &entries)).unwrap(), want);
    }

    #[test]
    fn details_are_encoded() {
        let entries =
            [entry(Stream::Stdout, "x\n", &[("a b", "c=d"), ("e", "é~")]), entry(Stream::Stdout, "y\n", &[])];
        let want = "a+b=c%3Dd,e=%C3%A9~ x\n y\n";
        assert_eq!(String::from_utf8(framed(Framing::Raw, &query(false, true), &entries)).unwrap(), want);
    }
}
