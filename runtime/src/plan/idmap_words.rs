//! Which ids an id-mapped mount maps: `uidMappings` and `gidMappings`, crun's `idmap=uids=...;gids=...`, or the
//! container's own.
//!
//! See the runtime specification's `config.md` (Mounts) and crun(1), IDMAP MOUNT OPTIONS.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::spec::{IdMapping, Mount};

use super::ids::{Ids, Map};
use super::mount_options::IdmapWord;
use super::namespaces::{Kind, Namespaces};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idmap {
    /// All mounts of the tree, or only the topmost.
    pub(crate) recursive: bool,
    pub(crate) ids: MappedIds,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MappedIds {
    Maps(Ids),
    /// Those of a user namespace that exists.
    Namespace(PathBuf),
}

/// Whose ids a mount shows when it names none, and what relative mappings are relative to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Container<'a> {
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) ids: &'a Ids,
}

/// None: the mount is not id-mapped.
pub(crate) fn idmap(
    index: usize,
    mount: &Mount,
    word: Option<&IdmapWord>,
    container: Container,
) -> Result<Option<Idmap>> {
    let listed = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if !listed && word.is_none() {
        return Ok(None);
    }
    let refused = |reason: String| Error::refused(format!("/mounts/{index}"), reason);
    let ids = match word.and_then(|word| word.mapping.as_deref()) {
        Some(_) if listed => {
            return Err(refused("id mappings are given twice: in options and in uidMappings".into()));
        }
        Some(text) => {
            let (uids, gids) = parse_maps(text, container.ids).map_err(refused)?;
            MappedIds::Maps(ids(&uids, &gids, &format!("/mounts/{index}/options"))?)
        }
        None if listed => {
            MappedIds::Maps(ids(&mount.uid_mappings, &mount.gid_mappings, &format!("/mounts/{index}"))?)
        }
        None => containers_ids(container),
    };
    if let MappedIds::Maps(maps) = &ids
        && (maps.uid_map.is_empty() || maps.gid_map.is_empty())
    {
        return Err(refused("id-mapped mounts must have both uid and gid mappings specified".into()));
    }
    Ok(Some(Idmap { recursive: word.is_some_and(|word| word.recursive), ids }))
}

fn ids(uids: &[IdMapping], gids: &[IdMapping], field: &str) -> Result<Ids> {
    Ok(Ids {
        uid_map: Map::plan(uids, &format!("{field}/uidMappings"))?,
        gid_map: Map::plan(gids, &format!("{field}/gidMappings"))?,
    })
}

fn containers_ids(container: Container) -> MappedIds {
    match container.namespaces.join.iter().find(|join| join.kind == Kind::User) {
        Some(join) => MappedIds::Namespace(join.path.clone()),
        None => MappedIds::Maps(container.ids.clone()),
    }
}

type Mappings = Vec<IdMapping>;

/// `uids=0-1000-1#1-2000-5;gids=@0-0-10`: id in the file system, id on the host, count; `@` counts the second from
/// the container's ids.
fn parse_maps(text: &str, container: &Ids) -> std::result::Result<(Mappings, Mappings), String> {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for part in text.split(';') {
        match part.split_once('=') {
            Some(("uids", triplets)) => uids = parse_triplets(triplets, &container.uid_map)?,
            Some(("gids", triplets)) => gids = parse_triplets(triplets, &container.gid_map)?,
            _ => return Err(format!("unknown part {part:?} of idmap option")),
        }
    }
    Ok((uids, gids))
}

fn parse_triplets(text: &str, container: &Map) -> std::result::Result<Mappings, String> {
    text.split('#').map(|triplet| parse_triplet(triplet, container)).collect()
}

fn parse_triplet(text: &str, container: &Map) -> std::result::Result<IdMapping, String> {
    let invalid = || format!("invalid mapping specified {text:?}");
    let relative = text.strip_prefix('@');
    let numbers = relative.unwrap_or(text).split('-').map(str::parse::<u32>);
    let numbers = numbers.collect::<std::result::Result<Vec<_>, _>>().map_err(|_| invalid())?;
    let [container_id, mut host_id, size] = numbers[..] else {
        return Err(invalid());
    };
    if relative.is_some() {
        host_id = container.to_host(host_id).ok_or_else(|| {
            format!("could not find a user namespace mapping for the relative mapping {text:?}")
        })?;
    }
    Ok(IdMapping { container_id, host_id, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ids::Range;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn crun_mappings() {
        let uid_map =
            [(0, 0, 1), (1, 2, 1000)].map(|(container, host, size)| Range { container, host, size });
        let container = Ids { uid_map: uid_map.into_iter().collect(), gid_map: Map::default() };
        let (uids, gids) = parse_maps("uids=@1-3-10#11-11-10;gids=0-100-10", &container).unwrap();
        assert_eq!(uids, [map(1, 4, 10), map(11, 11, 10)], "the example of crun(1)");
        assert_eq!(gids, [map(0, 100, 10)]);
        for bad in ["uids=1-2", "uids=a-1-2", "uids=1-2-3-4", "uids=@5000-5000-1", "x=1", "uids=-1-2-3"] {
            assert!(parse_maps(bad, &container).is_err(), "{bad}");
        }
    }
}
