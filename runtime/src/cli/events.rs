//! The arguments of `events`.

use std::time::Duration;

use super::flag::Flag;
use super::scan::Stop;
use super::verb::{Count, Manual, Verb};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventsArgs {
    pub(crate) id: String,
    /// Zero where less than that was given.
    pub(crate) interval: Duration,
    /// Once, and no other events.
    pub(crate) stats: bool,
}

impl Default for EventsArgs {
    fn default() -> Self {
        Self { id: String::new(), interval: Duration::from_secs(5), stats: false }
    }
}

pub(super) const EVENTS: Verb<EventsArgs> = Verb {
    manual: Manual {
        name: "events",
        summary: "display container events such as OOM notifications, cpu, memory, and IO usage statistics",
        arguments: "<container-id>",
        about: "Prints one JSON object a line: what the container has used, again and again, and each time that it\n\
                runs out of memory. Ends with the container.",
    },
    flags: &[&[
        Flag::parsed(
            &["interval"],
            |a, text| parse_duration(text).map(|interval| a.interval = interval),
            "time between statistics, such as 1m30s or 100ms (default: 5s)",
        ),
        Flag::switch(&["stats"], |a, on| a.stats = on, "print the statistics of now, and end"),
    ]],
    count: Count::Exactly(1),
    stop: Stop::Never,
    take: |args, positional| args.id = positional[0].into(),
};

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// As Go's `time.ParseDuration`: numbers, each with its unit. Below zero is zero.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanoseconds = if unsigned == "0" { Some(0) } else { nanoseconds(unsigned) };
    let duration = nanoseconds.map(Duration::from_nanos).ok_or("no duration such as 5s or 100ms")?;
    Ok(if negative { Duration::ZERO } else { duration })
}

fn nanoseconds(mut rest: &str) -> Option<u64> {
    let mut total = 0_u64;
    loop {
        let number_ends = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, from_unit) = rest.split_at(number_ends);
        let unit_ends = from_unit
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(from_unit.len());
        let (unit, next) = from_unit.split_at(unit_ends);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(decimal(number, *unit)?)?;
        if next.is_empty() {
            return Some(total);
        }
        rest = next;
    }
}

/// `1.5` times `unit`, rounded down.
fn decimal(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        total = total.checked_add(place * u64::from(digit - b'0'))?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_go() {
        for (text, nanoseconds) in [
            ("5s", 5_000_000_000),
            ("100ms", 100_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("+.25s", 250_000_000),
            ("7\u{b5}s8us9ns", 15_009),
            ("0", 0),
            ("-5s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
        for text in ["", "-", "5", "s", ".s", "1.2.3s", "5 s", "5sec", "s5", "99999999999h", "5s3"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
