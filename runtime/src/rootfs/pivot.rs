//! The change of root: pivot_root(2), or a move of the root mount, or chroot(2) alone.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{CWD, OFlags};

use crate::error::Result;
use crate::plan::mounts::{Jail, Peers, Propagation, RootfsPlan};
use crate::sys::files::{change_dir, change_dir_fd, open_at, read_to_end};
use crate::sys::mounts::{
    Depth, MountChange, attach_at, change_mount, change_mount_at, chroot_here, create_fs, detach, mount_fs,
    open_fs, pivot_here,
};
use crate::sys::{self, Errno};

pub(super) fn enter(root: BorrowedFd<'_>, plan: &RootfsPlan) -> Result<()> {
    change_dir_fd(root)?;
    match plan.jail {
        Jail::PivotRoot => pivot(plan)?,
        Jail::MoveMount => {
            cover_host_views(plan)?;
            attach_at(root, CWD, "/")?;
            chroot_here()?;
        }
        Jail::Chroot => chroot_here()?,
    }
    Ok(change_dir("/")?)
}

/// The old root ends up on top of the new one, at `.`, and is taken off again: no directory is needed for it.
fn pivot(plan: &RootfsPlan) -> Result<()> {
    if cut_off(plan.propagation) {
        pivot_here()?;
    } else {
        // Where the old root is still shared with the host, its end here would be its end there.
        let old = open_at(CWD, "/", OFlags::PATH | OFlags::DIRECTORY)?;
        pivot_here()?;
        change_mount(&old, Depth::Tree, &slave())?;
    }
    Ok(detach(".")?)
}

/// Nothing of the old root is shared: the default, or any word for all mounts but `rshared`.
fn cut_off(propagation: Option<Propagation>) -> bool {
    propagation.is_none_or(|word| word.recursive && word.peers != Peers::Shared)
}

fn slave() -> MountChange<'static> {
    MountChange { propagation: libc::MS_SLAVE, ..MountChange::default() }
}

/// With the old root still in the mount namespace, a whole proc or sysfs of the host in it would let the container
/// mount new ones without masks: each is taken off, or covered.
fn cover_host_views(plan: &RootfsPlan) -> Result<()> {
    let table = read_to_end(open_at(CWD, "/proc/self/mountinfo", OFlags::RDONLY)?)?;
    let table = String::from_utf8_lossy(&table);
    for point in whole_views(&table).filter(|point| !Path::new(point).starts_with(&plan.path)) {
        match change_mount_at(Path::new(&point), Depth::Tree, &slave()) {
            // It went together with one above it.
            Err(error) if error.errno == Errno::NOENT || error.errno == Errno::INVAL => continue,
            result => result?,
        }
        match detach(&point) {
            // Locked, or busy: without the right to take it off.
            Err(error) if matches!(error.errno, Errno::INVAL | Errno::PERM) => cover(&point)?,
            result => result?,
        }
    }
    Ok(())
}

fn cover(point: &str) -> sys::Result<()> {
    let fs = open_fs("tmpfs")?;
    create_fs(&fs)?;
    attach_at(mount_fs(&fs, 0)?, CWD, point)
}

/// Mount points of proc and sysfs mounted from their roots: proc(5), /proc/pid/mountinfo.
fn whole_views(table: &str) -> impl Iterator<Item = String> + '_ {
    table.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let kind = kind.split(' ').next()?;
        (root == "/" && matches!(kind, "proc" | "sysfs")).then(|| unescape(point))
    })
}

/// Blanks and backslashes are in octal.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_views_of_the_host_are_found() {
        let table = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            23 27 0:22 /kernel /partial rw - sysfs sysfs rw\n\
            24 27 0:22 / /mnt/a\\040b rw shared:7 master:1 - sysfs sysfs rw\n\
            25 27 0:23 / /tmp rw - tmpfs tmpfs rw\n";
        assert_eq!(whole_views(table).collect::<Vec<_>>(), ["/proc", "/mnt/a b"]);
    }
}
