//! `Config`: what does not depend on the host; and the body of a create.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{HostConfig, NetworkingConfig};

/// A list of words that may also be written as one string.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Words(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Word(String),
            Words(Vec<String>),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Word(word) => Self(vec![word]),
            Either::Words(words) => Self(words),
        })
    }
}

/// What a container is asked to be, wherever it runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Config {
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) user: String,
    pub(crate) attach_stdin: bool,
    pub(crate) attach_stdout: bool,
    pub(crate) attach_stderr: bool,
    /// `PORT/PROTOCOL`, as the keys.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) exposed_ports: BTreeMap<String, Value>,
    pub(crate) tty: bool,
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) env: Option<Vec<String>>,
    pub(crate) cmd: Option<Words>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) args_escaped: bool,
    pub(crate) image: String,
    /// Paths, as the keys.
    pub(crate) volumes: Option<BTreeMap<String, Value>>,
    pub(crate) working_dir: String,
    pub(crate) entrypoint: Option<Words>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) network_disabled: bool,
    /// For clients older than 1.44; newer ones set it at an endpoint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) mac_address: String,
    pub(crate) on_build: Option<Vec<String>>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) stop_signal: String,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shell: Option<Words>,
}

/// How it is found out whether a container works. Times are nanoseconds, 0 for the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Healthcheck {
    /// Empty: as the image says; `NONE`; `CMD` and words; `CMD-SHELL` and a line.
    pub(crate) test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) start_interval: i64,
    /// Failures in a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) retries: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// What `POST /containers/create` is sent: the fields of a `Config`, and these beside them.
#[derive(Debug, Clone, Default)]
pub(crate) struct CreateBody {
    pub(crate) config: Config,
    pub(crate) host_config: HostConfig,
    pub(crate) networking_config: NetworkingConfig,
    /// No field, but the version of the API decides.
    pub(crate) below_read_only: BelowReadOnly,
}

/// What mounts below a read-only bind mount are, unless a client says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum BelowReadOnly {
    #[default]
    ReadOnly,
    AsTheyAre,
}
