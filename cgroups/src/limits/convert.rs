//! Numbers of the specification, which are version 1's, in the units of version 2.

use crate::error::Refusal;
use crate::limits::MemoryCheck;
use crate::resources::Resources;

/// `cpu.shares` (2 to 262144, default 1024) as `cpu.weight` (1 to 10000, default 100).
///
/// A quadratic in the logarithm that maps both ends and the default onto each other; crun and runc use the same one.
// Shares are below 2^18 and weights positive here: nothing is lost.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// `blkio.weight` (10 to 1000) as `io.weight` (1 to 10000), linear.
pub(crate) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

/// What goes to `memory.swap.max`: swap alone, where the specification counts memory and swap together.
///
/// Zero or nothing is "leave it", -1 is no limit. Unlimited memory makes swap unlimited unless it is given.
pub(crate) fn swap_max(limit: i64, both: i64) -> Result<Option<String>, Refusal> {
    match (limit, both) {
        (-1, 0) | (_, -1) => Ok(Some("max".to_owned())),
        (_, 0) => Ok(None),
        (-1, both) => Ok(Some(both.to_string())),
        (0, _) => Err(Refusal::SwapWithoutLimit),
        (limit, _) if limit < 0 => Err(Refusal::MemoryValue(limit)),
        (limit, both) if both < limit => Err(Refusal::SwapBelowLimit),
        (limit, both) => Ok(Some((both - limit).to_string())),
    }
}

/// A size for a file that says `max` for "no limit"; zero is "leave it".
pub(crate) fn size(value: i64) -> Option<String> {
    match value {
        0 => None,
        -1 => Some("max".to_owned()),
        value => Some(value.to_string()),
    }
}

/// `pids.max`. Zero becomes 1, as systemd, which cannot hold a zero, does it.
pub(crate) fn pids_max(limit: i64) -> String {
    match limit {
        0 => "1".to_owned(),
        limit if limit < 0 => "max".to_owned(),
        limit => limit.to_string(),
    }
}

/// `cpu.max` needs a period; this is the kernel's default, in microseconds.
pub(crate) const DEFAULT_PERIOD: u64 = 100_000;
/// systemd holds quotas in whole percents of a CPU: 10 ms of each second.
const QUOTA_STEP: u64 = 10_000;

/// A quota, in microseconds a period, as microseconds a second, rounded up to what systemd can hold: never less than
/// was asked for.
pub(crate) fn quota_per_second(quota: u64, period: u64) -> u64 {
    let period = if period == 0 { DEFAULT_PERIOD } else { period };
    let exact = u128::from(quota) * 1_000_000 / u128::from(period);
    u64::try_from(exact).unwrap_or(u64::MAX).min(u64::MAX - QUOTA_STEP).next_multiple_of(QUOTA_STEP)
}

/// A positive quota that loses nothing on its way through systemd.
pub(crate) fn rounded_quota(quota: i64, period: u64) -> i64 {
    let period = if period == 0 { DEFAULT_PERIOD } else { period };
    let per_second = quota_per_second(quota.unsigned_abs(), period);
    i64::try_from(u128::from(per_second) * u128::from(period) / 1_000_000).unwrap_or(quota)
}

pub(crate) fn memory_check(resources: &Resources) -> MemoryCheck {
    let positive =
        |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    match &resources.memory {
        Some(memory) if memory.check_before_update == Some(true) => {
            MemoryCheck { limit: positive(memory.limit), swap: positive(memory.swap) }
        }
        _ => MemoryCheck::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        // Both ends, the default, and values computed independently with the published formula.
        for (shares, weight) in [
            (0, 1),
            (1, 1),
            (2, 1),
            (3, 2),
            (10, 4),
            (100, 17),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (10_000, 627),
        ] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        for (shares, weight) in [(262_143, 10_000), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }

    #[test]
    fn block_weights_become_io_weights() {
        for (weight, io) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight(weight), io, "{weight}");
        }
    }

    #[test]
    fn quotas_are_rounded_up() {
        for (quota, period, per_second, rounded) in [
            (12_345, 100_000, 130_000, 13_000),
            (50_000, 0, 500_000, 50_000),
            (500_000, 1_000_000, 500_000, 500_000),
            (1000, 3000, 340_000, 1020),
        ] {
            assert_eq!(quota_per_second(quota, period), per_second);
            assert_eq!(rounded_quota(i64::try_from(quota).unwrap(), period), rounded);
        }
        assert!(quota_per_second(u64::MAX, 1) > 1 << 62);
    }

    #[test]
    fn swap_is_taken_apart() {
        let max = Ok(Some("max".to_owned()));
        let value = |text: &str| Ok(Some(text.to_owned()));
        for (limit, both, expected) in [
            (0, 0, Ok(None)),
            (100, 0, Ok(None)),
            (-1, 0, max.clone()),
            (100, -1, max.clone()),
            (0, -1, max.clone()),
            (-1, 300, value("300")),
            (100, 300, value("200")),
            (100, 100, value("0")),
            (0, 300, Err(Refusal::SwapWithoutLimit)),
            (-2, 300, Err(Refusal::MemoryValue(-2))),
            (300, 100, Err(Refusal::SwapBelowLimit)),
            (i64::MAX, i64::MAX, value("0")),
        ] {
            assert_eq!(swap_max(limit, both), expected, "{limit} {both}");
        }
    }
}
