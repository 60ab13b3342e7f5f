//! Which devices a cgroup may use: the list of the specification, reduced to what version 1 can hold, then written
//! to version 1 or compiled to one program for version 2.
//!
//! Both versions go through the same [`Policy`]: what version 1 cannot express is refused on both.

mod attach;
mod program;
mod rules;
mod v1;

pub(crate) use attach::{attach, load};
pub(crate) use program::Program;
pub(crate) use rules::{Device, Kind, Policy, Rule};
pub(crate) use v1::write_transition;

use crate::error::Refusal;
use crate::resources::DeviceRule;
use rules::Access;

/// Every container may make any node and use these, whatever its list says: it comes last, as in runc. Entries are
/// type, major, minor (-1 is any) and access. The last one, `/dev/net/tun`, is there because its removal in another
/// runtime broke users who had no way to add it.
const DEFAULTS: [(Kind, i64, i64, &str); 11] = [
    (Kind::Char, -1, -1, "m"),
    (Kind::Block, -1, -1, "m"),
    (Kind::Char, 1, 3, "rwm"),
    (Kind::Char, 1, 8, "rwm"),
    (Kind::Char, 1, 7, "rwm"),
    (Kind::Char, 5, 0, "rwm"),
    (Kind::Char, 1, 5, "rwm"),
    (Kind::Char, 1, 9, "rwm"),
    (Kind::Char, 136, -1, "rwm"),
    (Kind::Char, 5, 2, "rwm"),
    (Kind::Char, 10, 200, "rwm"),
];

/// The list of the configuration and the defaults behind it, as one policy; a cgroup starts with nothing allowed.
pub(crate) fn policy(list: &[DeviceRule]) -> Result<Policy, Refusal> {
    let mut policy = Policy::default();
    for (index, rule) in list.iter().enumerate() {
        if rule.access.is_empty() {
            return Err(Refusal::DeviceAccessEmpty(index));
        }
        match device(index, rule)? {
            None => policy.set_all(rule.allow),
            Some((device, access)) => policy.set(device, access, rule.allow)?,
        }
    }
    for (kind, major, minor, access) in DEFAULTS {
        let device = Device { kind, major: number(0, major)?, minor: number(0, minor)? };
        policy.set(device, Access::parse(access), true)?;
    }
    Ok(policy)
}

/// The device a rule is about; none if it is about all of them.
fn device(index: usize, rule: &DeviceRule) -> Result<Option<(Device, Access)>, Refusal> {
    let kind = match rule.kind.as_str() {
        "" | "a" => return Ok(None),
        "b" => Kind::Block,
        "c" => Kind::Char,
        kind => {
            return Err(Refusal::DeviceType { index, kind: kind.to_owned() });
        }
    };
    let (major, minor) = (rule.major.unwrap_or(-1), rule.minor.unwrap_or(-1));
    Ok(Some((
        Device { kind, major: number(index, major)?, minor: number(index, minor)? },
        Access::parse(&rule.access),
    )))
}

/// Negative is any.
fn number(index: usize, number: i64) -> Result<Option<u32>, Refusal> {
    match u32::try_from(number) {
        Ok(number) => Ok(Some(number)),
        Err(_) if number < 0 => Ok(None),
        Err(_) => Err(Refusal::DeviceNumber { index, number }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> DeviceRule {
        DeviceRule { allow, kind: kind.into(), major: Some(major), minor: Some(minor), access: access.into() }
    }

    #[test]
    fn no_list_means_the_defaults() {
        let policy = policy(&[]).unwrap();
        let rules: Vec<String> =
            policy.transition_from(&Policy::default()).iter().map(ToString::to_string).collect();
        assert_eq!(
            rules,
            [
                "b *:* m",
                "c *:* m",
                "c 1:3 rwm",
                "c 1:5 rwm",
                "c 1:7 rwm",
                "c 1:8 rwm",
                "c 1:9 rwm",
                "c 5:0 rwm",
                "c 5:2 rwm",
                "c 10:200 rwm",
                "c 136:* rwm",
            ]
        );
    }

    #[test]
    fn allow_all_swallows_the_defaults() {
        let policy = policy(&[rule(true, "a", -1, -1, "rwm")]).unwrap();
        assert_eq!(policy.transition_from(&Policy::default())[0].to_string(), "a *:* rwm");
        assert!(policy.allows_everything());
    }

    #[test]
    fn refusals_name_the_entry() {
        let refused = |rule| policy(&[rule]).unwrap_err().to_string();
        assert_eq!(refused(rule(true, "c", 1, 1, "")), "device access at 0 field cannot be empty");
        assert_eq!(
            refused(rule(true, "u", 1, 1, "r")),
            "invalid cgroup device type \"u\" at linux.resources.devices[0]"
        );
        assert_eq!(
            refused(rule(true, "c", 1 << 32, 1, "r")),
            "linux.resources.devices[0]: device number 4294967296 is above 4294967295"
        );
    }

    #[test]
    fn a_hole_in_a_wildcard_is_refused() {
        let refused = policy(&[rule(true, "c", 8, -1, "rw"), rule(false, "c", 8, 1, "w")]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "device rule \"c 8:1 w\" cannot punch a hole in the existing wildcard rule \"c 8:* rw\""
        );
        // Taking away what the wildcard does not give is no hole.
        assert!(policy(&[rule(true, "c", 8, -1, "r"), rule(false, "c", 8, 1, "w")]).is_ok());
    }

    #[test]
    fn denying_a_default_has_no_effect_and_denying_all_starts_afresh() {
        let plain = policy(&[]).unwrap();
        assert_eq!(policy(&[rule(false, "c", 1, 3, "rwm")]).unwrap(), plain);
        assert_eq!(policy(&[rule(true, "b", 8, 0, "r"), rule(false, "", -1, -1, "rwm")]).unwrap(), plain);
    }
}
