//! `linux.seccomp` of a config.json as it is written (runtime-spec 1.3, config-linux.md, "Seccomp").
//!
//! Owns the shape of the JSON and nothing else: every name stays a string, so that an unknown one is refused by
//! [`crate::compile`] with the text engines know instead of failing the parse of the whole file. It is as lenient
//! as Go's `encoding/json` on runc's structs: `null` and absent mean the empty value.

use serde::{Deserialize, Deserializer, Serialize};

/// The whole of `linux.seccomp`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    /// What happens to a call no rule matches: one of [`crate::features::actions`].
    #[serde(deserialize_with = "null_as_default")]
    pub default_action: String,
    /// The errno of a default `SCMP_ACT_ERRNO`, or the message of `SCMP_ACT_TRACE`; 1 (`EPERM`) when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// The ABIs the rules are for, beside the native one: of [`crate::features::archs`].
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// Flags of seccomp(2). Absent is not empty: absent asks for `SECCOMP_FILTER_FLAG_SPEC_ALLOW`, as runc does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<String>>,
    /// The unix socket of the agent that handles `SCMP_ACT_NOTIFY`.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub listener_path: String,
    /// Opaque text for that agent.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub listener_metadata: String,
    /// The rules, in the order of the file.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<Rule>,
}

/// One element of `linux.seccomp.syscalls`: an action for some calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// The names of the calls.
    #[serde(deserialize_with = "null_as_default")]
    pub names: Vec<String>,
    /// What happens to them.
    #[serde(deserialize_with = "null_as_default")]
    pub action: String,
    /// As [`Profile::default_errno_ret`], for this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Conditions that must all hold (but see [`crate::compile`] on two conditions for one index).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Arg>,
}

/// One condition on an argument of the call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Arg {
    /// Which argument, 0 to 5.
    #[serde(deserialize_with = "null_as_default")]
    pub index: u32,
    /// What it is compared with; the mask of `SCMP_CMP_MASKED_EQ`.
    #[serde(deserialize_with = "null_as_default")]
    pub value: u64,
    /// What the masked argument is compared with; used by `SCMP_CMP_MASKED_EQ` alone.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub value_two: u64,
    /// One of [`crate::features::operators`].
    #[serde(deserialize_with = "null_as_default")]
    pub op: String,
}

impl Profile {
    /// A profile without default action and without rules: runc takes it as "no seccomp" and so must callers,
    /// before they call [`crate::compile`].
    pub fn is_disabled(&self) -> bool {
        self.default_action.is_empty() && self.syscalls.is_empty()
    }
}

fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(de: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(de)?.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
