//! D-Bus values and their wire format ("Type System" and "Marshaling" of the specification).

/// A value with its type. Arrays carry their element's signature, since they may be empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F64(f64),
    Str(String),
    Path(String),
    Signature(String),
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

/// Containers in containers; the specification allows 32 of each kind.
const MAX_DEPTH: u32 = 32;

impl Value {
    pub(crate) fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self::Array("y".to_owned(), bytes.into_iter().map(Self::Byte).collect())
    }

    pub(crate) fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".to_owned(),
            Self::Bool(_) => "b".to_owned(),
            Self::I16(_) => "n".to_owned(),
            Self::U16(_) => "q".to_owned(),
            Self::I32(_) => "i".to_owned(),
            Self::U32(_) => "u".to_owned(),
            Self::I64(_) => "x".to_owned(),
            Self::U64(_) => "t".to_owned(),
            Self::F64(_) => "d".to_owned(),
            Self::Str(_) => "s".to_owned(),
            Self::Path(_) => "o".to_owned(),
            Self::Signature(_) => "g".to_owned(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Struct(fields) => format!("({})", fields.iter().map(Self::signature).collect::<String>()),
            Self::Variant(_) => "v".to_owned(),
        }
    }

    /// Appends the value; `out` starts at a multiple of 8 in the message.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        align(out, alignment(self.signature().as_bytes()[0]));
        match self {
            Self::Byte(value) => out.push(*value),
            Self::Bool(value) => out.extend(u32::from(*value).to_le_bytes()),
            Self::I16(value) => out.extend(value.to_le_bytes()),
            Self::U16(value) => out.extend(value.to_le_bytes()),
            Self::I32(value) => out.extend(value.to_le_bytes()),
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::I64(value) => out.extend(value.to_le_bytes()),
            Self::U64(value) => out.extend(value.to_le_bytes()),
            Self::F64(value) => out.extend(value.to_le_bytes()),
            Self::Str(text) | Self::Path(text) => {
                out.extend(length(text.len()).to_le_bytes());
                out.extend(text.as_bytes());
                out.push(0);
            }
            Self::Signature(text) => encode_signature(text, out),
            Self::Array(element, values) => encode_array(element, values, out),
            Self::Struct(fields) => fields.iter().for_each(|field| field.encode(out)),
            Self::Variant(value) => {
                encode_signature(&value.signature(), out);
                value.encode(out);
            }
        }
    }
}

fn encode_signature(text: &str, out: &mut Vec<u8>) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend(text.as_bytes());
    out.push(0);
}

/// The length does not count the padding before the first element.
fn encode_array(element: &str, values: &[Value], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend([0; 4]);
    align(out, alignment(element.bytes().next().unwrap_or(b'y')));
    let start = out.len();
    for value in values {
        value.encode(out);
    }
    let bytes = length(out.len() - start).to_le_bytes();
    out[at..at + 4].copy_from_slice(&bytes);
}

/// Nothing that is sent from here comes near the limit of 128 MiB.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

pub(super) fn align(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn alignment(code: u8) -> usize {
    match code {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 4,
    }
}

/// Reads values out of a message; nothing in it is trusted.
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

macro_rules! number {
    ($decoder:expr, $type:ty) => {{
        let bytes = $decoder.take(size_of::<$type>())?.try_into().ok()?;
        if $decoder.big_endian { <$type>::from_be_bytes(bytes) } else { <$type>::from_le_bytes(bytes) }
    }};
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        Self { bytes, at: 0, big_endian }
    }

    /// All values of a signature; nothing if the bytes do not hold them.
    pub(super) fn values(&mut self, signature: &str) -> Option<Vec<Value>> {
        self.sequence(signature, 0)
    }

    fn sequence(&mut self, signature: &str, depth: u32) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        let mut rest = signature;
        while !rest.is_empty() {
            let (one, others) = split_type(rest)?;
            values.push(self.value(one, depth)?);
            rest = others;
        }
        Some(values)
    }

    fn value(&mut self, signature: &str, depth: u32) -> Option<Value> {
        let code = *signature.as_bytes().first()?;
        if depth > MAX_DEPTH {
            return None;
        }
        self.skip_padding(alignment(code))?;
        Some(match code {
            b'y' => Value::Byte(number!(self, u8)),
            b'b' => Value::Bool(number!(self, u32) == 1),
            b'n' => Value::I16(number!(self, i16)),
            b'q' => Value::U16(number!(self, u16)),
            b'i' => Value::I32(number!(self, i32)),
            b'u' | b'h' => Value::U32(number!(self, u32)),
            b'x' => Value::I64(number!(self, i64)),
            b't' => Value::U64(number!(self, u64)),
            b'd' => Value::F64(number!(self, f64)),
            b's' => Value::Str(self.text()?),
            b'o' => Value::Path(self.text()?),
            b'g' => Value::Signature(self.signature()?),
            b'a' => self.array(&signature[1..], depth)?,
            b'v' => {
                let signature = self.signature()?;
                let (one, rest) = split_type(&signature)?;
                let value = self.value(one, depth + 1)?;
                rest.is_empty().then(|| Value::Variant(Box::new(value)))?
            }
            b'(' | b'{' => Value::Struct(self.sequence(&signature[1..signature.len() - 1], depth + 1)?),
            _ => return None,
        })
    }

    fn array(&mut self, element: &str, depth: u32) -> Option<Value> {
        let length = number!(self, u32);
        self.skip_padding(alignment(*element.as_bytes().first()?))?;
        let end = self.at.checked_add(length as usize).filter(|end| *end <= self.bytes.len())?;
        let mut values = Vec::new();
        while self.at < end {
            values.push(self.value(element, depth + 1)?);
        }
        (self.at == end).then(|| Value::Array(element.to_owned(), values))
    }

    fn text(&mut self) -> Option<String> {
        let length = number!(self, u32);
        self.terminated(length as usize)
    }

    fn signature(&mut self) -> Option<String> {
        let length = number!(self, u8);
        self.terminated(usize::from(length))
    }

    fn terminated(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        (self.take(1)? == [0]).then_some(text)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn skip_padding(&mut self, to: usize) -> Option<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }
}

/// The first complete type of a signature, and the rest.
pub(crate) fn split_type(signature: &str) -> Option<(&str, &str)> {
    let mut depth = 0_u32;
    for (index, code) in signature.bytes().enumerate() {
        match code {
            b'a' => continue,
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth = depth.checked_sub(1)?,
            b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'h'
            | b'v' => {}
            _ => return None,
        }
        if depth == 0 {
            return Some(signature.split_at(index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_wire() {
        let values = vec![
            Value::Byte(1),
            Value::Bool(true),
            Value::I16(-2),
            Value::U64(u64::MAX),
            Value::str("scope"),
            Value::Struct(vec![Value::Byte(9), Value::F64(0.5)]),
            Value::Array("(ss)".into(), vec![]),
            Value::Array("t".into(), vec![Value::U64(1), Value::U64(2)]),
            Value::Variant(Box::new(Value::bytes(vec![1, 2, 3]))),
            Value::Path("/a".into()),
            Value::Signature("a{sv}".into()),
            Value::I64(-1),
        ];
        let signature: String = values.iter().map(Value::signature).collect();
        let mut out = Vec::new();
        for value in &values {
            value.encode(&mut out);
        }
        assert_eq!(Decoder::new(&out, false).values(&signature).unwrap(), values);
        for length in 0..out.len() {
            assert_eq!(Decoder::new(&out[..length], false).values(&signature), None, "{length}");
        }
    }

    #[test]
    fn bytes_are_those_of_the_specification() {
        let mut out = vec![];
        Value::Array("x".into(), vec![Value::I64(5)]).encode(&mut out);
        // The example of "Marshaling containers": a length of 8, four bytes of padding, then the element.
        assert_eq!(out, [8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            Decoder::new(&[0, 0, 0, 3, b'f', b'o', b'o', 0], true).values("s"),
            Some(vec![Value::str("foo")])
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for (bytes, signature) in [
            (&[255, 255, 255, 255][..], "s"),
            (&[4, 0, 0, 0, 1, 0][..], "aq"),
            (&[1, b'z', 0, 0][..], "v"),
            (&[2, b'y', b'y', 0, 0, 0][..], "v"),
            (&[0][..], "("),
            (&[0][..], ")"),
            (&[0][..], "a"),
        ] {
            assert_eq!(Decoder::new(bytes, false).values(signature), None, "{signature}");
        }
        let deep = "a".repeat(100) + "y";
        assert!(Decoder::new(&[0; 64], false).values(&deep).is_some_and(|values| values.len() == 1));
    }
}
