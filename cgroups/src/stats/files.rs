//! The few formats in which the kernel writes numbers.

use std::collections::BTreeMap;

use rustix::io;

use crate::dir::Dir;
use crate::error::{Error, Result};

use super::shape::{Pressure, PressureLine};

/// One number; `max` is the greatest there is. Absent is 0.
pub(super) fn number(dir: &Dir, file: &str) -> Result<u64> {
    Ok(number_if_present(dir, file)?.unwrap_or(0))
}

pub(super) fn number_if_present(dir: &Dir, file: &str) -> Result<Option<u64>> {
    let Some(text) = dir.read_if_present(file)? else { return Ok(None) };
    match text.trim() {
        "max" => Ok(Some(u64::MAX)),
        // Some files count down to a small negative number when they race with themselves.
        digits if digits.starts_with('-') => Ok(Some(0)),
        digits => digits.parse().map(Some).map_err(|_| malformed(dir, file, digits)),
    }
}

/// `key value` a line; lines of another form are skipped.
pub(super) fn keyed(dir: &Dir, file: &str) -> Result<BTreeMap<String, u64>> {
    let text = dir.read_if_present(file)?.unwrap_or_default();
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    Ok(text.lines().filter_map(pair).collect())
}

/// Numbers with spaces between.
pub(super) fn numbers(dir: &Dir, file: &str) -> Result<Vec<u64>> {
    let text = dir.read_if_present(file)?.unwrap_or_default();
    text.split_whitespace().map(|word| word.parse().map_err(|_| malformed(dir, file, word))).collect()
}

/// A list as in cpuset(7), every member of it.
pub(super) fn list(dir: &Dir, file: &str) -> Result<Vec<u16>> {
    let text = dir.read_if_present(file)?.unwrap_or_default();
    let mut all = Vec::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => all.extend(first..=last),
            _ => return Err(malformed(dir, file, range)),
        }
    }
    Ok(all)
}

/// Pressure stall information, `Documentation/accounting/psi.rst`; none where it is switched off.
pub(super) fn pressure(dir: &Dir, file: &str) -> Result<Option<Pressure>> {
    match dir.read_if_present(file) {
        Ok(text) => {
            text.map(|text| parse_pressure(&text).ok_or_else(|| malformed(dir, file, &text))).transpose()
        }
        Err(error) if error.errno() == Some(io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_pressure(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let target = match words.next()? {
            "some" => &mut pressure.some,
            "full" => &mut pressure.full,
            _ => continue,
        };
        *target = parse_pressure_line(words)?;
    }
    Some(pressure)
}

fn parse_pressure_line<'a>(words: impl Iterator<Item = &'a str>) -> Option<PressureLine> {
    let mut line = PressureLine::default();
    for word in words {
        match word.split_once('=')? {
            ("avg10", value) => line.avg10 = value.parse().ok()?,
            ("avg60", value) => line.avg60 = value.parse().ok()?,
            ("avg300", value) => line.avg300 = value.parse().ok()?,
            ("total", value) => line.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(line)
}

pub(super) fn malformed(dir: &Dir, file: &str, line: &str) -> Error {
    Error::Malformed { file: dir.path().join(file), line: line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_lines() {
        let text = "some avg10=0.12 avg60=1.00 avg300=0.00 total=345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let pressure = parse_pressure(text).unwrap();
        assert_eq!(pressure.some, PressureLine { avg10: 0.12, avg60: 1.0, avg300: 0.0, total: 345 });
        assert_eq!(pressure.full.total, 7);
        assert_eq!(parse_pressure("some avg10=x"), None);
        assert_eq!(parse_pressure("some avg10"), None);
        let json = serde_json::to_string(&pressure).unwrap();
        assert_eq!(
            json,
            r#"{"some":{"avg10":0.12,"avg60":1,"avg300":0,"total":345},"full":{"avg10":0,"avg60":0,"avg300":0,"total":7}}"#
        );
    }
}
