//! What `GET /volumes` and a prune choose from.

use regex::Regex;

use super::store::Volume;
use super::{ANONYMOUS, LOCAL};
use crate::error::{Error, Result};
use crate::wire::Labels;

/// Which volumes are listed. Each field: no entry, no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListQuery {
    /// Those that no container has, or the others.
    pub(crate) dangling: Option<bool>,
    pub(crate) drivers: Vec<String>,
    /// Expressions that match somewhere in the name.
    pub(crate) names: Vec<String>,
    pub(crate) labels: Labelled,
}

/// Which unused volumes are removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PruneQuery {
    /// Named ones as well.
    pub(crate) all: bool,
    pub(crate) labels: Labelled,
}

/// Conditions on labels, each `NAME` or `NAME=VALUE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labelled {
    /// All of these.
    pub(crate) with: Vec<String>,
    /// Not all of these.
    pub(crate) without: Vec<String>,
}

impl Labelled {
    pub(crate) fn accepts(&self, labels: &Labels) -> bool {
        has_all(labels, &self.with) && (self.without.is_empty() || !has_all(labels, &self.without))
    }
}

fn has_all(labels: &Labels, wanted: &[String]) -> bool {
    wanted.iter().all(|wanted| {
        let (name, value) =
            wanted.split_once('=').map_or((wanted.as_str(), None), |(name, value)| (name, Some(value)));
        let found = labels.as_ref().and_then(|labels| labels.get(name));
        found.is_some_and(|found| value.is_none_or(|value| value == found))
    })
}

impl ListQuery {
    /// All conditions but `dangling`.
    pub(super) fn accepts(&self, volume: &Volume) -> Result<bool> {
        let driver = self.drivers.is_empty() || self.drivers.iter().any(|driver| driver == LOCAL);
        Ok(driver && self.labels.accepts(&volume.record.labels) && matches(&self.names, &volume.name)?)
    }
}

impl PruneQuery {
    pub(super) fn accepts(&self, volume: &Volume) -> bool {
        let kind =
            self.all || volume.record.labels.as_ref().is_some_and(|labels| labels.contains_key(ANONYMOUS));
        kind && self.labels.accepts(&volume.record.labels)
    }
}

/// Whether a name is one of these or is matched by one.
fn matches(names: &[String], name: &str) -> Result<bool> {
    if names.is_empty() || names.iter().any(|one| one == name) {
        return Ok(true);
    }
    for expression in names {
        let compiled = Regex::new(expression)
            .map_err(|error| Error::invalid(format!("invalid filter 'name={expression}': {error}")))?;
        if compiled.is_match(name) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn labels_are_compared_by_name_or_with_a_value() {
        let labels =
            Some(BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]));
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let accepts = |with: &[&str], without: &[&str]| {
            Labelled { with: words(with), without: words(without) }.accepts(&labels)
        };
        assert!(
            accepts(&[], &[]) && accepts(&["a"], &[]) && accepts(&["a=1", "b"], &[]) && accepts(&["b="], &[])
        );
        assert!(!accepts(&["a=2"], &[]) && !accepts(&["c"], &[]) && !accepts(&["a", "c"], &[]));
        assert!(accepts(&[], &["c"]) && accepts(&[], &["a", "c"]) && !accepts(&[], &["a"]));
        assert!(!Labelled { with: words(&["a"]), without: vec![] }.accepts(&None));
    }

    #[test]
    fn names_are_expressions() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(matches(&names(&["v"]), "my-v1").unwrap());
        assert!(!matches(&names(&["^v"]), "my-v1").unwrap());
        assert!(matches(&names(&["x", "1$"]), "my-v1").unwrap());
        assert!(matches(&names(&["("]), "v").is_err());
    }
}
