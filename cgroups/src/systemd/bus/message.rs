//! D-Bus messages: a method call out, replies, errors and signals in ("Message Protocol" of the specification).

use super::value::{Decoder, Value, align};

pub(super) const METHOD_RETURN: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

const METHOD_CALL: u8 = 1;
const FIXED_HEADER: usize = 16;
/// Far above what systemd says; the specification's own limit is 128 MiB.
const MAX_LENGTH: usize = 16 << 20;

/// What is asked of whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    pub(crate) body: &'a [Value],
}

/// The parts of a message that anybody here looks at.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) reply_to: Option<u32>,
    pub(super) member: String,
    pub(super) error: String,
    pub(super) body: Vec<Value>,
}

impl Call<'_> {
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for value in self.body {
            value.encode(&mut body);
        }
        let signature: String = self.body.iter().map(Value::signature).collect();
        let field = |code, value| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        let mut fields = vec![
            field(1, Value::Path(self.path.to_owned())),
            field(2, Value::str(self.interface)),
            field(3, Value::str(self.member)),
            field(6, Value::str(self.destination)),
        ];
        if !signature.is_empty() {
            fields.push(field(8, Value::Signature(signature)));
        }
        let mut out = vec![b'l', METHOD_CALL, 0, 1];
        out.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(serial.to_le_bytes());
        Value::Array("(yv)".to_owned(), fields).encode(&mut out);
        align(&mut out, 8);
        out.append(&mut body);
        out
    }
}

impl Message {
    /// How long the message at the start of `bytes` is, once its fixed header is there. An error if it cannot be one.
    pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, ()> {
        let Some(header) = bytes.get(..FIXED_HEADER) else { return Ok(None) };
        let number = |at: usize| u32_at(header, at, header[0] == b'B') as usize;
        let length = (FIXED_HEADER + number(12)).next_multiple_of(8).saturating_add(number(4));
        let known = matches!(header[0], b'l' | b'B') && header[3] == 1;
        if known && length <= MAX_LENGTH { Ok(Some(length)) } else { Err(()) }
    }

    /// A whole message.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let big_endian = *bytes.first()? == b'B';
        let header_length =
            (FIXED_HEADER + u32_at(bytes.get(..FIXED_HEADER)?, 12, big_endian) as usize).next_multiple_of(8);
        let fields = Decoder::new(bytes, big_endian).values("yyyyuua(yv)")?;
        let mut message = Self { kind: bytes[1], ..Self::default() };
        let mut signature = String::new();
        let Some(Value::Array(_, fields)) = fields.into_iter().last() else { return None };
        for field in fields {
            let Value::Struct(parts) = field else { return None };
            let [Value::Byte(code), Value::Variant(value)] = parts.as_slice() else { return None };
            match (code, value.as_ref()) {
                (3, Value::Str(text)) => message.member.clone_from(text),
                (4, Value::Str(text)) => message.error.clone_from(text),
                (5, Value::U32(serial)) => message.reply_to = Some(*serial),
                (8, Value::Signature(text)) => signature.clone_from(text),
                _ => {}
            }
        }
        message.body = Decoder::new(bytes.get(header_length..)?, big_endian).values(&signature)?;
        Some(message)
    }
}

fn u32_at(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    if big_endian { u32::from_be_bytes(number) } else { u32::from_le_bytes(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_reads_back() {
        let body = [Value::str("a.scope"), Value::str("replace")];
        let call = Call { destination: "d.e", path: "/p", interface: "i.f", member: "Stop", body: &body };
        let bytes = call.encode(7);
        assert_eq!(Message::length(&bytes), Ok(Some(bytes.len())));
        assert_eq!(Message::length(&bytes[..15]), Ok(None));
        let message = Message::decode(&bytes).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (METHOD_CALL, "Stop"));
        assert_eq!(message.body, body);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert_eq!(Message::length(b"HTTP/1.1 200 OK\r\n"), Err(()));
        assert_eq!(Message::length(&[b'l', 2, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]), Err(()));
        assert_eq!(Message::decode(&[b'l'; 16]), None);
    }
}
