//! Points in time as RFC 3339 writes them, in UTC, with as many digits as Go's `RFC3339Nano` gives: no trailing zeros.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time now, from the system's clock, counted from 1970.
pub(crate) fn since_epoch() -> Duration {
    // A clock before 1970 is broken: then the epoch is as good as any.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let fraction = format!(".{:09}", since_epoch.subsec_nanos());
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar.
///
/// Counted in years that begin in March, so that the day that some years lack is the last one.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01 on, 400 years have 146,097 days.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March or August on have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (400 * cycle + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (4_107_456_000, "2100-02-28T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn days_follow_each_other() {
        let mut last = rfc3339(Duration::ZERO);
        for day in 1..200_000 {
            let text = rfc3339(Duration::from_secs(day * 86_400));
            assert!(text > last, "{text} after {last}");
            last = text;
        }
    }

    #[test]
    fn fractions_have_no_trailing_zeros() {
        for (nanos, text) in [
            (801_162_099, ".801162099"),
            (800_000_000, ".8"),
            (10, ".00000001"),
            (120_000, ".00012"),
            (0, ""),
        ] {
            assert_eq!(rfc3339(Duration::new(0, nanos)), format!("1970-01-01T00:00:00{text}Z"));
        }
    }
}
