//! Reads JSON as forgivingly as Go's `encoding/json`, which runc uses.
//!
//! Absent fields are zero and unknown ones are skipped: the structs see to that. What they refuse and Go takes, a
//! `null` for any field and a key given twice (the last one counts), is put right in a second pass that only such a
//! document pays for.
//!
//! Three things Go takes are refused: keys in another case (`OCIVERSION`), text that is not UTF-8, and anything
//! after the document. No tool writes them, and each is more likely a damaged file than a wish.

use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Value, error::Category};

/// Reads one document.
///
/// # Errors
/// serde's, with the line and the column (both from 1, the column in bytes) of what is wrong, as far as it is known.
pub(crate) fn parse<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    match serde_json::from_slice(json) {
        Err(error) if error.classify() == Category::Data => parse_forgiving(json, error),
        result => result,
    }
}

fn parse_forgiving<T: DeserializeOwned>(json: &[u8], strict: serde_json::Error) -> serde_json::Result<T> {
    let mut document: Value = serde_json::from_slice(json)?;
    drop_nulls(&mut document);
    // As text again: reading from the `Value` would double the code that reads each type.
    serde_json::from_slice(&serde_json::to_vec(&document)?).map_err(|forgiving| {
        let complaint = without_position(&forgiving);
        // The same complaint, but the first pass knows where.
        if strict.to_string().starts_with(&complaint) { strict } else { serde_json::Error::custom(complaint) }
    })
}

/// A place in a text that the user never sees says nothing.
fn without_position(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    text.truncate(text.rfind(" at line ").unwrap_or(text.len()));
    text
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
