//! A container's group of the resctrl file system, `linux.intelRdt`: which one it is. What is done to it stands in the
//! cgroups crate.

use std::path::Path;

use knarr_cgroups::rdt::{IntelRdt, ResctrlGroup, resctrl_root};
use serde::Deserialize;

use crate::container::Container;
use crate::error::{Error, Result};
use crate::spec;

/// The group that the configuration asks for.
pub(crate) fn group(id: &str, config: &IntelRdt) -> Result<ResctrlGroup> {
    let text = "intelRdt is specified in config, but Intel RDT is not enabled";
    let root = resctrl_root()?.ok_or_else(|| Error::refused("/linux/intelRdt", text))?;
    Ok(ResctrlGroup::locate(&root, id, config)?)
}

/// The group of a container that exists, and its configuration; none where resctrl is not mounted any more.
pub(crate) fn group_of(container: &Container) -> Result<Option<(ResctrlGroup, IntelRdt)>> {
    if container.record.intel_rdt_path.as_os_str().is_empty() {
        return Ok(None);
    }
    let (Some(config), Some(root)) = (recorded(container)?, resctrl_root()?) else { return Ok(None) };
    Ok(Some((ResctrlGroup::locate(&root, container.dir.id(), &config)?, config)))
}

fn recorded(container: &Container) -> Result<Option<IntelRdt>> {
    /// Of the configuration only what is needed: the rest is skipped unread.
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Config {
        linux: Linux,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Linux {
        intel_rdt: Option<IntelRdt>,
    }
    // Where neither a copy nor the bundle is left, nobody can say which group it was.
    let Ok(json) = container.config() else { return Ok(None) };
    let what = || format!("read the configuration of container {}", container.dir.id());
    let config: Config = spec::parse(&json).map_err(|source| Error::Json { what: what(), source })?;
    Ok(config.linux.intel_rdt)
}

/// `update`'s flags, checked against what the hardware has.
pub(crate) fn check_schemata(l3_cache: &str, memory_bandwidth: &str) -> Result<()> {
    let root = resctrl_root()?;
    let has = |what: &str| root.as_deref().is_some_and(|root: &Path| root.join("info").join(what).is_dir());
    let refuse = |text: &str| Err(Error::Usage(text.to_owned()));
    if !l3_cache.is_empty() && !has("L3") {
        return refuse("Intel RDT/CAT: l3 cache schema is not enabled");
    }
    if !memory_bandwidth.is_empty() && !has("MB") {
        return refuse("Intel RDT/MBA: memory bandwidth schema is not enabled");
    }
    Ok(())
}
