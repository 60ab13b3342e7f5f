//! One nftables table for each engine: a rule set that does not grow, and maps of published ports that do.
//!
//! The whole table is replaced in one transaction when an engine starts or a bridge comes or goes ([`apply`]); ports come
//! and go one by one ([`publish`], [`withdraw`]), without a program being started. Connections that are established
//! survive both.

mod chains;
mod conntrack;
mod elements;
mod forwarding;
mod nf_tables;
mod rules;

use std::fmt;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use elements::{publish, withdraw};

use crate::attachment::Published;
use crate::bridge::Bridge;
use crate::error::{During, Error, Named, Result};
use crate::netlink::Socket;

/// The longest name, in bytes: room for a suffix within what iptables takes for a chain.
const LONGEST_NAME: usize = 20;

/// The name of an engine's table in the family `ip`: a letter, then letters, digits and `_`, 20 bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Table(String);

impl Table {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Table {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if !plain || !begins || name.len() > LONGEST_NAME {
            let rule = "must be a letter, then letters, digits and '_', 20 bytes at most";
            return Err(Error::Value(format!("table {name:?}: {rule}")));
        }
        Ok(Self(name))
    }
}

impl std::str::FromStr for Table {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        name.to_owned().try_into()
    }
}

impl From<Table> for String {
    fn from(table: Table) -> Self {
        table.0
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Everything that an engine's table holds.
#[derive(Debug, Clone, Copy)]
pub struct RuleSet<'a> {
    pub table: &'a Table,
    pub bridges: &'a [Bridge],
    pub published: &'a [Published],
    pub unrelated: Unrelated,
}

/// What becomes of packets that the host forwards between links that are none of the bridges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrelated {
    /// They are none of the table's business: right where the host was a router before.
    Untouched,
    /// They are dropped: right where [`enable_forwarding`] has made a router of the host, until it is started anew.
    Dropped,
}

/// Whether the host was a router already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    WasOn,
    TurnedOn,
}

/// Sets `net.ipv4.ip_forward`, and says whether it was set.
pub fn enable_forwarding() -> Result<Forwarding> {
    if crate::sysctl::read("ipv4/ip_forward")? == "1" {
        return Ok(Forwarding::WasOn);
    }
    crate::sysctl::write("ipv4/ip_forward", "1").map(|()| Forwarding::TurnedOn)
}

/// Makes the table hold this rule set and nothing else, in one transaction. Twice is as once. Also makes a way through a
/// FORWARD chain of iptables that drops by policy; what of other people's rules still stands in the way is returned, one
/// text for each.
pub fn apply(wanted: &RuleSet<'_>) -> Result<Vec<String>> {
    let act = || format!("replace nftables table {}", wanted.table);
    run("nft", &["-f", "-"], Some(&rules::text(wanted)?)).during(act)?;
    forwarding::open(wanted.table, wanted.bridges)
}

/// Removes the table and what [`apply`] added elsewhere. What is not there is no failure.
pub fn remove(table: &Table) -> Result<()> {
    let removed = match Socket::netfilter()?.request(&nf_tables::delete_table(table)) {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        other => other.during(|| format!("remove nftables table {table}")),
    };
    removed.and(forwarding::close(table))
}

/// Runs a program to its end; what it says is in the error, or else the answer.
fn run(program: &'static str, arguments: &[&str], input: Option<&str>) -> Result<String> {
    let start = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::NotInstalled(program),
        _ => Error::Start { program, source },
    };
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut command = Command::new(program);
    command.args(arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(start)?;
    let mut written = Ok(());
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        // These programs read to the end before they say anything. One that ends early has said why.
        written = pipe.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(start)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("failed without a word");
        return Err(Error::Program { program, said: line.trim().to_owned() });
    }
    written.named(|| format!("write to {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_said_to_be() {
        let error = run("knarr-has-no-such-program", &[], None).unwrap_err();
        assert_eq!(error.to_string(), "knarr-has-no-such-program is not installed, or not in PATH");
        let error = run("sh", &["-c", "echo why >&2; exit 1"], None).unwrap_err();
        assert_eq!(error.to_string(), "sh: why");
    }

    #[test]
    fn a_table_has_a_plain_name() {
        assert_eq!("knarr_2".parse::<Table>().unwrap().as_str(), "knarr_2");
        for name in ["", "2", "_a", "a-b", "a b", "a;b", "abcdefghijklmnopqrstu"] {
            assert!(name.parse::<Table>().is_err(), "{name}");
        }
    }
}
