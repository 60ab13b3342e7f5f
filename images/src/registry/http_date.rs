//! Dates of HTTP (RFC 9110 section 5.6.7), in the form that is sent today and the two that are not.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` or `Sun Nov  6 08:49:37 1994`.
/// `now`, in the same unit, says which century a year of two digits is in. Dates before 1970 are none.
pub(super) fn parse(text: &str, now: u64) -> Option<u64> {
    let words: Vec<&str> = text.split([' ', ',', '-']).filter(|word| !word.is_empty()).collect();
    let (year, month, day, time) = match words.as_slice() {
        [_, day, month, year, time, "GMT"] if year.len() == 2 => {
            (in_century(number(year)?, now), month, day, time)
        }
        [_, day, month, year, time, "GMT"] | [_, month, day, time, year] => (number(year)?, month, day, time),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| name == month)? as u64 + 1;
    let day = number(day).filter(|day| (1..=31).contains(day))?;
    let time: Vec<u64> = time.split(':').map(number).collect::<Option<_>>()?;
    let [hour @ 0..=23, minute @ 0..=59, second @ 0..=60] = time[..] else { return None };
    let days = days_since_epoch(year, month, day)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(text: &str) -> Option<u64> {
    let is_plain = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { text.parse().ok() } else { None }
}

/// The year that is at most 50 years ahead.
fn in_century(year: u64, now: u64) -> u64 {
    let this = 1970 + now / (365 * 86_400 + 20_952);
    let year = this / 100 * 100 + year;
    if year > this + 50 { year - 100 } else { year }
}

/// Of the Gregorian calendar. Years are counted from March, so that the day that some lack is the last one.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_225_600;

    #[test]
    fn all_three_forms_are_read() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text, NOW), Some(784_111_777), "{text}");
        }
        assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 GMT", NOW), Some(0));
        assert_eq!(parse("Tue, 29 Feb 2028 12:00:00 GMT", NOW), Some(1_835_438_400));
        assert_eq!(parse("Friday, 31-Dec-49 23:59:59 GMT", NOW), Some(2_524_607_999));
    }

    #[test]
    fn dates_follow_the_calendar_that_writes_them() {
        for days in (0..80_000).step_by(7) {
            let text = crate::timestamp::rfc3339(std::time::Duration::from_secs(days * 86_400));
            let parts: Vec<u64> = text[..10].split('-').map(|part| part.parse().unwrap()).collect();
            assert_eq!(days_since_epoch(parts[0], parts[1], parts[2]), Some(days), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "7",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1954 08:49:37 GMT",
            "Sun, 06 Nov 99999 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text, NOW), None, "{text}");
        }
    }
}
