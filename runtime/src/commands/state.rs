//! `knarr state`: what the runtime specification calls the state of a container, as JSON.

use std::path::Path;

use serde::Serialize;

use super::view::{Dialect, View, owner, to_indented_json};
use crate::container::Container;
use crate::error::Result;
use crate::sys;

pub(crate) fn run(root: &Path, id: &str, dialect: Dialect) -> Result<()> {
    let container = Container::find(root, id)?;
    let json = match dialect {
        // runc names the owner only in `list`.
        Dialect::Runc => to_runc_json(&View::of(&container, String::new())?)?,
        Dialect::Crun => to_crun_json(&View::of(&container, owner(&container)?)?)?,
    };
    Ok(sys::print(&json)?)
}

/// Without a newline at the end, as runc has it.
fn to_runc_json(view: &View) -> Result<Vec<u8>> {
    to_indented_json(view, "  ")
}

fn to_crun_json(view: &View) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Tail<'a> {
        #[serde(rename = "ociVersion")]
        oci_version: &'a str,
        id: &'a str,
        pid: i32,
        status: crate::container::Status,
        bundle: &'a Path,
        rootfs: &'a Path,
        created: &'a str,
        #[serde(rename = "systemd-scope")]
        systemd_scope: &'a str,
        owner: &'a str,
        #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
        annotations: &'a std::collections::BTreeMap<String, String>,
    }
    let mut json = to_indented_json(
        &Tail {
            oci_version: "1.0.0",
            id: &view.id,
            pid: view.pid,
            status: view.status,
            bundle: &view.bundle,
            rootfs: &view.rootfs,
            created: &view.created,
            systemd_scope: "",
            owner: &view.owner,
            annotations: &view.annotations,
        },
        "    ",
    )?;
    json.push(b'\n');
    Ok(json)
}
