//! `filters` of a query: by key, the values of which one (or, for labels, all) must fit. Docker's clients write them in two
//! forms, `{"label":{"a=b":true}}` and `{"label":["a=b"]}`.

use std::collections::{BTreeMap, BTreeSet};

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::error::{Error, Result};

/// What a list or a stream is narrowed down to. A key without values narrows nothing down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, BTreeSet<String>>);

/// Values of one key that are regular expressions, compiled once for a whole list.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    values: BTreeSet<String>,
    expressions: Vec<Regex>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Encoded {
    Sets(BTreeMap<String, Option<BTreeMap<String, bool>>>),
    Lists(BTreeMap<String, Option<Vec<String>>>),
}

impl Filters {
    /// Reads the parameter; empty is no filter.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let encoded: Option<Encoded> =
            serde_json::from_str(text).map_err(|_| Error::invalid("invalid filter"))?;
        let fields = match encoded {
            None => BTreeMap::new(),
            Some(Encoded::Sets(fields)) => {
                let values =
                    |set: Option<BTreeMap<String, bool>>| set.into_iter().flatten().map(|(value, _)| value);
                fields.into_iter().map(|(key, set)| (key, values(set).collect())).collect()
            }
            Some(Encoded::Lists(fields)) => {
                fields.into_iter().map(|(key, list)| (key, list.into_iter().flatten().collect())).collect()
            }
        };
        Ok(Self(fields))
    }

    /// Refuses keys that do not belong to this list.
    pub(crate) fn check(&self, accepted: &[&str]) -> Result<()> {
        match self.0.keys().find(|key| !accepted.contains(&key.as_str())) {
            Some(key) => Err(Error::invalid(format!("invalid filter '{key}'"))),
            None => Ok(()),
        }
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// A value that is true or false; none if the key is not there.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(values) = self.0.get(key) else { return Ok(None) };
        let one_of = |words: [&str; 2]| words.iter().any(|word| values.contains(*word));
        match (one_of(["1", "true"]), one_of(["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ if values.is_empty() => Err(Error::invalid(format!("invalid filter '{key}'"))),
            _ => {
                let values = values.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
                Err(Error::invalid(format!("invalid filter '{key}=[{values}]'")))
            }
        }
    }

    /// The text is one of the values.
    pub(crate) fn is(&self, key: &str, text: &str) -> bool {
        self.0.get(key).is_none_or(|values| values.is_empty() || values.contains(text))
    }

    /// The text begins with one of the values.
    pub(crate) fn begins(&self, key: &str, text: &str) -> bool {
        self.is(key, text) || self.values(key).any(|value| text.starts_with(value))
    }

    /// The values as regular expressions.
    pub(crate) fn patterns(&self, key: &str) -> Patterns {
        let values = self.0.get(key).cloned().unwrap_or_default();
        // As with Docker, what is no expression can still be equal. Go's classes are of ASCII.
        let compile = |value: &String| RegexBuilder::new(value).unicode(false).build().ok();
        Patterns { expressions: values.iter().filter_map(compile).collect(), values }
    }

    /// Every value, a label's name or `NAME=VALUE`, is among the labels.
    pub(crate) fn has_labels(&self, key: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.values(key).all(|value| {
            let (name, wanted) =
                value.split_once('=').map_or((value, None), |(name, text)| (name, Some(text)));
            let found = labels.and_then(|labels| labels.get(name));
            found.is_some_and(|found| wanted.is_none_or(|wanted| wanted == found))
        })
    }

    /// `label` and `label!` of a prune.
    pub(crate) fn labels_fit(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.has_labels("label", labels) && !(self.contains("label!") && self.has_labels("label!", labels))
    }
}

impl Patterns {
    /// One of them is in the text, or equals it. None at all is no condition.
    pub(crate) fn fit(&self, text: &str) -> bool {
        self.values.is_empty()
            || self.values.contains(text)
            || self.expressions.iter().any(|expression| expression.is_match(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Filters {
        Filters::parse(text).unwrap()
    }

    #[test]
    fn both_forms_are_the_same() {
        let sets = parsed(r#"{"label":{"a=b":true,"c":true},"status":{"exited":true}}"#);
        assert_eq!(sets, parsed(r#"{"label":["a=b","c"],"status":["exited"]}"#));
        assert_eq!(sets.values("label").collect::<Vec<_>>(), ["a=b", "c"]);
        for nothing in ["", "{}", "null"] {
            assert_eq!(parsed(nothing), Filters::default(), "{nothing}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_in_dockers_words() {
        for text in ["x", "[]", r#"{"a":1}"#, r#"{"a":"b"}"#, r#"{"a":{"b":1}}"#] {
            assert_eq!(Filters::parse(text).unwrap_err().message, "invalid filter", "{text}");
        }
        let error = parsed(r#"{"label":["a"],"foo":["b"]}"#).check(&["label"]).unwrap_err();
        assert_eq!(error.message, "invalid filter 'foo'");
    }

    #[test]
    fn flags() {
        let flag = |text: &str| parsed(text).flag("dangling").map_err(|error| error.message);
        assert_eq!(flag("{}"), Ok(None));
        assert_eq!(flag(r#"{"dangling":["1"]}"#), Ok(Some(true)));
        assert_eq!(flag(r#"{"dangling":{"true":true}}"#), Ok(Some(true)));
        assert_eq!(flag(r#"{"dangling":["false"]}"#), Ok(Some(false)));
        assert_eq!(flag(r#"{"dangling":["x"]}"#), Err("invalid filter 'dangling=[x]'".to_owned()));
        assert_eq!(
            flag(r#"{"dangling":["true","0"]}"#),
            Err("invalid filter 'dangling=[0 true]'".to_owned())
        );
        assert_eq!(flag(r#"{"dangling":[]}"#), Err("invalid filter 'dangling'".to_owned()));
    }

    #[test]
    fn labels_must_all_be_there() {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())]);
        for (text, want) in [
            ("{}", true),
            (r#"{"label":["a"]}"#, true),
            (r#"{"label":["a=b","c"]}"#, true),
            (r#"{"label":["a=x"]}"#, false),
            (r#"{"label":["a","z"]}"#, false),
            (r#"{"label":["c="]}"#, true),
            (r#"{"label!":["a"]}"#, false),
            (r#"{"label!":["z"]}"#, true),
            (r#"{"label":["a"],"label!":["c"]}"#, false),
        ] {
            assert_eq!(parsed(text).labels_fit(Some(&labels)), want, "{text}");
        }
        assert!(!parsed(r#"{"label":["a"]}"#).labels_fit(None));
        assert!(parsed(r#"{"label!":["a"]}"#).labels_fit(None));
    }

    #[test]
    fn expressions_and_beginnings() {
        let filters = parsed(r#"{"name":["^web_\\d+$","a(","db"],"id":["ab"]}"#);
        let names = filters.patterns("name");
        for (name, want) in
            [("web_12", true), ("xweb_12", false), ("a(", true), ("mydb2", true), ("other", false)]
        {
            assert_eq!(names.fit(name), want, "{name}");
        }
        assert!(filters.patterns("none").fit("x"));
        assert!(filters.begins("id", "abc") && !filters.begins("id", "xab") && filters.begins("none", "x"));
        assert!(filters.is("id", "ab") && !filters.is("id", "abc"));
    }
}
