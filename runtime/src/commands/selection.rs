//! The containers that a command on several acts on.

use std::path::Path;

use crate::error::{Error, Result};
use crate::pattern::Pattern;
use crate::store::Store;

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
    let pattern = Pattern::parse(pattern).ok_or_else(invalid)?;
    let ids = match Store::open(root) {
        Err(Error::NotExist) => Vec::new(),
        store => store?.ids()?,
    };
    Ok(ids.into_iter().filter(|id| pattern.is_match(id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_expression_is_refused() {
        let error = matching(Path::new("/nowhere"), "(").unwrap_err();
        assert_eq!(error.line(), "invalid regular expression (");
        assert!(matching(Path::new("/nowhere"), "a").unwrap().is_empty());
    }
}
