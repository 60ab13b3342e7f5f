//! The options of an entry of `Mounts`, by its type. The entry itself keeps them as they came, for `inspect`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Labels, request};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct BindOptions {
    pub(crate) propagation: String,
    pub(crate) non_recursive: bool,
    pub(crate) create_mountpoint: bool,
    pub(crate) read_only_non_recursive: bool,
    pub(crate) read_only_force_recursive: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct VolumeOptions {
    pub(crate) no_copy: bool,
    pub(crate) labels: Labels,
    pub(crate) subpath: String,
    pub(crate) driver_config: Option<DriverConfig>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DriverConfig {
    pub(crate) name: String,
    pub(crate) options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct TmpfsOptions {
    pub(crate) size_bytes: i64,
    /// Permission bits.
    pub(crate) mode: u32,
    /// A flag, or a name and its value, each.
    pub(crate) options: Vec<Vec<String>>,
}

/// Reads options; none and null are none.
pub(crate) fn read<T: DeserializeOwned>(options: Option<&Value>) -> Result<Option<T>> {
    let Some(options) = options.filter(|options| !options.is_null()) else { return Ok(None) };
    let read = request::read(options.clone());
    read.map(Some).map_err(|error| Error::invalid(format!("invalid JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_read_as_go_reads_them() {
        let value = json!({"nocopy": true, "Labels": null, "driverconfig": {"NAME": "local", "Options": null}, "x": 1});
        let options: VolumeOptions = read(Some(&value)).unwrap().unwrap();
        assert!(options.no_copy && options.labels.is_none());
        assert_eq!(options.driver_config.unwrap().name, "local");
        assert_eq!(read::<BindOptions>(Some(&Value::Null)).unwrap(), None);
        assert_eq!(read::<BindOptions>(None).unwrap(), None);
        let error = read::<TmpfsOptions>(Some(&json!({"SizeBytes": "1"}))).unwrap_err();
        assert!(error.message.starts_with("invalid JSON: "), "{error}");
    }
}
