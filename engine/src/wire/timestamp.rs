//! Points in time as clients write them: seconds since 1970 with nanoseconds, dates, and how long ago.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};

/// `SECONDS[.NANOSECONDS]` since 1970. Empty is none.
pub(crate) fn unix_time(text: &str) -> Result<Option<Timestamp>> {
    if text.is_empty() {
        return Ok(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let nanoseconds = match fraction.get(..9).unwrap_or(fraction) {
        "" => Some(0),
        fraction if digits(fraction) => format!("{fraction:0<9}").parse().ok(),
        _ => None,
    };
    let time = seconds.parse().ok().zip(nanoseconds).and_then(|(seconds, nanoseconds): (i64, i32)| {
        Timestamp::new(seconds, if seconds < 0 { -nanoseconds } else { nanoseconds }).ok()
    });
    time.map(Some).ok_or_else(|| unreadable(text))
}

/// What `until` of a filter may be: a duration before `now` in Go's words (`1h30m`), a date of RFC 3339 with or without its
/// time and its zone (then that of the engine), or seconds since 1970.
pub(crate) fn point_in_time(text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Some(ago) = go_duration(text).filter(|_| text != "0") {
        return now.checked_sub(ago).map_err(|_| unreadable(text));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let local = text.parse::<DateTime>().ok().or_else(|| Some(text.parse::<Date>().ok()?.at(0, 0, 0, 0)));
    if let Some(zoned) = local.and_then(|time| time.to_zoned(TimeZone::system()).ok()) {
        return Ok(zoned.timestamp());
    }
    unix_time(text)?.ok_or_else(|| unreadable(text))
}

/// A duration as Go writes it: numbers with their units, `1.5h`, `2h45m`, `-3s`.
fn go_duration(text: &str) -> Option<SignedDuration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number_ends = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_ends);
        let unit_ends = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_ends);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    SignedDuration::try_from_secs_f64(sign * seconds).ok()
}

fn unreadable(text: &str) -> Error {
    Error::invalid(format!("failed to parse value as time or duration: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_since_1970() {
        let at = |text: &str| unix_time(text).map(|time| time.map(Timestamp::as_nanosecond));
        assert_eq!(at("").unwrap(), None);
        assert_eq!(at("12").unwrap(), Some(12_000_000_000));
        assert_eq!(at("12.5").unwrap(), Some(12_500_000_000));
        assert_eq!(at("12.000000001").unwrap(), Some(12_000_000_001));
        assert_eq!(at("12.0000000019").unwrap(), Some(12_000_000_001));
        for wrong in ["x", "1.x", "1.-5", "99999999999999999999"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_dates_and_seconds() {
        let now: Timestamp = "2026-03-04T05:06:07Z".parse().unwrap();
        for (text, want) in [
            ("10m", "2026-03-04T04:56:07Z"),
            ("1h30m", "2026-03-04T03:36:07Z"),
            ("1.5h", "2026-03-04T03:36:07Z"),
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("1000000000.25", "2001-09-09T01:46:40.25Z"),
        ] {
            assert_eq!(point_in_time(text, now).unwrap().to_string(), want, "{text}");
        }
        for local in ["2026-01-01", "2026-01-01T10:00", "2026-01-01T10:00:00.5"] {
            assert!(point_in_time(local, now).is_ok(), "{local}");
        }
        for wrong in ["", "yesterday", "10x", "h", "1h-"] {
            assert!(point_in_time(wrong, now).is_err(), "{wrong}");
        }
    }
}
