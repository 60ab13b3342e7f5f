//! One configuration with every field of the Linux part of runtime-spec 1.3, and the ways to damage it.

use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::{Spec, json::parse};

/// In the order, and with the indentation, in which Go's `json.MarshalIndent` writes the spec's structs.
const EVERY_FIELD: &str = include_str!("every_field.json");

#[test]
fn every_field_is_read_and_written_back_byte_for_byte() {
    let spec: Spec = parse(EVERY_FIELD.as_bytes()).unwrap();
    let mut written = Vec::new();
    spec.serialize(&mut Serializer::with_formatter(&mut written, PrettyFormatter::with_indent(b"\t")))
        .unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), EVERY_FIELD.trim_end());
}

#[test]
fn any_member_may_be_null() {
    let whole: Value = serde_json::from_str(EVERY_FIELD).unwrap();
    let mut tried = 0;
    for pointer in members(&whole, "") {
        let mut damaged = whole.clone();
        *damaged.pointer_mut(&pointer).unwrap() = Value::Null;
        let text = damaged.to_string();
        parse::<Spec>(text.as_bytes()).unwrap_or_else(|error| panic!("null at {pointer}: {error}"));
        tried += 1;
    }
    assert!(tried > 200, "only {tried} members tried");
}

#[test]
fn any_member_may_be_absent() {
    let whole: Value = serde_json::from_str(EVERY_FIELD).unwrap();
    for pointer in members(&whole, "") {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let mut damaged = whole.clone();
        let name = name.replace("~1", "/").replace("~0", "~");
        damaged.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(&name).unwrap();
        // No second pass may be needed for this one.
        serde_json::from_value::<Spec>(damaged).unwrap_or_else(|error| panic!("without {pointer}: {error}"));
    }
}

#[test]
fn an_empty_document_is_a_zero_spec() {
    assert_eq!(parse::<Spec>(b"{}").unwrap(), Spec::default());
}

#[test]
fn absence_differs_from_zero_where_it_matters() {
    let spec: Spec =
        parse(br#"{"process":{"capabilities":{"inheritable":[]}},"linux":{"resources":{"pids":{}}}}"#)
            .unwrap();
    let process = spec.process.unwrap();
    assert_eq!(process.oom_score_adj, None);
    assert_eq!(process.user.umask, None);
    assert_eq!(process.capabilities.unwrap().inheritable, Some(vec![]));
    assert_eq!(spec.linux.unwrap().resources.unwrap().pids.unwrap().limit, None);
}

#[test]
fn a_repeated_key_counts_as_its_last() {
    let spec: Spec =
        parse(br#"{"hostname":"a","hostname":"b","linux":null,"linux":{"mountLabel":"x"}}"#).unwrap();
    assert_eq!(spec.hostname, "b");
    assert_eq!(spec.linux.unwrap().mount_label, "x");
}

#[test]
fn names_nobody_knows_are_kept() {
    let json =
        br#"{"process":{"scheduler":{"policy":"SCHED_NEW","flags":["SCHED_FLAG_DL_OVERRUN"]},"capabilities":
        {"bounding":["CAP_FUTURE"]}},"linux":{"namespaces":[{"type":"colour"}]},"tomorrow":{"a":[1]}}"#;
    let spec: Spec = parse(json).unwrap();
    let process = spec.process.unwrap();
    assert_eq!(process.scheduler.unwrap().policy, "SCHED_NEW");
    assert_eq!(process.capabilities.unwrap().bounding, ["CAP_FUTURE"]);
    assert_eq!(spec.linux.unwrap().namespaces[0].kind, "colour");
}

#[test]
fn sections_of_other_platforms_are_noticed() {
    let spec: Spec = parse(br#"{"windows":{"layerFolders":["C:\\"]},"vm":null,"freebsd":{}}"#).unwrap();
    assert_eq!(spec.foreign_sections(), ["windows", "freebsd"]);
    assert!(!serde_json::to_string(&spec).unwrap().contains("windows"));
}

#[test]
fn a_wrong_type_is_refused_with_its_place() {
    for (json, place) in [
        ("{\n \"hostname\": 7\n}", "line 2 column 14"),
        ("{\n \"process\": {\"terminal\": \"yes\"}\n}", "line 2 column 30"),
        ("{\"domainname\": null,\n \"hostname\": 7}", "expected a string"),
        ("{\"process\":{\"user\":{\"uid\":-1}}}", "line 1 column "),
        ("{\"process\":{\"user\":{\"uid\":4294967296}}}", "expected u32 at line 1"),
        ("{\"process\":{\"args\":[\"a\", null]}}", "invalid type: null"),
        ("{\"hostname\":\"a\"", "EOF while parsing an object at line 1"),
        ("{\"hostname\":\"a\"} x", "trailing characters at line 1 column 18"),
        ("{\"hostname\":\"\u{1}\"}", "control character"),
        ("", "EOF while parsing a value at line 1 column 0"),
    ] {
        let error = parse::<Spec>(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(place), "{json:?}: {error}");
    }
}

/// JSON pointers of all members of all objects, however deep.
fn members(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, member)| {
                let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                let inner = members(member, &pointer);
                std::iter::once(pointer).chain(inner)
            })
            .collect(),
        Value::Array(array) => {
            array.iter().enumerate().flat_map(|(i, element)| members(element, &format!("{at}/{i}"))).collect()
        }
        _ => vec![],
    }
}
