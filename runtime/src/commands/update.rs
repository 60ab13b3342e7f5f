//! `knarr update`: changes the limits of a container that exists, all that are given or none.

use knarr_cgroups::rdt::{IntelRdt, ResctrlGroup};
use knarr_cgroups::{DeviceRules, Hierarchies, Limits, Resources};
use serde::Deserialize;
use serde_json::Value;

use crate::bundle;
use crate::cli::{Globals, UpdateArgs};
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::plan::update::Update;
use crate::store::Maker;
use crate::{log, resctrl, spec};

pub(crate) fn run(globals: &Globals, args: &UpdateArgs) -> Result<()> {
    let container = Container::find_for_change(&globals.root.path, &args.id)?;
    let given = match &args.resources {
        Some(file) => bundle::load_resources(file)?,
        None => args.limits()?,
    };
    if container.status()? == Status::Stopped {
        return Err(Error::NotRunning);
    }
    let config = Config::read(&container)?;
    let rdt = Schemata::of(&container, args)?;
    let update = Update::new(&given, &config.resources);
    let limits = Limits::compile(&update.now, Hierarchies::discover()?.mode(), DeviceRules::Keep)?;
    for warning in limits.warnings() {
        log::warn(format_args!("{warning}"));
    }
    if container.dir.maker()? != Maker::Knarr {
        // What another runtime wrote stays as it is: its own next update starts from there.
        return set(&container, &limits, rdt.as_ref());
    }
    container.dir.replace_config(&config.with(&update.from_then_on, rdt.as_ref())?)?;
    set(&container, &limits, rdt.as_ref()).inspect_err(|_| config.put_back(&container))
}

fn set(container: &Container, limits: &Limits, rdt: Option<&Schemata>) -> Result<()> {
    let cgroup = container.cgroup();
    rdt.map_or(Ok(()), |rdt| rdt.group.set(&rdt.after))?;
    if let Err(error) = cgroup.update(limits) {
        if let Some(Err(error)) = rdt.map(|rdt| rdt.group.set(&rdt.before)) {
            log::warn(format_args!("put back the schemata: {}", Error::from(error).line()));
        }
        return Err(error.into());
    }
    for warning in cgroup.warnings() {
        log::warn(format_args!("{warning}"));
    }
    Ok(())
}

/// What the flags change in the container's resctrl group.
struct Schemata {
    group: ResctrlGroup,
    before: IntelRdt,
    after: IntelRdt,
}

impl Schemata {
    fn of(container: &Container, args: &UpdateArgs) -> Result<Option<Self>> {
        if args.l3_cache_schema.is_empty() && args.mem_bw_schema.is_empty() {
            return Ok(None);
        }
        resctrl::check_schemata(&args.l3_cache_schema, &args.mem_bw_schema)?;
        let missing =
            || Error::WrongState("updating a non-existent Intel RDT configuration is not supported".into());
        let (group, before) = resctrl::group_of(container)?.ok_or_else(missing)?;
        let mut after = before.clone();
        for (schema, given) in [
            (&mut after.l3_cache_schema, &args.l3_cache_schema),
            (&mut after.mem_bw_schema, &args.mem_bw_schema),
        ] {
            if !given.is_empty() {
                schema.clone_from(given);
            }
        }
        Ok(Some(Self { group, before, after }))
    }
}

/// The configuration that the container was created with, and its limits as they are now.
struct Config {
    json: Vec<u8>,
    resources: Resources,
}

impl Config {
    fn read(container: &Container) -> Result<Self> {
        /// Of the configuration only what is needed.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Part {
            linux: Option<Linux>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Linux {
            resources: Option<Resources>,
        }
        let what = || format!("read the configuration of container {}", container.dir.id());
        let json = container.config()?;
        let part: Part = spec::parse(&json).map_err(|source| Error::Json { what: what(), source })?;
        let resources = part.linux.and_then(|linux| linux.resources).unwrap_or_default();
        Ok(Self { json, resources })
    }

    /// The same configuration with other limits; fields that we do not know stay.
    fn with(&self, resources: &Resources, rdt: Option<&Schemata>) -> Result<Vec<u8>> {
        let write = || -> serde_json::Result<Vec<u8>> {
            let mut config: Value = serde_json::from_slice(&self.json)?;
            // It has been read as an object, and so has what is in it: indexing makes what is missing or null.
            config["linux"]["resources"] = serde_json::to_value(resources)?;
            if let Some(rdt) = rdt {
                config["linux"]["intelRdt"] = serde_json::to_value(&rdt.after)?;
            }
            serde_json::to_vec(&config)
        };
        write().map_err(|source| Error::Json { what: "write the configuration".into(), source })
    }

    /// Nothing was changed, and nothing is to say so. The error that led here stays the answer.
    fn put_back(&self, container: &Container) {
        if let Err(error) = container.dir.replace_config(&self.json) {
            log::warn(format_args!("put back the configuration of the container: {}", error.line()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(json: &str) -> String {
        let config = Config { json: json.into(), resources: Resources::default() };
        let limits = serde_json::from_str(r#"{"pids":{"limit":5}}"#).unwrap();
        String::from_utf8(config.with(&limits, None).unwrap()).unwrap()
    }

    #[test]
    fn only_the_limits_are_rewritten() {
        for (before, after) in [
            (
                r#"{"x":{"y":[1]},"linux":{"z":1,"resources":{"pids":{"limit":1},"w":2}}}"#,
                r#"{"linux":{"resources":{"pids":{"limit":5}},"z":1},"x":{"y":[1]}}"#,
            ),
            (r#"{"linux":null}"#, r#"{"linux":{"resources":{"pids":{"limit":5}}}}"#),
            ("{}", r#"{"linux":{"resources":{"pids":{"limit":5}}}}"#),
        ] {
            assert_eq!(rewritten(before), after);
        }
    }
}
