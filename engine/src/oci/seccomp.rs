//! The seccomp profile of a container: Docker's default, or one in Docker's form, whose rules hold by architecture,
//! capability and kernel.

use knarr_seccomp::{Profile, Rule, default_profile};
use oci_spec::runtime::LinuxSeccomp;
use serde::Deserialize;
use serde_json::Value;

use super::{Host, Security};
use crate::error::{Error, Result};
use crate::wire::HostConfig;

/// What the rules of a profile depend on.
struct Conditions<'a> {
    capabilities: &'a [String],
    kernel: (u32, u32),
    /// As Go calls it.
    architecture: &'a str,
}

/// None: no filter.
pub(super) fn of_container(
    security: &Security,
    host: &HostConfig,
    capabilities: &[String],
) -> Result<Option<LinuxSeccomp>> {
    let conditions = Conditions { capabilities, kernel: kernel(), architecture: architecture() };
    match security.seccomp.as_str() {
        "unconfined" => Ok(None),
        "" if host.privileged => Ok(None),
        "" if !Host::get().seccomp => Ok(None),
        "" | "builtin" => default(&conditions).map(Some),
        text => load(text, &conditions),
    }
}

fn default(conditions: &Conditions<'_>) -> Result<LinuxSeccomp> {
    let container =
        default_profile::Container { capabilities: conditions.capabilities, kernel: conditions.kernel };
    written(&default_profile::for_container(container))
}

fn written(profile: &Profile) -> Result<LinuxSeccomp> {
    let profile = serde_json::to_value(profile).and_then(serde_json::from_value);
    profile.map_err(|error| Error::invalid(format!("decoding seccomp profile failed: {error}")))
}

/// A profile in Docker's form (moby's profiles/seccomp).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Docker {
    #[serde(flatten)]
    common: Profile,
    arch_map: Option<Vec<Architecture>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Conditional {
    #[serde(flatten)]
    rule: Rule,
    /// The old form, for one call.
    #[serde(default)]
    name: String,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    arches: Option<Vec<String>>,
    caps: Option<Vec<String>>,
    min_kernel: Option<String>,
}

fn load(text: &str, conditions: &Conditions<'_>) -> Result<Option<LinuxSeccomp>> {
    let bad = |error: serde_json::Error| Error::invalid(format!("decoding seccomp profile failed: {error}"));
    let mut value: Value = serde_json::from_str(text).map_err(bad)?;
    let rules = value.as_object_mut().and_then(|profile| profile.remove("syscalls")).unwrap_or(Value::Null);
    let Docker { common: mut profile, arch_map } = serde_json::from_value(value).map_err(bad)?;
    let rules: Option<Vec<Conditional>> = serde_json::from_value(rules).map_err(bad)?;
    let (rules, arch_map) = (rules.unwrap_or_default(), arch_map.unwrap_or_default());
    if profile.default_action.is_empty() && rules.is_empty() {
        return Ok(None);
    }
    if !profile.architectures.is_empty() && !arch_map.is_empty() {
        return Err(both("architectures", "archMap"));
    }
    let native = knarr_seccomp::Abi::native().name();
    if let Some(found) = arch_map.into_iter().find(|one| one.architecture == native) {
        profile.architectures.push(found.architecture);
        profile.architectures.extend(found.sub_architectures.unwrap_or_default());
    }
    for mut conditional in rules {
        if !conditional.name.is_empty() {
            if !conditional.rule.names.is_empty() {
                return Err(both("name", "names"));
            }
            conditional.rule.names = vec![conditional.name];
        }
        let included = conditional.includes.is_none_or_ok(|filter| filter.includes(conditions))?;
        let excluded = conditional.excludes.is_none_or_ok(|filter| filter.spares(conditions))?;
        if included && excluded {
            profile.syscalls.push(conditional.rule);
        }
    }
    written(&profile).map(Some)
}

fn both(one: &str, other: &str) -> Error {
    Error::invalid(format!(
        "both '{one}' and '{other}' are specified in the seccomp profile, use either '{one}' or '{other}'"
    ))
}

/// A condition that is absent holds.
trait NoneOrOk<T> {
    fn is_none_or_ok(&self, test: impl FnOnce(&T) -> Result<bool>) -> Result<bool>;
}

impl<T> NoneOrOk<T> for Option<T> {
    fn is_none_or_ok(&self, test: impl FnOnce(&T) -> Result<bool>) -> Result<bool> {
        self.as_ref().map_or(Ok(true), test)
    }
}

impl Filter {
    fn arches(&self) -> &[String] {
        self.arches.as_deref().unwrap_or_default()
    }

    fn caps(&self) -> impl Iterator<Item = &String> {
        self.caps.iter().flatten()
    }

    /// Whether everything it names is there.
    fn includes(&self, conditions: &Conditions<'_>) -> Result<bool> {
        let arches =
            self.arches().is_empty() || self.arches().iter().any(|arch| arch == conditions.architecture);
        let caps = self.caps().all(|name| conditions.capabilities.contains(name));
        let kernel = self.min_kernel.as_deref().map_or(Ok(true), |text| reached(text, conditions.kernel))?;
        Ok(arches && caps && kernel)
    }

    /// Whether nothing it names is there.
    fn spares(&self, conditions: &Conditions<'_>) -> Result<bool> {
        let arches = self.arches().iter().any(|arch| arch == conditions.architecture);
        let caps = self.caps().any(|name| conditions.capabilities.contains(name));
        let kernel = self.min_kernel.as_deref().map_or(Ok(false), |text| reached(text, conditions.kernel))?;
        Ok(!arches && !caps && !kernel)
    }
}

fn reached(wanted: &str, kernel: (u32, u32)) -> Result<bool> {
    let bad = || Error::invalid(format!("invalid kernel version: {wanted:?} in the seccomp profile"));
    let (major, minor) = wanted.split_once('.').ok_or_else(bad)?;
    let (major, minor): (u32, u32) = (major.parse().map_err(|_| bad())?, minor.parse().map_err(|_| bad())?);
    Ok(kernel >= (major, minor))
}

/// Major and minor number of the running kernel.
fn kernel() -> (u32, u32) {
    let own = rustix::system::uname();
    version(&own.release().to_string_lossy())
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> Result<Option<Value>> {
        let capabilities = ["CAP_SYS_TIME".to_owned()];
        let conditions = Conditions { capabilities: &capabilities, kernel: (6, 1), architecture: "amd64" };
        load(text, &conditions).map(|profile| profile.map(|profile| serde_json::to_value(profile).unwrap()))
    }

    fn names(profile: &Value) -> Vec<&str> {
        let rules = profile["syscalls"].as_array().unwrap();
        rules.iter().filter_map(|rule| rule["names"][0].as_str()).collect()
    }

    #[test]
    fn rules_hold_by_their_conditions() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"syscalls":[
            {"names":["always"],"action":"SCMP_ACT_ALLOW","args":[],"comment":"","includes":{},"excludes":{}},
            {"name":"old","action":"SCMP_ACT_ALLOW","args":null},
            {"names":["has"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_TIME"]}},
            {"names":["lacks"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["spared"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["hit"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_TIME"]}},
            {"names":["here"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["amd64","x32"]}},
            {"names":["there"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}},
            {"names":["new"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
            {"names":["newer"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.2"}},
            {"names":["errno"],"action":"SCMP_ACT_ERRNO","errnoRet":38,"excludes":{"minKernel":"7.0"}}]}"#;
        let profile = loaded(text).unwrap().unwrap();
        assert_eq!(names(&profile), ["always", "old", "has", "spared", "here", "new", "errno"]);
        assert_eq!(
            (&profile["defaultErrnoRet"], &profile["syscalls"][6]["errnoRet"]),
            (&1.into(), &38.into())
        );
    }

    #[test]
    fn architectures_of_this_machine() {
        let native = knarr_seccomp::Abi::native().name();
        let text = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","archMap":[{{"architecture":"{native}","subArchitectures":["SCMP_ARCH_X86"]}},
            {{"architecture":"SCMP_ARCH_S390X","subArchitectures":[]}}],"syscalls":[]}}"#
        );
        assert_eq!(
            loaded(&text).unwrap().unwrap()["architectures"],
            serde_json::json!([native, "SCMP_ARCH_X86"])
        );
    }

    #[test]
    fn profiles_that_are_refused() {
        let rule = r#"{"names":["a"],"name":"b","action":"SCMP_ACT_ALLOW"}"#;
        let kernel = r#"{"names":["a"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"x"}}"#;
        let with = |rule: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#);
        for (text, words) in [
            ("/a/file.json".to_owned(), "decoding seccomp profile failed"),
            ("{".to_owned(), "decoding seccomp profile failed"),
            (r#"{"defaultAction":"SCMP_ACT_NONE"}"#.to_owned(), "decoding seccomp profile failed"),
            (with(rule), "both 'name' and 'names' are specified"),
            (with(kernel), "invalid kernel version: \"x\""),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"x"}]}"#.to_owned(),
                "both 'architectures' and 'archMap'",
            ),
        ] {
            let error = loaded(&text).unwrap_err();
            assert!(error.message.contains(words), "{text}: {error}");
        }
        assert!(loaded("{}").unwrap().is_none());
    }

    #[test]
    fn the_default_depends_on_capabilities() {
        let text = |capabilities: &[String]| {
            let conditions = Conditions { capabilities, kernel: (6, 1), architecture: "amd64" };
            serde_json::to_string(&default(&conditions).unwrap()).unwrap()
        };
        let (few, many) = (text(&[]), text(&["CAP_SYS_ADMIN".to_owned()]));
        assert!(!few.contains("\"mount\"") && many.contains("\"mount\""));
        assert!(few.contains("\"clone3\"") && few.contains("\"errnoRet\":38"));
    }

    #[test]
    fn versions_of_kernels() {
        for (release, expected) in
            [("6.1.0-18-amd64", (6, 1)), ("5.15.0", (5, 15)), ("4.19+x", (4, 19)), ("x", (0, 0))]
        {
            assert_eq!(version(release), expected, "{release}");
        }
    }
}
