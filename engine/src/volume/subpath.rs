//! A part of a volume as a source for the runtime, which takes a path. A path into a volume is nothing to rely on: a container
//! that has the volume may put a link into it after it was looked at. So the part is opened inside the volume, once, and
//! what was opened is mounted at a place that only the engine can change, for as long as the container starts.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

use crate::container::new_id;
use crate::error::{During as _, Error, Result};
use crate::log;

/// A mount that goes when this does.
#[derive(Debug)]
pub(crate) struct Held {
    place: PathBuf,
}

impl Held {
    pub(super) fn path(&self) -> &Path {
        &self.place
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = release(&self.place) {
            log::warn(&error);
        }
    }
}

/// Mounts `part` of the folder `data` somewhere in `mounts`. Links are followed, and lead nowhere but into the folder.
pub(super) fn hold(data: &Path, part: &str, mounts: &Path) -> Result<Held> {
    let root = File::open(data).during("open", data)?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let opened =
        openat2(&root, part, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside).map_err(|errno| {
            let why = if errno == Errno::NOENT {
                "no such file or directory".to_owned()
            } else {
                errno.to_string()
            };
            Error::invalid(format!("cannot access path {}: {why}", data.join(part).display()))
        })?;
    let stat = fstat(&opened).while_doing("fstat")?;
    DirBuilder::new().recursive(true).mode(0o700).create(mounts).during("create", mounts)?;
    let place = mounts.join(new_id()?);
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        fs::create_dir(&place).during("create", &place)?;
    } else {
        File::create_new(&place).during("create", &place)?;
    }
    let held = Held { place };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(opened.as_fd(), "", flags).during("open_tree", data)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree, "", rustix::fs::CWD, &held.place, flags)
        .during("mount a part of a volume on", &held.place)?;
    Ok(held)
}

/// Takes away what an engine that was killed has left.
pub(super) fn clear(mounts: &Path) -> Result<()> {
    let entries = match fs::read_dir(mounts) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.during("list", mounts)?,
    };
    for entry in entries {
        release(&entry.during("list", mounts)?.path())?;
    }
    Ok(())
}

/// What is removed is the empty place, never what was mounted on it.
fn release(place: &Path) -> Result<()> {
    match unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Not mounted.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error).during("unmount", place),
    }
    let folder = fs::symlink_metadata(place).during("look at", place)?.is_dir();
    if folder {
        fs::remove_dir(place)
    } else {
        rustix::fs::unlinkat(rustix::fs::CWD, place, AtFlags::empty()).map_err(Into::into)
    }
    .during("remove", place)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_part_is_what_was_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (data, mounts) = (folder.path().join("data"), folder.path().join("mounts"));
        fs::create_dir_all(data.join("a/b")).unwrap();
        fs::write(data.join("a/b/file"), "mine").unwrap();
        symlink("/a", data.join("link")).unwrap();
        symlink("../../../../../../etc", data.join("out")).unwrap();

        let held = hold(&data, "link/b", &mounts).unwrap();
        // What the container does now comes too late.
        fs::rename(data.join("a"), data.join("moved")).unwrap();
        symlink("/etc", data.join("a")).unwrap();
        assert_eq!(fs::read_to_string(held.path().join("file")).unwrap(), "mine");
        let single = hold(&data, "moved/b/file", &mounts).unwrap();
        assert_eq!(fs::read_to_string(single.path()).unwrap(), "mine");

        let error = hold(&data, "out", &mounts).unwrap_err();
        assert!(
            error.message.starts_with("cannot access path ")
                && error.message.ends_with(": no such file or directory")
        );
        drop((held, single));
        assert_eq!(fs::read_dir(&mounts).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(data.join("moved/b/file")).unwrap(), "mine");
    }

    #[test]
    fn what_a_killed_engine_left_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let (data, mounts) = (folder.path().join("data"), folder.path().join("mounts"));
        fs::create_dir_all(data.join("a")).unwrap();
        fs::write(data.join("a/file"), "mine").unwrap();
        std::mem::forget(hold(&data, "a", &mounts).unwrap());
        clear(&mounts).unwrap();
        assert_eq!(fs::read_dir(&mounts).unwrap().count(), 0);
        assert!(data.join("a/file").exists());
        clear(&folder.path().join("none")).unwrap();
    }
}
