//! The containers that a command on several acts on.

use std::ffi::CString;
use std::path::Path;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::sys::Regex;

/// crun's `--regex`: acts on each container whose id the POSIX extended regular expression matches somewhere. Goes on
/// after a failure, and returns the first.
pub(super) fn each_matching(root: &Path, pattern: &str, act: impl Fn(&str) -> Result<()>) -> Result<()> {
    let mut first = Ok(());
    for id in matching(root, pattern)? {
        first = first.and(act(&id));
    }
    first
}

fn matching(root: &Path, pattern: &str) -> Result<Vec<String>> {
    let invalid = || Error::Usage(format!("invalid regular expression {pattern}"));
    let regex = CString::new(pattern)
        .ok()
        .and_then(|pattern| Regex::compile(&pattern))
        .ok_or_else(invalid)?;
    let ids = match Store::open(root) {
        Err(Error::NotExist) => Vec::new(),
        store => store?.ids()?,
    };
    let matches = |id: &String| CString::new(id.as_str()).is_ok_and(|id| regex.is_match(&id));
    Ok(ids.into_iter().filter(matches).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, id: &str) -> bool {
        Regex::compile(&CString::new(pattern).unwrap())
            .unwrap()
            .is_match(&CString::new(id).unwrap())
    }

    #[test]
    fn expressions_are_posix_extended_ones() {
        for (pattern, id, expected) in [
            ("web", "my-web-1", true),
            ("^web", "my-web", false),
            ("^web-[0-9]+$", "web-12", true),
            ("^(a|b){2}$", "ab", true),
            ("^[[:digit:]]+$", "12a", false),
            ("", "anything", true),
        ] {
            assert_eq!(is_match(pattern, id), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn a_broken_expression_is_refused() {
        let error = matching(Path::new("/nowhere"), "(").unwrap_err();
        assert_eq!(error.line(), "invalid regular expression (");
        assert!(matching(Path::new("/nowhere"), "a").unwrap().is_empty());
    }
}
