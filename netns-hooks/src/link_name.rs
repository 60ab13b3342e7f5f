//! The name of a network link.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The longest name, in bytes: IFNAMSIZ without the zero.
const LONGEST: usize = 15;

/// A name that the kernel takes (`dev_valid_name`), and that means the same in a rule of nft(8) and in a path below
/// /proc/sys: letters, digits, `-`, `_`, `.` and `@`, not `.` or `..`, not `all` or `default`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName(String);

impl LinkName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LinkName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |rule| Error::Value(format!("link name {text:?}: {rule}"));
        if text.is_empty() || text.len() > LONGEST {
            return Err(refused("must have 1 to 15 bytes"));
        }
        // `all` and `default` are no links but settings of every link.
        if matches!(text, "." | ".." | "all" | "default" | "lo") {
            return Err(refused("is taken"));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        if !text.bytes().all(fits) {
            return Err(refused("must be letters, digits, '-', '_', '.' and '@'"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for LinkName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> Self {
        name.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links() {
        for name in ["eth0", "br-0123456789ab", "eth0.100", "veth1a2b3c4"] {
            assert_eq!(name.parse::<LinkName>().unwrap().as_str(), name);
        }
        let wrong = ["", "lo", "all", "..", "a/b", "a b", "a\"b", "0123456789abcdef", "a\n", "eth0:1"];
        for name in wrong {
            assert!(name.parse::<LinkName>().is_err(), "{name}");
        }
    }
}
