//! What a version 1 devices cgroup can hold: a default and the exceptions from it, one per (type, major, minor).
//!
//! The rules are the kernel's (`cgroup-v1/devices.rst`), but for one: the kernel silently ignores an attempt to take a
//! single device out of a wildcard, here it is an error, since the user believes the device to be shut.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Block,
    Char,
}

/// A device, or any with that major or minor number. Ordered as the rules are written: by major, minor, type; any first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Device {
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) kind: Kind,
}

/// A set of `r`, `w` and `m` (mknod), with the bits of `BPF_DEVCG_ACC_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access(pub(crate) u8);

/// A default and its exceptions. A new one allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) allow_by_default: bool,
    exceptions: BTreeMap<Device, Access>,
}

/// One line for `devices.allow` or `devices.deny`; no device is all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) allow: bool,
    pub(crate) device: Option<Device>,
    pub(crate) access: Access,
}

impl Access {
    const MKNOD: u8 = 1;
    const READ: u8 = 2;
    const WRITE: u8 = 4;
    pub(crate) const ALL: Self = Self(7);

    /// Other letters mean nothing: configurations have them, and runc takes those.
    pub(crate) fn parse(text: &str) -> Self {
        let bit = |letter| match letter {
            'r' => Self::READ,
            'w' => Self::WRITE,
            'm' => Self::MKNOD,
            _ => 0,
        };
        Self(text.chars().map(bit).fold(0, |set, bit| set | bit))
    }

    fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Policy {
    /// `a`: forgets all exceptions.
    pub(crate) fn set_all(&mut self, allow: bool) {
        *self = Self { allow_by_default: allow, exceptions: BTreeMap::new() };
    }

    /// Adds an exception, or takes one back when it says what the default says.
    pub(crate) fn set(&mut self, device: Device, access: Access, allow: bool) -> Result<(), Refusal> {
        let present = self.access_of(&device);
        let access = if allow == self.allow_by_default {
            self.check_for_hole(device, access)?;
            present.without(access)
        } else {
            present.union(access)
        };
        if access.is_empty() {
            self.exceptions.remove(&device);
        } else {
            self.exceptions.insert(device, access);
        }
        Ok(())
    }

    pub(crate) fn allows_everything(&self) -> bool {
        self.allow_by_default && self.exceptions.is_empty()
    }

    /// The fewest rules that turn `self` out of `old`, a policy in force, so that what both allow is never shut.
    ///
    /// A cgroup that allows by default does not show its exceptions, so it has to be reset.
    pub(crate) fn transition_from(&self, old: &Self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let reset = old.allow_by_default || self.allow_by_default;
        if reset {
            rules.push(Rule { allow: self.allow_by_default, device: None, access: Access::ALL });
        } else {
            rules.extend(self.differences(old, self.allow_by_default));
        }
        let empty = Self::default();
        rules.extend(if reset { &empty } else { old }.differences(self, !self.allow_by_default));
        rules
    }

    /// Rules for what `other` has and `self` has not.
    fn differences(&self, other: &Self, allow: bool) -> impl Iterator<Item = Rule> {
        other.exceptions.iter().filter_map(move |(device, access)| {
            let access = access.without(self.access_of(device));
            (!access.is_empty()).then_some(Rule { allow, device: Some(*device), access })
        })
    }

    fn access_of(&self, device: &Device) -> Access {
        self.exceptions.get(device).copied().unwrap_or_default()
    }

    fn check_for_hole(&self, device: Device, access: Access) -> Result<(), Refusal> {
        let wildcards = [
            Device { major: None, ..device },
            Device { minor: None, ..device },
            Device { major: None, minor: None, ..device },
        ];
        for wildcard in wildcards {
            let given = self.access_of(&wildcard);
            if wildcard != device && given.0 & access.0 != 0 {
                let text = |device, access| Rule { allow: true, device: Some(device), access }.to_string();
                return Err(Refusal::DeviceHole {
                    rule: text(device, access),
                    wildcard: text(wildcard, given),
                });
            }
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        match self.device {
            None => write!(f, "a *:* {}", self.access),
            Some(Device { kind, major, minor }) => {
                let kind = if kind == Kind::Block { 'b' } else { 'c' };
                write!(f, "{kind} {}:{} {}", number(major), number(minor), self.access)
            }
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")] {
            if self.0 & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(default: bool, exceptions: &[(&str, u32, i64)]) -> Policy {
        let mut policy = Policy { allow_by_default: default, ..Policy::default() };
        for &(access, major, minor) in exceptions {
            let device = Device { kind: Kind::Char, major: Some(major), minor: u32::try_from(minor).ok() };
            policy.set(device, Access::parse(access), !default).unwrap();
        }
        policy
    }

    fn transition(old: &Policy, new: &Policy) -> Vec<String> {
        let sign = |rule: &Rule| format!("{}{rule}", if rule.allow { '+' } else { '-' });
        new.transition_from(old).iter().map(sign).collect()
    }

    #[test]
    fn only_what_differs_is_written() {
        let old = policy(false, &[("rw", 1, 1), ("rwm", 1, 3), ("r", 9, -1)]);
        let new = policy(false, &[("r", 1, 1), ("rwm", 1, 3), ("w", 2, 2)]);
        assert_eq!(transition(&old, &new), ["-c 1:1 w", "-c 9:* r", "+c 2:2 w"]);
        assert!(transition(&new, &new).is_empty());
    }

    #[test]
    fn a_cgroup_that_allows_by_default_is_reset() {
        let (deny, allow) = (policy(false, &[("r", 1, 1)]), policy(true, &[("m", 2, 2)]));
        assert_eq!(transition(&policy(true, &[]), &deny), ["-a *:* rwm", "+c 1:1 r"]);
        assert_eq!(transition(&deny, &allow), ["+a *:* rwm", "-c 2:2 m"]);
        assert_eq!(transition(&allow, &allow), ["+a *:* rwm", "-c 2:2 m"]);
    }

    #[test]
    fn exceptions_add_up_and_are_taken_back() {
        let mut policy = policy(false, &[("r", 1, 1), ("w", 1, 1)]);
        let device = Device { kind: Kind::Char, major: Some(1), minor: Some(1) };
        policy.set(device, Access::parse("r"), false).unwrap();
        assert_eq!(policy.access_of(&device), Access::parse("w"));
        policy.set(device, Access::ALL, false).unwrap();
        assert_eq!(policy, Policy::default());
    }
}
