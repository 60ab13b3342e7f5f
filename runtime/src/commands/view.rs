//! What `state` and `list` show of a container, laid out as runc or as crun does.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::container::{Container, Status};
use crate::error::{Error, Result};

/// A container as runc describes it; the order of the fields is the order in the output.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    pub(crate) oci_version: String,
    pub(crate) id: String,
    /// In the caller's pid namespace; 0 when stopped.
    pub(crate) pid: i32,
    pub(crate) status: Status,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Name of the user whose container it is, or `#` and the number of a user without a name.
    pub(crate) owner: String,
}

impl View {
    pub(crate) fn of(container: &Container, owner: String) -> Result<Self> {
        let record = &container.record;
        let status = container.status()?;
        Ok(Self {
            oci_version: record.config.version.clone(),
            id: record.id.clone(),
            pid: if status == Status::Stopped {
                0
            } else {
                record.init_process_pid
            },
            status,
            bundle: record.bundle().to_owned(),
            rootfs: record.config.rootfs.clone(),
            created: record.created.clone(),
            annotations: record.annotations(),
            owner,
        })
    }
}

/// The names of the host's users: passwd(5). The C library is not asked: its answer may come from a network or a
/// plugin.
pub(crate) struct Users(String);

impl Users {
    pub(crate) fn load() -> Self {
        // A host without the file has users without names. Of real names in an odd encoding nothing is needed.
        let passwd = fs::read("/etc/passwd").unwrap_or_default();
        Self(String::from_utf8_lossy(&passwd).into_owned())
    }

    pub(crate) fn owner(&self, container: &Container) -> Result<String> {
        Ok(self.name(container.dir.owner()?))
    }

    fn name(&self, uid: u32) -> String {
        let named = self.0.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        named.unwrap_or_else(|| format!("#{uid}"))
    }
}

/// JSON on many lines, each level indented by `indent`.
pub(crate) fn to_indented_json(value: &impl Serialize, indent: &str) -> Result<Vec<u8>> {
    let mut json = Vec::with_capacity(1024);
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    value
        .serialize(&mut Serializer::with_formatter(&mut json, formatter))
        .map_err(|source| Error::Json {
            what: "write JSON".into(),
            source,
        })?;
    Ok(json)
}

#[cfg(test)]
pub(crate) fn example() -> View {
    View {
        oci_version: "1.2.0".into(),
        id: "web".into(),
        pid: 4711,
        status: Status::Running,
        bundle: "/b".into(),
        rootfs: "/b/rootfs".into(),
        created: "2026-01-02T03:04:05.8Z".into(),
        annotations: BTreeMap::new(),
        owner: "root".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_up_by_number() {
        let users = Users("root:x:0:0:root:/root:/bin/sh\nbroken\n+::::::\napp:x:1000:7::/:/bin/sh\n".into());
        for (uid, name) in [(0, "root"), (1000, "app"), (7, "#7")] {
            assert_eq!(users.name(uid), name);
        }
    }
}
