//! `org.systemd.property.NAME` annotations: unit properties given by the user, in the text format of `GVariant`
//! (`uint64 5`, `'text'`, `['a', 'b']`, `@as []`, `(1, true)`, `<'v'>`). Dictionaries and maybe types are not among
//! what units have, and are refused.

use crate::error::Refusal;

use super::bus::{Value, split_type};
use super::calls::Property;

const PREFIX: &str = "org.systemd.property.";
const MAX_DEPTH: u32 = 16;

pub(crate) fn properties_of(annotations: &[(&str, &str)]) -> Result<Vec<Property>, Refusal> {
    let ours = annotations.iter().filter_map(|(key, text)| Some((*key, key.strip_prefix(PREFIX)?, *text)));
    ours.map(|(key, name, text)| property(key, name, text)).collect()
}

fn property(key: &str, name: &str, text: &str) -> Result<Property, Refusal> {
    let bad_name = |reason| Refusal::AnnotationName { key: key.to_owned(), reason };
    if name.len() < 3 {
        return Err(bad_name("too short"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(bad_name("contains non-alphabetic character"));
    }
    let bad_value = |reason| Refusal::AnnotationValue { key: key.to_owned(), value: text.to_owned(), reason };
    let value = parse(text).ok_or_else(|| bad_value("not a GVariant text"))?;
    match in_seconds(name) {
        None => Ok((name.to_owned(), value)),
        Some(stem) => {
            Ok((format!("{stem}USec"), microseconds(&value).ok_or_else(|| bad_value("not a number"))?))
        }
    }
}

/// Times are documented as `XSec` but set as `XUSec`.
fn in_seconds(name: &str) -> Option<&str> {
    name.strip_suffix("Sec").filter(|stem| stem.ends_with(|letter: char| letter.is_ascii_lowercase()))
}

fn microseconds(value: &Value) -> Option<Value> {
    let whole: u64 = match value {
        Value::Byte(value) => (*value).into(),
        Value::I16(value) => u64::try_from(*value).ok()?,
        Value::U16(value) => (*value).into(),
        Value::I32(value) => u64::try_from(*value).ok()?,
        Value::U32(value) => (*value).into(),
        Value::I64(value) => u64::try_from(*value).ok()?,
        Value::U64(value) => *value,
        Value::F64(value) => return Some(Value::U64(float_microseconds(*value)?)),
        _ => return None,
    };
    whole.checked_mul(1_000_000).map(Value::U64)
}

// Within the range that is checked, the cast only drops what is below a microsecond.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn float_microseconds(seconds: f64) -> Option<u64> {
    (0.0..1e12).contains(&seconds).then_some((seconds * 1e6) as u64)
}

fn parse(text: &str) -> Option<Value> {
    let mut parser = Parser { rest: text.trim() };
    let value = parser.value(None, 0)?;
    parser.rest.trim().is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// One value, of the type that its context or a prefix demands.
    fn value(&mut self, wanted: Option<&str>, depth: u32) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            '@' => {
                let (signature, rest) = self.rest[1..].split_once(char::is_whitespace)?;
                let (whole, others) = split_type(signature)?;
                self.rest = rest;
                (others.is_empty() && wanted.is_none_or(|wanted| wanted == whole))
                    .then(|| self.value(Some(whole), depth + 1))?
            }
            '[' => self.array(wanted, depth),
            '(' => self.tuple(wanted, depth),
            '<' => {
                self.take("<")?;
                let value = self.value(None, depth + 1)?;
                self.take(">")?;
                wanted.is_none_or(|wanted| wanted == "v").then(|| Value::Variant(Box::new(value)))
            }
            '\'' | '"' => {
                let text = self.quoted()?;
                to_text(text, wanted.unwrap_or("s"))
            }
            'b' if self.rest.starts_with("b'") || self.rest.starts_with("b\"") => {
                self.rest = &self.rest[1..];
                let mut bytes = self.quoted()?.into_bytes();
                bytes.push(0);
                wanted.is_none_or(|wanted| wanted == "ay").then(|| Value::bytes(bytes))
            }
            _ => self.word(wanted, depth),
        }
    }

    fn word(&mut self, wanted: Option<&str>, depth: u32) -> Option<Value> {
        let end = self.rest.find(|letter: char| letter.is_whitespace() || "[](),<>".contains(letter));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        let keyword = match word {
            "true" | "false" => {
                return wanted.is_none_or(|wanted| wanted == "b").then(|| Value::Bool(word == "true"));
            }
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            number => return to_number(number, wanted),
        };
        wanted.is_none_or(|wanted| wanted == keyword).then(|| self.value(Some(keyword), depth + 1))?
    }

    fn array(&mut self, wanted: Option<&str>, depth: u32) -> Option<Value> {
        self.take("[")?;
        let mut element = match wanted {
            Some(wanted) => Some(wanted.strip_prefix('a')?.to_owned()),
            None => None,
        };
        let mut values = Vec::new();
        while self.take("]").is_none() {
            if !values.is_empty() {
                self.take(",")?;
            }
            let value = self.value(element.as_deref(), depth + 1)?;
            element.get_or_insert_with(|| value.signature());
            values.push(value);
        }
        Some(Value::Array(element?, values))
    }

    fn tuple(&mut self, wanted: Option<&str>, depth: u32) -> Option<Value> {
        self.take("(")?;
        let mut types = match wanted {
            Some(wanted) => Some(wanted.strip_prefix('(')?.strip_suffix(')')?),
            None => None,
        };
        let mut values = Vec::new();
        while self.take(")").is_none() {
            if !values.is_empty() {
                self.take(",")?;
            }
            let next = match types {
                Some(all) => {
                    let (one, rest) = split_type(all)?;
                    types = Some(rest);
                    Some(one)
                }
                None => None,
            };
            values.push(self.value(next, depth + 1)?);
        }
        (types.is_none_or(str::is_empty) && !values.is_empty()).then_some(Value::Struct(values))
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(token)?;
        Some(())
    }

    /// With the escapes of C.
    fn quoted(&mut self) -> Option<String> {
        let mut letters = self.rest.char_indices();
        let (_, quote) = letters.next()?;
        let mut text = String::new();
        loop {
            match letters.next()? {
                (index, letter) if letter == quote => {
                    self.rest = &self.rest[index + 1..];
                    return Some(text);
                }
                (_, '\\') => text.push(match letters.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    letter @ ('\\' | '\'' | '"') => letter,
                    _ => return None,
                }),
                (_, letter) => text.push(letter),
            }
        }
    }
}

fn to_text(text: String, signature: &str) -> Option<Value> {
    match signature {
        "s" => Some(Value::Str(text)),
        "o" if text.starts_with('/') => Some(Value::Path(text)),
        "g" => Some(Value::Signature(text)),
        _ => None,
    }
}

/// Without a type a whole number is an `int32`, another one a `double`. Hexadecimal and octal are as in C.
fn to_number(text: &str, wanted: Option<&str>) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let whole = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(hexadecimal), _) => i128::from_str_radix(hexadecimal, 16),
        (None, Some(octal)) if !octal.is_empty() => i128::from_str_radix(octal, 8),
        _ => digits.parse(),
    };
    let default = if whole.is_ok() { "i" } else { "d" };
    let whole = whole.ok().map(|whole| if negative { -whole } else { whole });
    Some(match wanted.unwrap_or(default) {
        "y" => Value::Byte(whole?.try_into().ok()?),
        "n" => Value::I16(whole?.try_into().ok()?),
        "q" => Value::U16(whole?.try_into().ok()?),
        "i" => Value::I32(whole?.try_into().ok()?),
        "u" => Value::U32(whole?.try_into().ok()?),
        "x" => Value::I64(whole?.try_into().ok()?),
        "t" => Value::U64(whole?.try_into().ok()?),
        "d" if digits.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.') => {
            Value::F64(text.parse().ok()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (text, value) in [
            ("true", Value::Bool(true)),
            ("5", Value::I32(5)),
            ("-0x10", Value::I32(-16)),
            ("uint64 18446744073709551615", Value::U64(u64::MAX)),
            ("byte 0x7f", Value::Byte(127)),
            ("1.5", Value::F64(1.5)),
            ("'it\\'s'", Value::str("it's")),
            ("\"x\"", Value::str("x")),
            ("objectpath '/a'", Value::Path("/a".into())),
            ("['a', 'b']", Value::Array("s".into(), vec![Value::str("a"), Value::str("b")])),
            ("@as []", Value::Array("s".into(), vec![])),
            ("[uint32 1, 2]", Value::Array("u".into(), vec![Value::U32(1), Value::U32(2)])),
            (
                "@a(st) [('/d', 3)]",
                Value::Array("(st)".into(), vec![Value::Struct(vec![Value::str("/d"), Value::U64(3)])]),
            ),
            (" ( 1 , true ) ", Value::Struct(vec![Value::I32(1), Value::Bool(true)])),
            ("<'v'>", Value::Variant(Box::new(Value::str("v")))),
            ("b'ab'", Value::bytes(vec![b'a', b'b', 0])),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value() {
        let deep = "[".repeat(1000);
        for text in [
            "",
            "[]",
            "'a",
            "5 6",
            "[1, 'a']",
            "uint32 -1",
            "byte 256",
            "{'a': 1}",
            "nan",
            "@as [1]",
            "just 5",
            "()",
            &deep,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_become_microseconds() {
        let one = |key: &str, text: &str| properties_of(&[(key, text)]).unwrap().remove(0);
        let name = |name: &str| name.to_owned();
        assert_eq!(
            one("org.systemd.property.TimeoutStopSec", "7"),
            (name("TimeoutStopUSec"), Value::U64(7_000_000))
        );
        assert_eq!(
            one("org.systemd.property.TimeoutStopSec", "1.5"),
            (name("TimeoutStopUSec"), Value::U64(1_500_000))
        );
        assert_eq!(
            one("org.systemd.property.TimeoutStopUSec", "uint64 7"),
            (name("TimeoutStopUSec"), Value::U64(7))
        );
        assert_eq!(properties_of(&[("other.key", "x")]).unwrap(), []);
    }

    #[test]
    fn refusals_quote_the_annotation() {
        let refused = |key: &str, text: &str| properties_of(&[(key, text)]).unwrap_err().to_string();
        assert_eq!(
            refused("org.systemd.property.A-B", "1"),
            "annotation org.systemd.property.A-B name incorrect: contains non-alphabetic character"
        );
        assert_eq!(
            refused("org.systemd.property.RuntimeMaxSec", "'x'"),
            "annotation org.systemd.property.RuntimeMaxSec='x' value parse error: not a number"
        );
        assert_eq!(
            refused("org.systemd.property.RuntimeMaxUSec", "x y"),
            "annotation org.systemd.property.RuntimeMaxUSec=x y value parse error: not a GVariant text"
        );
    }
}
