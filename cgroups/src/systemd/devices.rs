//! The device policy as `DevicePolicy=` and `DeviceAllow=`: systemd.resource-control(5).

use crate::devices::{Device, Kind, Policy, Rule};

use super::bus::Value;
use super::calls::Property;

/// systemd cannot say "all but", nor "any major with that minor": such rules are left to the cgroup's own files, and
/// named in `warnings`. From version 240 on, a major number may stand for its devices.
pub(super) fn device_properties(policy: &Policy, warnings: &mut Vec<String>) -> Vec<Property> {
    let mut entries = Vec::new();
    if policy.allow_by_default {
        if !policy.allows_everything() {
            warnings.push(
                "systemd doesn't support blacklist device rules -- applying temporary deny-all rule"
                    .to_owned(),
            );
        }
    } else {
        for rule in policy.transition_from(&Policy::default()) {
            match path(&rule) {
                Some(path) => {
                    entries.push(Value::Struct(vec![Value::Str(path), Value::Str(rule.access.to_string())]));
                }
                None => warnings
                    .push(format!("systemd doesn't support '*:n' device rules -- ignoring rule: {rule}")),
            }
        }
    }
    let mode = if policy.allows_everything() { "auto" } else { "strict" };
    // The empty list first: it takes back what an update finds in force.
    let list = |entries| ("DeviceAllow".to_owned(), Value::Array("(ss)".to_owned(), entries));
    let mut properties = vec![list(Vec::new()), ("DevicePolicy".to_owned(), Value::str(mode))];
    if !entries.is_empty() {
        properties.push(list(entries));
    }
    properties
}

fn path(rule: &Rule) -> Option<String> {
    let Device { kind, major, minor } = rule.device?;
    let kind = if kind == Kind::Block { "block" } else { "char" };
    match (major, minor) {
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        (Some(major), None) => Some(format!("{kind}-{major}")),
        (None, None) => Some(format!("{kind}-*")),
        (None, Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::policy;
    use crate::resources::DeviceRule;

    fn rule(allow: bool, kind: &str, major: i64, minor: i64) -> DeviceRule {
        DeviceRule { allow, kind: kind.into(), major: Some(major), minor: Some(minor), access: "rw".into() }
    }

    fn lines(list: &[DeviceRule]) -> (Vec<String>, Vec<String>) {
        let mut warnings = Vec::new();
        let mut lines = Vec::new();
        for (name, value) in device_properties(&policy(list).unwrap(), &mut warnings) {
            match value {
                Value::Array(_, entries) if entries.is_empty() => lines.push(format!("{name}=")),
                Value::Array(_, entries) => lines.extend(entries.iter().map(|entry| match entry {
                    Value::Struct(fields) => {
                        format!("{name}={fields:?}").replace("Str(", "").replace(')', "")
                    }
                    other => format!("{other:?}"),
                })),
                Value::Str(text) => lines.push(format!("{name}={text}")),
                other => lines.push(format!("{other:?}")),
            }
        }
        (lines, warnings)
    }

    #[test]
    fn what_systemd_can_say() {
        let (lines, warnings) = lines(&[rule(true, "b", 8, -1), rule(true, "c", -1, 9)]);
        assert_eq!(lines[..2], ["DeviceAllow=", "DevicePolicy=strict"]);
        for line in [
            "DeviceAllow=[\"block-*\", \"m\"]",
            "DeviceAllow=[\"char-*\", \"m\"]",
            "DeviceAllow=[\"/dev/char/1:3\", \"rwm\"]",
            "DeviceAllow=[\"char-136\", \"rwm\"]",
            "DeviceAllow=[\"block-8\", \"rw\"]",
        ] {
            assert!(lines.iter().any(|other| other == line), "{line} is not in {lines:?}");
        }
        assert_eq!(warnings, ["systemd doesn't support '*:n' device rules -- ignoring rule: c *:9 rw"]);
    }

    #[test]
    fn all_and_all_but() {
        assert_eq!(
            lines(&[rule(true, "a", -1, -1)]),
            (vec!["DeviceAllow=".into(), "DevicePolicy=auto".into()], vec![])
        );
        let (lines, warnings) = lines(&[rule(true, "a", -1, -1), rule(false, "b", 8, 0)]);
        assert_eq!(lines, ["DeviceAllow=", "DevicePolicy=strict"]);
        assert_eq!(warnings.len(), 1);
    }
}
