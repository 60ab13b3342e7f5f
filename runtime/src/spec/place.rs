//! Where in a JSON document a byte is, as a JSON pointer (RFC 6901): for errors of a parser that knows only positions.

enum Step {
    /// The member being read; empty until its name has been.
    Member(String),
    Element(usize),
}

/// The pointer to what `document[..end]` was in the middle of. The document need not be well formed.
pub(crate) fn pointer(document: &[u8], end: usize) -> String {
    let mut steps: Vec<Step> = Vec::new();
    let mut name_is_next = false;
    let mut at = 0;
    while at < end.min(document.len()) {
        match document[at] {
            b'{' => {
                steps.push(Step::Member(String::new()));
                name_is_next = true;
            }
            b'[' => steps.push(Step::Element(0)),
            b'}' | b']' => {
                steps.pop();
            }
            b',' => match steps.last_mut() {
                Some(Step::Element(index)) => *index += 1,
                _ => name_is_next = true,
            },
            b'"' => {
                let text = string(&document[at + 1..]);
                at += text.len() + 1;
                if let (true, Some(Step::Member(name))) = (name_is_next, steps.last_mut()) {
                    *name = String::from_utf8_lossy(text).into_owned();
                    name_is_next = false;
                }
            }
            _ => {}
        }
        at += 1;
    }
    steps.iter().map(text_of).collect()
}

/// Up to the closing quote, escapes as they are written.
fn string(rest: &[u8]) -> &[u8] {
    let mut escaped = false;
    let length = rest.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    &rest[..length.unwrap_or(rest.len())]
}

fn text_of(step: &Step) -> String {
    match step {
        Step::Member(name) if name.is_empty() => String::new(),
        Step::Member(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        Step::Element(index) => format!("/{index}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_in_members_and_elements() {
        let document = br#"{"a":{"b,}":[1,{"c/d":"x\"y"}],"e":2}}"#;
        let cases = [
            ("{\"a\":{", "/a"),
            ("{\"a\":{\"b,}\":[1", "/a/b,}/0"),
            ("{\"a\":{\"b,}\":[1,{\"c/d\":\"x\\\"y\"", "/a/b,}/1/c~1d"),
            ("{\"a\":{\"b,}\":[1,{\"c/d\":\"x\\\"y\"}],\"e\":2", "/a/e"),
            ("", ""),
        ];
        for (before, expected) in cases {
            assert!(document.starts_with(before.as_bytes()));
            assert_eq!(pointer(document, before.len()), expected, "{before}");
        }
        assert_eq!(pointer(b"]]}\"", 100), "");
    }
}
