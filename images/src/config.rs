//! Image configurations (image-spec config.md, with what Docker adds): the bytes as they came, since their digest is the
//! image's ID, and the parts that this crate and its callers need.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{Error, Platform, Result, Rootfs};

/// A configuration that was read; nothing in it was changed.
#[derive(Debug, Clone)]
pub struct ImageConfig {
    bytes: Vec<u8>,
    parts: Parts,
}

/// What is read of a configuration.
#[derive(Debug, Clone, Deserialize)]
pub struct Parts {
    #[serde(flatten)]
    pub platform: Platform,
    /// RFC 3339.
    pub created: Option<String>,
    pub author: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub config: Process,
    pub rootfs: Rootfs,
    #[serde(default, deserialize_with = "or_default")]
    pub history: Vec<History>,
}

/// What a container of the image runs, if nobody says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Process {
    /// `user`, `uid`, `user:group` or `uid:gid`.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
    /// Paths, as the keys.
    #[serde(deserialize_with = "or_default")]
    pub volumes: BTreeMap<String, Value>,
    /// `PORT/PROTOCOL`, as the keys.
    #[serde(deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// Docker's, as what follows is.
    pub healthcheck: Option<Healthcheck>,
    /// What runs a command that is given as one line, in place of `/bin/sh -c`.
    #[serde(deserialize_with = "or_default")]
    pub shell: Vec<String>,
    /// Instructions for the build of a child.
    #[serde(deserialize_with = "or_default")]
    pub on_build: Vec<String>,
    /// `cmd` is one line, escaped for Windows.
    #[serde(deserialize_with = "or_default")]
    pub args_escaped: bool,
    /// Seconds between the stop signal and the kill; a negative number is no kill.
    pub stop_timeout: Option<i64>,
}

/// How an image wants its containers' health to be looked at. Of durations, zero means that somebody else decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`; `CMD` and words; `CMD-SHELL` and a line. Empty: as the parent's.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Nanoseconds from the end of one check to the next.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Nanoseconds after which a check has failed.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Nanoseconds after the start in which failures do not count.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Nanoseconds between checks during the start period.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row after which a container is unhealthy.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// How one layer, or one setting, came about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The entry has no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl ImageConfig {
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        let parts: Parts = serde_json::from_slice(&bytes)
            .map_err(|source| Error::Json { what: "image configuration", source })?;
        match parts.rootfs.kind.as_str() {
            "layers" => Ok(Self { bytes, parts }),
            kind => Err(Error::RootfsKind(kind.to_owned())),
        }
    }

    /// As they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn parts(&self) -> &Parts {
        &self.parts
    }
}

/// Go writes `null` for a list or map that is empty.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_empty_and_the_bytes_are_kept() {
        let text =
            br#"{ "architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"],"Volumes":{"/v":{}}},
            "history":null,"rootfs":{"type":"layers","diff_ids":[]},"unknown":1 }"#;
        let config = ImageConfig::parse(text.to_vec()).unwrap();
        assert_eq!(config.bytes(), text);
        assert_eq!(config.parts().config.cmd, ["sh"]);
        assert_eq!(config.parts().config.volumes.keys().collect::<Vec<_>>(), ["/v"]);
        assert!(config.parts().config.env.is_empty() && config.parts().history.is_empty());
        assert_eq!(config.parts().platform.architecture, "amd64");
    }

    #[test]
    fn what_docker_adds_is_read() {
        let text =
            br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{
            "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":30000000000,"StartInterval":5,"Retries":3},
            "Shell":["/bin/bash","-c"],"OnBuild":["RUN a"],"ArgsEscaped":true,"StopTimeout":7}}"#;
        let config = ImageConfig::parse(text.to_vec()).unwrap();
        let process = &config.parts().config;
        let health = Healthcheck {
            test: vec!["CMD-SHELL".into(), "true".into()],
            interval: 30_000_000_000,
            start_interval: 5,
            retries: 3,
            ..Healthcheck::default()
        };
        assert_eq!(process.healthcheck.as_ref(), Some(&health));
        let written = serde_json::to_string(&health).unwrap();
        assert_eq!(
            written,
            r#"{"Test":["CMD-SHELL","true"],"Interval":30000000000,"StartInterval":5,"Retries":3}"#
        );
        assert_eq!(
            (process.shell.as_slice(), process.on_build.as_slice()),
            (["/bin/bash".to_owned(), "-c".into()].as_slice(), ["RUN a".to_owned()].as_slice())
        );
        assert!(process.args_escaped);
        assert_eq!(process.stop_timeout, Some(7));
        let none = br#"{"architecture":"a","os":"b","rootfs":{"type":"layers"},"config":{"Healthcheck":null,
            "Shell":null,"OnBuild":null,"ArgsEscaped":null,"StopTimeout":null}}"#;
        assert_eq!(ImageConfig::parse(none.to_vec()).unwrap().parts().config, Process::default());
    }

    #[test]
    fn a_configuration_needs_layers() {
        for text in [
            r#"{"architecture":"a","os":"linux"}"#,
            r#"{"architecture":"a","os":"linux","rootfs":{"type":"base"}}"#,
            r#"{"architecture":"a","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:1"]}}"#,
        ] {
            assert!(ImageConfig::parse(text.into()).is_err(), "{text}");
        }
    }
}
