//! The id mappings of a new user namespace (config-linux.md, User namespace mappings) and what they translate.

use std::fmt::Write as _;

use super::namespaces::{Kind, Namespaces};
use crate::error::{Error, Result};
use crate::spec;

/// user_namespaces(7): a map has at most 340 lines (Linux 4.15).
const MAX_LINES: usize = 340;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) container: u32,
    pub(crate) host: u32,
    /// Number of ids; never 0.
    pub(crate) size: u32,
}

/// One map, ready for `/proc/PID/uid_map` or `gid_map`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Map(pub(crate) Vec<Range>);

impl Map {
    pub(crate) fn plan(mappings: &[spec::IdMapping], field: &str) -> Result<Self> {
        if mappings.len() > MAX_LINES {
            let text = format!("{} mappings are more than the kernel's {MAX_LINES}", mappings.len());
            return Err(Error::refused(field, text));
        }
        mappings
            .iter()
            .enumerate()
            .map(|(index, mapping)| range(mapping, &format!("{field}/{index}")))
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The host's id of a container id.
    pub(crate) fn to_host(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|range| {
            let offset = id.checked_sub(range.container).filter(|offset| *offset < range.size)?;
            range.host.checked_add(offset)
        })
    }

    /// The text the kernel takes, in one write.
    pub(crate) fn lines(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, range| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {} {}", range.container, range.host, range.size);
            text
        })
    }
}

impl FromIterator<Range> for Map {
    fn from_iter<T: IntoIterator<Item = Range>>(ranges: T) -> Self {
        Self(ranges.into_iter().collect())
    }
}

fn range(mapping: &spec::IdMapping, field: &str) -> Result<Range> {
    let range = Range { container: mapping.container_id, host: mapping.host_id, size: mapping.size };
    if range.size == 0 {
        return Err(Error::refused(format!("{field}/size"), "a mapping of size 0 maps nothing"));
    }
    if range.container.checked_add(range.size - 1).is_none()
        || range.host.checked_add(range.size - 1).is_none()
    {
        return Err(Error::refused(field, "the mapping goes beyond the largest id"));
    }
    Ok(range)
}

/// The maps of a container: both empty when it shares the caller's ids or joins a user namespace without saying them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid_map: Map,
    pub(crate) gid_map: Map,
}

impl Ids {
    pub(crate) fn plan(linux: &spec::Linux, namespaces: &Namespaces) -> Result<Self> {
        let uid_map = Map::plan(&linux.uid_mappings, "/linux/uidMappings")?;
        let gid_map = Map::plan(&linux.gid_mappings, "/linux/gidMappings")?;
        let mapped = !uid_map.is_empty() || !gid_map.is_empty();
        if mapped && !namespaces.has(Kind::User) {
            let text = "user namespace mappings specified, but user namespace isn't enabled in the config";
            return Err(Error::refused("/linux/uidMappings", text));
        }
        if namespaces.is_new(Kind::User) {
            if uid_map.is_empty() && gid_map.is_empty() {
                let text =
                    "user namespaces enabled, but no namespace path to join nor mappings to apply specified";
                return Err(Error::refused("/linux/uidMappings", text));
            }
            require_root(&uid_map, "uid", "/linux/uidMappings")?;
            require_root(&gid_map, "gid", "/linux/gidMappings")?;
        }
        Ok(Self { uid_map, gid_map })
    }
}

/// The runtime becomes the container's root before it builds the file system, so id 0 must exist.
fn require_root(map: &Map, what: &str, field: &str) -> Result<()> {
    if map.to_host(0).is_none() {
        let text = format!("user namespaces enabled, but no mapping found for {what} 0");
        return Err(Error::refused(field, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[(u32, u32, u32)]) -> Map {
        ranges.iter().map(|&(container, host, size)| Range { container, host, size }).collect()
    }

    #[test]
    fn ids_are_translated_within_their_range_only() {
        let map = map(&[(0, 100_000, 10), (500, 7, 1)]);
        let cases = [(0, Some(100_000)), (9, Some(100_009)), (10, None), (500, Some(7)), (501, None)];
        for (id, host) in cases {
            assert_eq!(map.to_host(id), host, "{id}");
        }
        assert_eq!(map.lines(), "0 100000 10\n500 7 1\n");
    }

    #[test]
    fn maps_that_cannot_work_are_refused() {
        let cases = [
            (r#"{"uidMappings":[{"containerID":0,"hostID":0,"size":1}]}"#, "isn't enabled"),
            (r#"{"namespaces":[{"type":"user"}]}"#, "no namespace path to join nor mappings"),
            (
                r#"{"namespaces":[{"type":"user"}],"uidMappings":[{"containerID":1,"hostID":0,"size":1}]}"#,
                "no mapping found for uid 0",
            ),
            (
                r#"{"namespaces":[{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":0,"size":0}]}"#,
                "size 0",
            ),
            (
                r#"{"namespaces":[{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":4294967295,"size":2}]}"#,
                "beyond the largest id",
            ),
        ];
        for (json, text) in cases {
            let linux: spec::Linux = serde_json::from_str(json).unwrap();
            let namespaces = Namespaces::plan(&linux).unwrap();
            let error = Ids::plan(&linux, &namespaces).unwrap_err();
            assert!(error.line().contains(text), "{json}: {}", error.line());
        }
    }
}
