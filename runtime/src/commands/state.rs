//! `knarr state`: what the runtime specification calls the state of a container, as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::view::{Users, View, to_indented_json};
use crate::cli::{ContainerArgs, Globals, Manners};
use crate::container::{Container, Status};
use crate::error::Result;
use crate::sys;

pub(crate) fn run(globals: &Globals, args: &ContainerArgs) -> Result<()> {
    let container = Container::find(&globals.root.path, &args.id)?;
    let json = match globals.program.manners {
        Manners::Crun => to_crun_json(&View::of(&container, Users::load().owner(&container)?)?)?,
        // runc names the owner only in `list`.
        Manners::Knarr | Manners::Runc => to_runc_json(&View::of(&container, String::new())?)?,
    };
    Ok(sys::print(&json)?)
}

/// Without a newline at the end, as runc has it.
fn to_runc_json(view: &View) -> Result<Vec<u8>> {
    to_indented_json(view, "  ")
}

fn to_crun_json(view: &View) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct State<'a> {
        #[serde(rename = "ociVersion")]
        oci_version: &'a str,
        id: &'a str,
        pid: i32,
        status: Status,
        bundle: &'a Path,
        rootfs: &'a Path,
        created: &'a str,
        #[serde(rename = "systemd-scope")]
        systemd_scope: &'a str,
        owner: &'a str,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        annotations: &'a BTreeMap<String, String>,
    }
    let mut json = to_indented_json(
        &State {
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

#[cfg(test)]
mod tests {
    use super::super::view::example;
    use super::*;

    #[test]
    fn the_state_is_laid_out_as_runc_does() {
        let mut view = example();
        view.owner = String::new();
        view.annotations.insert("a".into(), "b".into());
        let expected = r#"{
  "ociVersion": "1.2.0",
  "id": "web",
  "pid": 4711,
  "status": "running",
  "bundle": "/b",
  "rootfs": "/b/rootfs",
  "created": "2026-01-02T03:04:05.8Z",
  "annotations": {
    "a": "b"
  },
  "owner": ""
}"#;
        assert_eq!(String::from_utf8(to_runc_json(&view).unwrap()).unwrap(), expected);
        view.annotations.clear();
        assert!(
            !String::from_utf8(to_runc_json(&view).unwrap())
                .unwrap()
                .contains("annotations")
        );
    }

    #[test]
    fn crun_has_its_own_layout() {
        let expected = r#"{
    "ociVersion": "1.0.0",
    "id": "web",
    "pid": 4711,
    "status": "running",
    "bundle": "/b",
    "rootfs": "/b/rootfs",
    "created": "2026-01-02T03:04:05.8Z",
    "systemd-scope": "",
    "owner": "root"
}
"#;
        assert_eq!(
            String::from_utf8(to_crun_json(&example()).unwrap()).unwrap(),
            expected
        );
    }
}
