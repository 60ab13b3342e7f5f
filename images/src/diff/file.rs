//! One file of an upper directory as an entry of an archive.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, lgetxattr, llistxattr, readlinkat, statx};
use rustix::io::Errno;
use rustix::process::fchdir;

use super::{Attributes, Style};
use crate::archive::{Entry, Error, Kind, Result, Time, Xattr};

const CAPABILITY: &[u8] = b"security.capability";
/// linux/capability.h: revision 3 adds the user namespace's root to revision 2.
const REVISION_BYTE: usize = 3;
const REVISION_2: u8 = 2;
const REVISION_3: u8 = 3;
const SIZE_2: usize = 20;

const ELSEWHERE: &str = "its content is in a lower layer: the mount had redirect_dir or metacopy";

/// XATTR_LIST_MAX and XATTR_SIZE_MAX of limits.h.
const LONGEST: usize = 1 << 16;

/// What a name of an upper directory is.
pub(super) enum Found {
    File(Box<File>),
    Whiteout,
    /// Nothing that a layer can hold.
    Socket,
    /// Nothing any more, in a tree that somebody changes.
    Gone,
}

pub(super) struct File {
    pub(super) entry: Entry,
    /// Of a file that has other names.
    pub(super) inode: Option<Inode>,
    /// A directory that hides the lower ones.
    pub(super) is_opaque: bool,
}

/// Device, major and minor number, and inode.
pub(super) type Inode = (u32, u32, u64);

/// Looks at `name` in `parent`, whose path in the archive is `path`.
pub(super) fn look(parent: BorrowedFd<'_>, name: &[u8], path: &[u8], style: &Style) -> Result<Found> {
    let failed = |error: Errno| Error::entry("look at", path, error);
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = match statx(parent, name, flags, StatxFlags::BASIC_STATS) {
        Err(Errno::NOENT) => return Ok(Found::Gone),
        stat => stat.map_err(failed)?,
    };
    let device = (stat.stx_rdev_major, stat.stx_rdev_minor);
    let kind = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice if device == (0, 0) => return Ok(Found::Whiteout),
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        _ => return Ok(Found::Socket),
    };
    let mut entry = Entry::new(path, kind, (stat.stx_mode & 0o7777).into());
    (entry.uid, entry.gid) = owner(&stat, path, style)?;
    entry.mtime = Time { seconds: stat.stx_mtime.tv_sec, nanoseconds: stat.stx_mtime.tv_nsec };
    match kind {
        Kind::File => entry.size = stat.stx_size,
        Kind::Symlink => entry.link = readlinkat(parent, name, Vec::new()).map_err(failed)?.into_bytes(),
        Kind::CharDevice | Kind::BlockDevice => entry.device = device,
        _ => {}
    }
    fchdir(parent).map_err(failed)?;
    let is_opaque = xattrs(name, &mut entry, style)?;
    let has_names = kind != Kind::Directory && stat.stx_nlink > 1;
    let inode = has_names.then_some((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino));
    Ok(Found::File(Box::new(File { entry, inode, is_opaque })))
}

fn owner(stat: &Statx, path: &[u8], style: &Style) -> Result<(u32, u32)> {
    let Some(shift) = style.shift else { return Ok((stat.stx_uid, stat.stx_gid)) };
    let moved = |id: u32, base: u32| id.checked_sub(base).filter(|id| *id < shift.count);
    let ids = moved(stat.stx_uid, shift.uid).zip(moved(stat.stx_gid, shift.gid));
    ids.ok_or_else(|| Error::refused(path, "its owner is outside the range of ids"))
}

/// Reads the attributes of `name` in the working directory. Is it an opaque directory?
fn xattrs(name: &[u8], entry: &mut Entry, style: &Style) -> Result<bool> {
    let mut is_opaque = false;
    let mut list = Vec::with_capacity(LONGEST);
    match llistxattr(name, rustix::buffer::spare_capacity(&mut list)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP) => return Ok(false),
        Err(error) => return Err(Error::entry("read extended attributes of", &entry.path, error)),
    }
    let mut names: Vec<&[u8]> = list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    for attribute in names {
        let kept = match attribute.strip_prefix(style.privileges.overlay_namespace().as_bytes()) {
            Some(b"opaque") => {
                is_opaque = value(name, attribute, entry)? == b"y";
                false
            }
            Some(b"redirect" | b"metacopy") => return Err(Error::refused(&entry.path, ELSEWHERE)),
            Some(_) => false,
            None => attribute == CAPABILITY || attribute.starts_with(b"user.") || is_wanted(attribute, style),
        };
        if kept {
            let value = value(name, attribute, entry)?;
            let travels = attribute == CAPABILITY && style.attributes == Attributes::Portable;
            let value = if travels { without_namespace(value) } else { value };
            entry.xattrs.push(Xattr { name: attribute.to_vec(), value });
        }
    }
    Ok(is_opaque)
}

/// Of those that mean something on this host alone.
fn is_wanted(attribute: &[u8], style: &Style) -> bool {
    style.attributes == Attributes::OfHost
        && (attribute.starts_with(b"trusted.") || attribute.starts_with(b"system.posix_acl_"))
}

fn value(name: &[u8], attribute: &[u8], entry: &Entry) -> Result<Vec<u8>> {
    let mut value = Vec::with_capacity(LONGEST);
    lgetxattr(name, attribute, rustix::buffer::spare_capacity(&mut value))
        .map_err(|error| Error::entry("read extended attributes of", &entry.path, error))?;
    value.shrink_to_fit();
    Ok(value)
}

/// The root of a user namespace of this host means nothing in an image.
fn without_namespace(mut capability: Vec<u8>) -> Vec<u8> {
    if capability.get(REVISION_BYTE) == Some(&REVISION_3) {
        capability[REVISION_BYTE] = REVISION_2;
        capability.truncate(SIZE_2);
    }
    capability
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_lose_their_namespace() {
        let rest = [0_u8; 20];
        let third = [&[1, 0, 0, 3][..], &rest].concat();
        assert_eq!(without_namespace(third), [&[1, 0, 0, 2][..], &rest[..16]].concat());
        let second = [&[1, 0, 0, 2][..], &rest[..16]].concat();
        assert_eq!(without_namespace(second.clone()), second);
    }
}
