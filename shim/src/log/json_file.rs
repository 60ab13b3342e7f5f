//! Docker's json-file format: `{"log":"text\n","stream":"stdout","attrs":{},"time":"RFC 3339"}` and a newline.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::lines::Entry;

#[derive(Debug)]
pub(crate) struct Format {
    /// `,"attrs":{...}`, or nothing.
    attributes: String,
}

impl Format {
    pub(crate) fn new(attributes: &BTreeMap<String, String>) -> Self {
        let object = || serde_json::Value::from_iter(attributes.clone());
        let attributes =
            if attributes.is_empty() { String::new() } else { format!(",\"attrs\":{}", object()) };
        Self { attributes }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>, stream: &str, time: SystemTime, entry: &Entry<'_>) {
        out.extend_from_slice(b"{\"log\":\"");
        escape(out, entry.text);
        if !entry.partial {
            out.extend_from_slice(b"\\n");
        }
        let time = humantime::format_rfc3339_nanos(time);
        let end = format!("\",\"stream\":\"{stream}\"{},\"time\":\"{time}\"}}\n", self.attributes);
        out.extend_from_slice(end.as_bytes());
    }
}

/// Adds text as the inside of a JSON string. Bytes that are no UTF-8 become U+FFFD, as with Docker.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        escape_valid(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn escape_valid(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn encoded(text: &[u8], partial: bool, attributes: &[(&str, &str)]) -> String {
        let attributes =
            attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut out = Vec::new();
        let time = UNIX_EPOCH + Duration::new(1, 5);
        Format::new(&attributes).encode(&mut out, "stderr", time, &Entry { text, partial });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_entry_is_dockers() {
        let want = "{\"log\":\"a\\n\",\"stream\":\"stderr\",\"time\":\"1970-01-01T00:00:01.000000005Z\"}\n";
        assert_eq!(encoded(b"a", false, &[]), want);
        assert!(
            encoded(b"a", true, &[("k", "v\"")])
                .starts_with(r#"{"log":"a","stream":"stderr","attrs":{"k":"v\""},"#)
        );
    }

    #[test]
    fn any_bytes_give_json_that_reads_back() {
        let text: Vec<u8> = (0..=255).chain(*b"\xe2\x82").collect();
        let entry: serde_json::Value = serde_json::from_str(&encoded(&text, true, &[])).unwrap();
        assert_eq!(entry["log"], String::from_utf8_lossy(&text).as_ref());
    }
}
