//! The options of an entry of `Mounts`, by its type. The entry itself keeps them as they came, for `inspect`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Labels;
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

/// Options with the names of their fields, and of those of a field that is an object itself.
pub(crate) trait Options: DeserializeOwned + Default {
    const FIELDS: &'static [&'static str];
}

impl Options for BindOptions {
    const FIELDS: &'static [&'static str] = &[
        "Propagation",
        "NonRecursive",
        "CreateMountpoint",
        "ReadOnlyNonRecursive",
        "ReadOnlyForceRecursive",
    ];
}

impl Options for VolumeOptions {
    const FIELDS: &'static [&'static str] =
        &["NoCopy", "Labels", "Subpath", "DriverConfig", "DriverConfig.Name", "DriverConfig.Options"];
}

impl Options for TmpfsOptions {
    const FIELDS: &'static [&'static str] = &["SizeBytes", "Mode", "Options"];
}

/// Reads options with Go's leniency: any case of a name, null for any value, unknown names ignored.
pub(crate) fn read<T: Options>(options: Option<&Value>) -> Result<Option<T>> {
    let Some(options) = options.filter(|options| !options.is_null()) else { return Ok(None) };
    let named = named(options, T::FIELDS);
    serde_json::from_value(named).map(Some).map_err(|error| Error::invalid(format!("invalid JSON: {error}")))
}

fn named(value: &Value, fields: &[&str]) -> Value {
    let Some(object) = value.as_object() else { return value.clone() };
    let mut found = Map::new();
    for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        if let Some(field) = fields.iter().find(|field| field.eq_ignore_ascii_case(key)) {
            let prefix = format!("{field}.");
            let within: Vec<&str> =
                fields.iter().filter_map(|name| name.strip_prefix(prefix.as_str())).collect();
            let value = if within.is_empty() { value.clone() } else { named(value, &within) };
            found.insert((*field).to_owned(), value);
        }
    }
    Value::Object(found)
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
