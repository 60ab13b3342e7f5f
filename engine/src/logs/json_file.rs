//! Entries of Docker's json-file format, one object a line.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Entry, Stream};

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    stream: Stream,
    time: Timestamp,
    #[serde(default)]
    attrs: Option<BTreeMap<String, String>>,
}

impl<'de> Deserialize<'de> for Stream {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Cow::<str>::deserialize(deserializer)?.as_ref() {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            other => Err(serde::de::Error::custom(format!("no stream {other:?}"))),
        }
    }
}

/// None of what is no entry, such as the zeros that a power failure leaves.
pub(super) fn decode(line: &[u8]) -> Option<Entry> {
    let Line { log, stream, time, attrs } = serde_json::from_slice(line).ok()?;
    let attributes = attrs.unwrap_or_default();
    Some(Entry { stream, time, attributes, text: log.into_owned().into_bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_docker_and_of_the_monitor() {
        let entry = decode(
            br#"{"log":"a\u0000\"b\n","stream":"stderr","attrs":{"k":"v"},"time":"2026-01-02T03:04:05.1Z"}"#,
        )
        .unwrap();
        assert_eq!((entry.stream, entry.text.as_slice()), (Stream::Stderr, &b"a\0\"b\n"[..]));
        assert_eq!(entry.time.to_string(), "2026-01-02T03:04:05.1Z");
        assert_eq!(entry.attributes["k"], "v");
        assert!(entry.ends_a_line());
        let partial = br#"{"log":"x","stream":"stdout","time":"2026-01-02T03:04:05.000000001Z"}"#;
        assert!(!decode(partial).unwrap().ends_a_line());
        for wrong in
            [&b""[..], b"\0\0\0", b"{}", br#"{"log":"x","stream":"stdin","time":"2026-01-02T03:04:05Z"}"#]
        {
            assert_eq!(decode(wrong), None);
        }
    }
}
