//! The devices controller of version 1: `devices.list` read, the transition written, the result read again.

use crate::dir::Dir;
use crate::error::{Error, Result};

use super::rules::{Access, Device, Kind, Policy};

const LIST: &str = "devices.list";

/// Puts a policy in force without shutting, even for a moment, what is open before and after.
///
/// # Errors
/// The parent cgroup allows less than asked for, among the usual ones.
pub(crate) fn write_transition(dir: &Dir, target: &Policy) -> Result<()> {
    let now = read_list(dir)?;
    for rule in target.transition_from(&now) {
        let file = if rule.allow { "devices.allow" } else { "devices.deny" };
        dir.write(file, &rule.to_string())?;
    }
    let now = read_list(dir)?;
    // Exceptions from "allow" are not shown by the kernel; only the default can be compared.
    let in_force = if target.allow_by_default { now.allow_by_default } else { now == *target };
    if in_force { Ok(()) } else { Err(Error::DevicesNotInForce) }
}

fn read_list(dir: &Dir) -> Result<Policy> {
    let text = dir.read(LIST)?;
    parse_list(&text).map_err(|line| Error::Malformed { file: dir.path().join(LIST), line: line.to_owned() })
}

/// One `type major:minor access` a line; the error is the line that is not.
fn parse_list(text: &str) -> std::result::Result<Policy, &str> {
    let mut policy = Policy::default();
    for line in text.lines() {
        if line.starts_with("a ") {
            policy.set_all(true);
            continue;
        }
        let (device, access) = parse_line(line).ok_or(line)?;
        policy.set(device, access, true).map_err(|_| line)?;
    }
    Ok(policy)
}

fn parse_line(line: &str) -> Option<(Device, Access)> {
    let mut fields = line.split([' ', ':']);
    let kind = match fields.next()? {
        "b" => Kind::Block,
        "c" => Kind::Char,
        _ => return None,
    };
    let mut number = || match fields.next()? {
        "*" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let device = Device { kind, major: number()?, minor: number()? };
    Some((device, Access::parse(fields.next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_is_understood() {
        let policy = parse_list("c *:* m\nc 1:3 rwm\nb 8:* r\n").unwrap();
        let rules: Vec<String> =
            policy.transition_from(&Policy::default()).iter().map(ToString::to_string).collect();
        assert_eq!(rules, ["c *:* m", "c 1:3 rwm", "b 8:* r"]);
        assert!(parse_list("a *:* rwm\n").unwrap().allows_everything());
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for line in ["x 1:1 r", "c 1 r", "c 1:y r", "c 1:1"] {
            assert_eq!(parse_list(line), Err(line));
        }
    }
}
