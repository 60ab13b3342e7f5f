//! Numbers in queries and filters, and what Go says of those that are none.

use std::num::IntErrorKind;

use crate::error::{Error, Result};

/// Reads a whole number.
pub(crate) fn atoi(text: &str) -> Result<i64> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let problem = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Error::invalid(format!("strconv.Atoi: parsing {text:?}: {problem}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        assert_eq!((atoi("-7").unwrap(), atoi("+7").unwrap()), (-7, 7));
        for (text, problem) in [("", "invalid syntax"), ("1_0", "invalid syntax"), ("1e99", "invalid syntax")]
        {
            let error = atoi(text).unwrap_err();
            assert_eq!(error.message, format!("strconv.Atoi: parsing {text:?}: {problem}"));
        }
        assert!(atoi("-9223372036854775809").unwrap_err().message.ends_with("value out of range"));
    }
}
