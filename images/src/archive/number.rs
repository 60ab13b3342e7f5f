//! Numbers of archive headers: octal text, base-256, and the decimals of PAX records.

/// An octal or base-256 field; `None` when it is neither or does not fit. An empty field is zero.
pub(super) fn field(bytes: &[u8]) -> Option<i64> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base_256(bytes),
        _ => octal(bytes),
    }
}

/// Two's complement, big-endian; the top bit is the mark of the form, the next one the sign.
fn base_256(bytes: &[u8]) -> Option<i64> {
    let (first, rest) = bytes.split_first()?;
    let negative = first & 0x40 != 0;
    let mut value = i64::from(first & 0x3f) - if negative { 0x40 } else { 0 };
    for byte in rest {
        value = value.checked_mul(256)?.checked_add(i64::from(*byte))?;
    }
    Some(value)
}

fn octal(bytes: &[u8]) -> Option<i64> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    if !digits[end..].iter().all(is_blank) {
        return None;
    }
    digits[..end].iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// A decimal without a sign.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with an optional fraction, of which nanoseconds are kept: (seconds, nanoseconds) rounded towards the past.
pub(super) fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = dot.map_or((text, &b""[..]), |dot| (&text[..dot], &text[dot + 1..]));
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let nanoseconds = nanoseconds(fraction)?;
    match (negative, nanoseconds) {
        (false, _) => Some((seconds, nanoseconds)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanoseconds)),
    }
}

fn nanoseconds(fraction: &[u8]) -> Option<u32> {
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().map(|digit| u32::from(digit - b'0'));
    Some(digits.chain(std::iter::repeat(0)).take(9).fold(0, |value, digit| value * 10 + digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let cases: [(&[u8], Option<i64>); 12] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"\0\0\0\0", Some(0)),
            (b"", Some(0)),
            (b"12 34\0", None),
            (b"-1\0", None),
            (b"9\0", None),
            (b"\x80\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff", Some(-1)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (bytes, value) in cases {
            assert_eq!(field(bytes), value, "{bytes:?}");
        }
    }

    #[test]
    fn times() {
        for (text, value) in [
            ("1", Some((1, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.", Some((1, 0))),
            ("1.0000000019", Some((1, 1))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-3", Some((-3, 0))),
            ("", None),
            ("1.x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), value, "{text:?}");
        }
    }
}
