//! The query of a request.

use percent_encoding::percent_decode_str;

use crate::error::Result;
use crate::wire::atoi;

/// Names and values, decoded, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let decode =
            |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of a name, if it is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        values.into_iter().find(|value| !value.is_empty())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Docker's rule: nothing, 0, no, false and none are false, anything else is true.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// The same of a name that may be missing.
    pub(super) fn flag_or(&self, name: &str, missing: bool) -> bool {
        match self.all(name).next() {
            None => missing,
            Some(value) => {
                !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
            }
        }
    }

    /// A number; nothing is none.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>> {
        self.text(name).map(atoi).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_flags_are_dockers() {
        let query = Query::parse("a=b%20c+d&flag=1&no=False&empty=&t=x&t=y&bare&n=-1&bad=x");
        assert_eq!(query.text("a"), Some("b c d"));
        assert!(query.flag("flag") && !query.flag("no") && !query.flag("empty") && !query.flag("bare"));
        assert!(query.flag_or("missing", true) && !query.flag_or("no", true));
        assert_eq!(query.all("t").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(query.number("n").unwrap(), Some(-1));
        assert_eq!(query.number("empty").unwrap(), None);
        assert!(query.number("bad").is_err());
    }
}
