//! Protocol Buffers, as far as criu's messages need them: whole numbers, texts and messages in messages, written field
//! by field and read into a list (<https://protobuf.dev/programming-guides/encoding/>).

/// A message to be sent.
#[derive(Default)]
pub(crate) struct Message(Vec<u8>);

/// How a value is written: the low bits of a field's key.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED_32: u64 = 5;

impl Message {
    pub(crate) fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3 | VARINT);
        self.varint(value);
    }

    pub(crate) fn text(&mut self, field: u32, text: &str) {
        self.varint(u64::from(field) << 3 | LENGTH);
        self.varint(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn message(&mut self, field: u32, message: &Self) {
        self.varint(u64::from(field) << 3 | LENGTH);
        self.varint(message.0.len() as u64);
        self.0.extend_from_slice(&message.0);
    }

    /// Seven bits a byte, the low ones first; the eighth says that more follow.
    fn varint(&mut self, value: u64) {
        let [low, ..] = value.to_le_bytes();
        if value < 0x80 {
            self.0.push(low);
        } else {
            self.0.push(low | 0x80);
            self.varint(value >> 7);
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A message that was received: its fields in the order in which they came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields<'a>(Vec<(u64, Value<'a>)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// None for what is no message.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let key = take_varint(&mut rest)?;
            let value = match key & 7 {
                VARINT => Value::Number(take_varint(&mut rest)?),
                FIXED_64 => Value::Bytes(take(&mut rest, 8)?),
                LENGTH => {
                    let length = take_varint(&mut rest)?;
                    Value::Bytes(take(&mut rest, usize::try_from(length).ok()?)?)
                }
                FIXED_32 => Value::Bytes(take(&mut rest, 4)?),
                _ => return None,
            };
            fields.push((key >> 3, value));
        }
        Some(Self(fields))
    }

    /// The last value of a field counts.
    fn last(&self, field: u32) -> Option<Value<'a>> {
        self.0.iter().rev().find(|(number, _)| *number == u64::from(field)).map(|(_, value)| *value)
    }

    /// 0 where it is absent, as its default is. Negative numbers of 32 bits are sent with 64.
    pub(crate) fn number(&self, field: u32) -> i32 {
        match self.last(field) {
            Some(Value::Number(number)) => {
                let [a, b, c, d, ..] = number.to_le_bytes();
                i32::from_le_bytes([a, b, c, d])
            }
            _ => 0,
        }
    }

    /// Empty where it is absent or no text.
    pub(crate) fn text(&self, field: u32) -> &'a str {
        match self.last(field) {
            Some(Value::Bytes(bytes)) => std::str::from_utf8(bytes).unwrap_or_default(),
            _ => "",
        }
    }

    /// A message without fields where it is absent; none where it is no message.
    pub(crate) fn message(&self, field: u32) -> Option<Self> {
        match self.last(field) {
            Some(Value::Bytes(bytes)) => Self::parse(bytes),
            _ => Some(Self::default()),
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_encodings_examples() {
        let mut inner = Message::default();
        inner.number(1, 150);
        assert_eq!(inner.bytes(), [0x08, 0x96, 0x01]);
        let mut outer = Message::default();
        outer.text(2, "testing");
        outer.message(3, &inner);
        outer.number(16, 0);
        let expected = b"\x12\x07testing\x1a\x03\x08\x96\x01\x80\x01\x00";
        assert_eq!(outer.bytes(), expected);
    }

    #[test]
    fn what_is_written_is_read_and_the_last_value_counts() {
        let mut message = Message::default();
        message.number(7, u64::MAX);
        message.number(300, 5);
        message.number(300, 6);
        message.text(1, "\u{e9}");
        let fields = Fields::parse(message.bytes()).unwrap();
        assert_eq!((fields.number(7), fields.number(300), fields.number(8)), (-1, 6, 0));
        assert_eq!((fields.text(1), fields.text(300), fields.text(2)), ("\u{e9}", "", ""));
        assert_eq!(fields.message(9), Some(Fields::default()));
    }

    #[test]
    fn unknown_fields_of_fixed_width_are_passed_over() {
        let bytes = b"\x09abcdefgh\x15abcd\x08\x01";
        assert_eq!(Fields::parse(bytes).unwrap().number(1), 1);
    }

    #[test]
    fn what_is_cut_short_or_senseless_is_no_message() {
        let mut message = Message::default();
        message.text(1, "abc");
        message.number(2, 1 << 40);
        for end in [1, 3, 6, 8] {
            assert_eq!(Fields::parse(&message.bytes()[..end]), None, "{end}");
        }
        let endless = [[0x80; 11].as_slice(), &[1]].concat();
        for bytes in [b"\x0b".as_slice(), b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &endless] {
            assert_eq!(Fields::parse(bytes), None, "{bytes:?}");
        }
        let broken = [0x1a, 1, 0x80];
        assert_eq!(Fields::parse(&broken).unwrap().message(3), None);
    }
}
