//! Hooks of config.json, checked (config.md, POSIX-platform Hooks).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::spec;

/// The point of a container's life at which a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl Stage {
    /// The name in config.json and in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

/// One program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) path: PathBuf,
    /// `args[0]` included, exactly as written; `path` when the config has none.
    pub(crate) args: Vec<OsString>,
    /// Absent: the stage's own default (see `hooks::Environment`).
    pub(crate) env: Option<Vec<(OsString, OsString)>>,
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hooks {
    prestart: Vec<Hook>,
    create_runtime: Vec<Hook>,
    create_container: Vec<Hook>,
    start_container: Vec<Hook>,
    poststart: Vec<Hook>,
    poststop: Vec<Hook>,
}

impl Hooks {
    pub(crate) fn plan(hooks: Option<&spec::Hooks>) -> Result<Self> {
        let Some(hooks) = hooks else { return Ok(Self::default()) };
        Ok(Self {
            prestart: stage(&hooks.prestart, Stage::Prestart)?,
            create_runtime: stage(&hooks.create_runtime, Stage::CreateRuntime)?,
            create_container: stage(&hooks.create_container, Stage::CreateContainer)?,
            start_container: stage(&hooks.start_container, Stage::StartContainer)?,
            poststart: stage(&hooks.poststart, Stage::Poststart)?,
            poststop: stage(&hooks.poststop, Stage::Poststop)?,
        })
    }

    pub(crate) fn of(&self, stage: Stage) -> &[Hook] {
        match stage {
            Stage::Prestart => &self.prestart,
            Stage::CreateRuntime => &self.create_runtime,
            Stage::CreateContainer => &self.create_container,
            Stage::StartContainer => &self.start_container,
            Stage::Poststart => &self.poststart,
            Stage::Poststop => &self.poststop,
        }
    }

    /// Something must run between the mounts and `pivot_root`, in the runtime's namespaces.
    pub(crate) fn run_before_pivot(&self) -> bool {
        !self.prestart.is_empty() || !self.create_runtime.is_empty()
    }
}

fn stage(hooks: &[spec::Hook], stage: Stage) -> Result<Vec<Hook>> {
    hooks
        .iter()
        .enumerate()
        .map(|(index, hook)| plan(hook, &format!("/hooks/{}/{index}", stage.name())))
        .collect()
}

fn plan(hook: &spec::Hook, field: &str) -> Result<Hook> {
    let path = PathBuf::from(&hook.path);
    if !path.is_absolute() {
        let text = format!("hook path {:?} is not an absolute path", hook.path);
        return Err(Error::refused(format!("{field}/path"), text));
    }
    let words = || hook.args.iter().chain(&hook.env).chain([&hook.path]);
    if words().any(|word| word.contains('\0')) {
        return Err(Error::refused(field, "hook contains a nul byte (\\x00)"));
    }
    let args = if hook.args.is_empty() { std::slice::from_ref(&hook.path) } else { hook.args.as_slice() };
    Ok(Hook {
        args: args.iter().map(OsString::from).collect(),
        env: environment(&hook.env, field)?,
        timeout: timeout(hook.timeout, field)?,
        path,
    })
}

fn environment(env: &[String], field: &str) -> Result<Option<Vec<(OsString, OsString)>>> {
    if env.is_empty() {
        return Ok(None);
    }
    let pairs = env.iter().enumerate().map(|(index, entry)| match entry.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => {
            let text = format!("invalid environment variable {entry:?} of a hook");
            Err(Error::refused(format!("{field}/env/{index}"), text))
        }
    });
    pairs.collect::<Result<_>>().map(Some)
}

/// The spec asks for a timeout greater than zero.
fn timeout(seconds: Option<i64>, field: &str) -> Result<Option<Duration>> {
    let Some(seconds) = seconds else { return Ok(None) };
    match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Ok(Some(Duration::from_secs(seconds))),
        _ => {
            let text = format!("hook timeout must be greater than 0, not {seconds}");
            Err(Error::refused(format!("{field}/timeout"), text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(json: &str) -> Result<Hooks> {
        Hooks::plan(Some(&serde_json::from_str(json).unwrap()))
    }

    #[test]
    fn a_hook_without_args_gets_its_path() {
        let hooks =
            plan_of(r#"{"prestart":[{"path":"/bin/a"}],"poststop":[{"path":"/b","args":["x","y"]}]}"#)
                .unwrap();
        assert_eq!(hooks.of(Stage::Prestart)[0].args, ["/bin/a"]);
        assert_eq!(hooks.of(Stage::Poststop)[0].args, ["x", "y"]);
        assert!(hooks.run_before_pivot());
    }

    #[test]
    fn bad_hooks_are_refused_by_name() {
        let cases = [
            (r#"{"prestart":[{"path":"a"}]}"#, "/hooks/prestart/0/path"),
            (r#"{"poststart":[{"path":"/a","timeout":0}]}"#, "/hooks/poststart/0/timeout"),
            (r#"{"poststop":[{"path":"/a","timeout":-1}]}"#, "/hooks/poststop/0/timeout"),
            (
                r#"{"createRuntime":[{"path":"/a"},{"path":"/a","env":["A"]}]}"#,
                "/hooks/createRuntime/1/env/0",
            ),
            (r#"{"createContainer":[{"path":"/a","args":["\u0000"]}]}"#, "/hooks/createContainer/0"),
        ];
        for (json, field) in cases {
            assert_eq!(plan_of(json).unwrap_err().field(), Some(field), "{json}");
        }
    }
}
