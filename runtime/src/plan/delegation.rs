//! Who owns the container's cgroup: config-linux.md, "Cgroup ownership".

use knarr_cgroups::Mode;

use super::ids::Ids;
use super::mounts::{Kind as MountKind, MountPlan, is_readonly};
use super::namespaces::{Kind, Namespaces};

/// The host's user that gets the directory: the one the program runs as, where the container sees its cgroup as the
/// top of a hierarchy that it may write to. None: it stays with whoever made it.
pub(super) fn owner(
    mode: Mode,
    namespaces: &Namespaces,
    mounts: &[MountPlan],
    ids: &Ids,
    uid: u32,
) -> Option<u32> {
    let own = mode == Mode::Unified && namespaces.is_new(Kind::Cgroup);
    let writable = |mount: &MountPlan| {
        mount.target == "sys/fs/cgroup" && matches!(mount.kind, MountKind::Cgroup(_)) && !is_readonly(mount)
    };
    if !own || !mounts.iter().any(writable) {
        return None;
    }
    if namespaces.has(Kind::User) { ids.uid_map.to_host(uid) } else { Some(uid) }
}
