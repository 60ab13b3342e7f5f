//! Files that are there whole or not at all, at whatever moment the engine is killed.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::error::{During as _, Error, Result};

/// Replaces a file by the JSON of a value.
///
/// The rename is atomic; nothing waits for the disk, because what such files are about does not survive the machine either.
pub(crate) fn replace(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Error::system(format!("write {}: {error}", path.display())))?;
    let new = path.with_added_extension("new");
    fs::write(&new, text).during("write", &new)?;
    fs::rename(&new, path).during("rename", &new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        for number in [1, 2] {
            replace(&path, &number).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), number.to_string());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = replace(&folder.path().join("no/a.json"), &1).unwrap_err();
        assert!(error.message.contains("no/a.json.new"), "{error}");
    }
}
