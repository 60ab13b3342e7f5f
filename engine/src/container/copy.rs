//! `docker cp`: what a path in a container is, its archive, and archives unpacked there.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd};

use jiff::Timestamp;
use knarr_images::{diff, unpack};
use rustix::fs::{FileType, OFlags, readlinkat};

use super::root::{Place, open};
use super::{Container, Record, Status};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::oci::file_owner;
use crate::wire::PathStat;

/// Go's `os.FileMode` has the type of a file, set-id and sticky at bits of its own.
const GO_TYPES: [(FileType, u32); 7] = [
    (FileType::Directory, 1 << 31),
    (FileType::Symlink, 1 << 27),
    (FileType::BlockDevice, 1 << 26),
    (FileType::Fifo, 1 << 25),
    (FileType::Socket, 1 << 24),
    (FileType::CharacterDevice, 1 << 26 | 1 << 21),
    (FileType::RegularFile, 0),
];
const GO_SPECIAL: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// How to unpack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Put {
    /// Refuse to put a directory in the place of something else, or the reverse.
    pub(crate) keep_kinds: bool,
    /// The files become the container's user's, if it has one.
    pub(crate) as_user: bool,
}

impl Engine {
    pub(crate) fn path_stat(&self, name: &str, path: &str) -> Result<PathStat> {
        let container = self.containers.find(name)?;
        self.in_root(&container, |root| stat(root, path, name))
    }

    /// Writes the archive of a path; its entries are named from the last part of the path on. `begin` is told what the
    /// path is before the first byte.
    pub(crate) fn archive(
        &self,
        name: &str,
        path: &str,
        begin: impl FnOnce(PathStat) + Send,
        out: impl Write + Send,
    ) -> Result<()> {
        let container = self.containers.find(name)?;
        self.in_root(&container, |root| {
            begin(stat(root, path, name)?);
            let place = find(root, path, name)?;
            let written = if place.name == "." {
                diff::tree(place.folder.as_fd(), out)
            } else {
                diff::named(place.folder.as_fd(), place.name.as_bytes(), out)
            };
            written.map(drop).map_err(Error::system)
        })
    }

    /// Unpacks an archive, compressed or not, in a directory of a container.
    pub(crate) fn unpack(&self, name: &str, path: &str, put: Put, archive: impl Read + Send) -> Result<()> {
        let container = self.containers.find(name)?;
        writable(&container.record(), path)?;
        self.in_root(&container, |root| {
            let path = format!("/{}", path.trim_start_matches('/'));
            let folder = match open(root, path.as_str(), OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(folder) => folder,
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    return Err(Error::invalid("extraction point is not a directory"));
                }
                Err(error) => return Err(missing(&path, name, &error)),
            };
            let onto = if put.keep_kinds { unpack::Onto::FilesOfTheirKind } else { unpack::Onto::Files };
            let owner = if put.as_user { user(root, &container.record())? } else { None };
            let policy = unpack::Policy { onto, owner, ..unpack::Policy::default() };
            unpack::layer(archive, folder.as_fd(), &policy).map(drop).map_err(Error::invalid)
        })
    }

    /// The archive of the whole root, without volumes.
    pub(crate) fn export(&self, name: &str, out: impl Write + Send) -> Result<()> {
        let container = self.containers.find(name)?;
        let record = container.record();
        let refused = |why: &str| {
            Err(Error::conflict(format!("You cannot export container {} which is {why}", record.id)))
        };
        if record.state.status == Status::Dead {
            return refused("Dead");
        }
        if record.removing {
            return refused("being removed");
        }
        self.images.export(&container.id, out)?;
        self.events.of_container("export", &container.record(), &[]);
        Ok(())
    }

    /// What the container changed in its image.
    pub(crate) fn changes(&self, name: &str) -> Result<Vec<diff::Change>> {
        let container = self.containers.find(name)?;
        Ok(self.images.changes(&container.id, &hidden(&container))?)
    }
}

/// Places of mounts: they are not the container's doing.
pub(crate) fn hidden(container: &Container) -> Vec<std::path::PathBuf> {
    const ENGINES: [&str; 10] = [
        "/etc/hostname",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/proc",
        "/sys",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/dev/console",
    ];
    let record = container.record();
    let own = record.mounts.iter().map(|mount| mount.destination.as_str());
    ENGINES.into_iter().chain(own).map(Into::into).collect()
}

fn find(root: BorrowedFd<'_>, path: &str, name: &str) -> Result<Place> {
    Place::find(root, path).map_err(|error| missing(path, name, &error))
}

fn stat(root: BorrowedFd<'_>, path: &str, name: &str) -> Result<PathStat> {
    let place = find(root, path, name)?;
    let stat = place.stat().map_err(|error| missing(path, name, &error))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let link_target = if kind == FileType::Symlink {
        let target = readlinkat(&place.folder, place.name.as_str(), Vec::new()).while_doing("read a link")?;
        target.to_string_lossy().into_owned()
    } else {
        String::new()
    };
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let mtime = Timestamp::new(stat.st_mtime, i32::try_from(stat.st_mtime_nsec).unwrap_or(0));
    Ok(PathStat {
        name: if last.is_empty() { "/".to_owned() } else { last.to_owned() },
        size: stat.st_size,
        mode: go_mode(stat.st_mode),
        mtime: mtime.unwrap_or_default(),
        link_target,
    })
}

fn go_mode(mode: u32) -> u32 {
    let kind = FileType::from_raw_mode(mode);
    let bits = GO_TYPES.iter().find(|(known, _)| *known == kind).map_or(0, |(_, bits)| *bits);
    let special = GO_SPECIAL.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, go)| go);
    special.fold(bits | (mode & 0o777), |all, go| all | go)
}

fn missing(path: &str, container: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::not_found(format!("Could not find the file {path} in container {container}"))
        }
        _ => Error::system(format!("look for {path} in container {container}: {error}")),
    }
}

/// The user of a container that has one.
fn user(root: BorrowedFd<'_>, record: &Record) -> Result<Option<unpack::Owner>> {
    if record.config.user.is_empty() {
        return Ok(None);
    }
    file_owner(root, &record.config.user).map(|(uid, gid)| Some(unpack::Owner { uid, gid }))
}

/// Refuses what the container itself could not write.
fn writable(record: &Record, path: &str) -> Result<()> {
    let under = |mount: &&crate::wire::MountPoint| std::path::Path::new(path).starts_with(&mount.destination);
    let deepest = record.mounts.iter().filter(under).max_by_key(|mount| mount.destination.len());
    match deepest {
        Some(mount) if !mount.writable => Err(Error::invalid("mounted volume is marked read-only")),
        None if record.host_config.readonly_rootfs => {
            Err(Error::invalid("container rootfs is marked read-only"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o040_755), 1 << 31 | 0o755);
        assert_eq!(go_mode(0o104_755), 1 << 23 | 0o755);
        assert_eq!(go_mode(0o041_777), 1 << 31 | 1 << 20 | 0o777);
        assert_eq!(go_mode(0o020_620), 1 << 26 | 1 << 21 | 0o620);
        assert_eq!(go_mode(0o120_777), 1 << 27 | 0o777);
    }
}
