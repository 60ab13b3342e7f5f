//! An Ethernet address.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Six bytes, written `02:42:ac:11:00:02`. Never a group address, never all zero: no link may have such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// A unicast, locally administered address made of six random bytes.
    pub fn from_random(mut bytes: [u8; 6]) -> Self {
        bytes[0] = bytes[0] & 0xfe | 0x02;
        Self(bytes)
    }

    /// What the kernel says a link has.
    pub(crate) fn from_octets(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The bytes in the order in which they are sent.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |rule| Error::Value(format!("mac {text:?}: {rule}"));
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
            let value = part.and_then(|part| u8::from_str_radix(part, 16).ok());
            *byte = value.ok_or_else(|| refused("must be six bytes in hexadecimal, separated by colons"))?;
        }
        if parts.next().is_some() {
            return Err(refused("must be six bytes in hexadecimal, separated by colons"));
        }
        if bytes[0] & 1 != 0 || bytes == [0; 6] {
            return Err(refused("must be the address of one link"));
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(out, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(out, ":{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_written_as_it_was_read() {
        for text in ["02:42:ac:11:00:02", "fe:ff:ff:ff:ff:ff"] {
            assert_eq!(text.parse::<Mac>().unwrap().to_string(), text);
        }
        assert_eq!("02:42:AC:11:00:02".parse::<Mac>().unwrap().to_string(), "02:42:ac:11:00:02");
    }

    #[test]
    fn what_no_link_can_have_is_refused() {
        let wrong = ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "2:42:ac:11:0:2", "01:00:5e:00:00:01"];
        for text in wrong.into_iter().chain(["00:00:00:00:00:00", "02-42-ac-11-00-02", "+2:42:ac:11:00:02"]) {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn random_bytes_make_a_local_unicast_address() {
        assert_eq!(Mac::from_random([0xff; 6]).to_string(), "fe:ff:ff:ff:ff:ff");
        assert_eq!(Mac::from_random([0; 6]).to_string(), "02:00:00:00:00:00");
    }
}
