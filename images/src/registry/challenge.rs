//! What a registry wants to see before it answers: the header WWW-Authenticate (RFC 9110 section 11.6.1), reduced to the
//! two schemes that registries use. Whether the realm may be asked is decided in `token`.

use std::collections::HashMap;

use ureq::http::HeaderMap;
use ureq::http::header::WWW_AUTHENTICATE;

/// How to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// A token of the authorization server `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// Why a token was not enough (RFC 6750 section 3.1), where the header says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenProblem {
    pub(super) error: String,
    pub(super) description: Option<String>,
}

impl Challenge {
    /// The challenge to answer: Bearer before Basic, as Docker does.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let all = parse_all(headers);
        let bearer = all.iter().find(|one| one.scheme == "bearer").and_then(|one| {
            let realm = one.parameters.get("realm")?.clone();
            Some(Self::Bearer { realm, service: one.parameters.get("service").cloned() })
        });
        bearer.or_else(|| all.iter().any(|one| one.scheme == "basic").then_some(Self::Basic))
    }
}

impl TokenProblem {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let bearer = parse_all(headers).into_iter().find(|one| one.scheme == "bearer")?;
        let error = bearer.parameters.get("error")?.clone();
        Some(Self { error, description: bearer.parameters.get("error_description").cloned() })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Offer {
    scheme: String,
    parameters: HashMap<String, String>,
}

fn parse_all(headers: &HeaderMap) -> Vec<Offer> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(parse).collect()
}

/// `SCHEME NAME=VALUE, NAME="VALUE", SCHEME ...`; what does not fit the grammar ends the list.
fn parse(text: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let word = take_word(&mut rest);
        if word.is_empty() {
            return offers;
        }
        match (rest.trim_start().strip_prefix('='), offers.last_mut()) {
            (Some(value), Some(offer)) => {
                rest = value.trim_start();
                let Some(value) = take_value(&mut rest) else { return offers };
                offer.parameters.insert(word.to_ascii_lowercase(), value);
            }
            (Some(_), None) => return offers,
            (None, _) => {
                offers.push(Offer { scheme: word.to_ascii_lowercase(), parameters: HashMap::new() });
            }
        }
    }
}

fn take_word<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word
}

/// A word, or a quoted string with its escapes undone.
fn take_value(rest: &mut &str) -> Option<String> {
    let Some(quoted) = rest.strip_prefix('"') else {
        return Some(take_word(rest).to_owned());
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                *rest = &quoted[at + 1..];
                return Some(value);
            }
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap())).collect()
    }

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) }
    }

    #[test]
    fn challenges_as_registries_write_them() {
        let cases: [(&[&str], Option<Challenge>); 14] = [
            (
                &[r#"Bearer realm="https://a.b/token",service="c d",scope="repository:x:pull,push""#],
                Some(bearer("https://a.b/token", Some("c d"))),
            ),
            (&[r#"bearer REALM="https://a.b/t""#], Some(bearer("https://a.b/t", None))),
            (&[r"Bearer realm=https://a.b/t,service=c"], Some(bearer("https://a.b/t", Some("c")))),
            (&[r#"Bearer realm = "r" , service = "s""#], Some(bearer("r", Some("s")))),
            (&[r#"Basic realm="x, Bearer realm=y""#], Some(Challenge::Basic)),
            (&[r#"Basic realm="x""#, r#"Bearer realm="r""#], Some(bearer("r", None))),
            (&[r#"Basic realm="x", Bearer realm="r",service="s""#], Some(bearer("r", Some("s")))),
            (&[r#"Bearer realm="a\"b\\c""#], Some(bearer(r#"a"b\c"#, None))),
            (&["Basic"], Some(Challenge::Basic)),
            (&[r#"Bearer service="s""#], None),
            (&[r#"Bearer realm="never closed"#], None),
            (&["Negotiate abc=="], None),
            (&[r#"="x""#], None),
            (&[], None),
        ];
        for (values, expected) in cases {
            assert_eq!(Challenge::of(&headers(values)), expected, "{values:?}");
        }
    }

    #[test]
    fn a_token_that_was_not_enough_is_told() {
        let problem = |value| TokenProblem::of(&headers(&[value]));
        let found =
            problem(r#"Bearer realm="r",error="insufficient_scope",error_description="no, never""#).unwrap();
        assert_eq!(
            (found.error.as_str(), found.description.as_deref()),
            ("insufficient_scope", Some("no, never"))
        );
        assert_eq!(problem(r#"Bearer realm="r""#), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_a_registry_writes_is_too_much(text in "[ -~]{0,60}|(Bearer|Basic|realm|[ ,=\\\\\"]){0,20}") {
            for offer in parse(&text) {
                proptest::prop_assert!(!offer.scheme.is_empty());
            }
        }
    }
}
