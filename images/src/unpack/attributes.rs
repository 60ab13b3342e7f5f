//! Owners and extended attributes as a policy has them.

use std::os::fd::BorrowedFd;

use rustix::fs::{Gid, Timespec, Timestamps, Uid, XattrFlags, fsetxattr};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use super::{Owner, Policy, Privileges, Shift};
use crate::archive::{Entry, Error, Result, Time, Xattr};

/// NAME and SIZE of limits.h for extended attributes.
const LONGEST_NAME: usize = 255;
const LONGEST_VALUE: usize = 1 << 16;

/// Set on a directory it would pass to all that is made inside: set when the layer is complete.
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// What was asked for and passed over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Skipped {
    pub(super) devices: u64,
    pub(super) xattrs: u64,
}

impl Skipped {
    pub(super) fn and(self, other: Self) -> Self {
        Self { devices: self.devices + other.devices, xattrs: self.xattrs + other.xattrs }
    }
}

/// Who owns the files that we make, and who should.
pub(super) struct Owners {
    shift: Option<Shift>,
    owner: Option<Owner>,
    ours: (u32, u32),
}

impl Owners {
    pub(super) fn new(policy: &Policy) -> Self {
        Self { shift: policy.shift, owner: policy.owner, ours: (geteuid().as_raw(), getegid().as_raw()) }
    }

    /// The owner of an entry's file on the host.
    pub(super) fn of(&self, entry: &Entry) -> Result<(Uid, Gid)> {
        self.numbers(entry).map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    /// The owner to set on a new file; `None` when a new file has it already.
    pub(super) fn change(&self, entry: &Entry) -> Result<Option<(Uid, Gid)>> {
        if self.numbers(entry)? == self.ours { Ok(None) } else { self.of(entry).map(Some) }
    }

    fn numbers(&self, entry: &Entry) -> Result<(u32, u32)> {
        match self.owner {
            Some(owner) => Ok((owner.uid, owner.gid)),
            None => self.written(entry),
        }
    }

    /// The owner that the archive says, or root of one that it does not speak of.
    pub(super) fn said(&self, entry: &Entry) -> Result<(Uid, Gid)> {
        self.written(entry).map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    fn written(&self, entry: &Entry) -> Result<(u32, u32)> {
        let Some(shift) = self.shift else { return Ok((entry.uid, entry.gid)) };
        let moved = |id: u32, base: u32| (id < shift.count).then(|| base.checked_add(id)).flatten();
        let ids = moved(entry.uid, shift.uid).zip(moved(entry.gid, shift.gid));
        ids.ok_or_else(|| Error::refused(&entry.path, "its owner is outside the range of ids"))
    }
}

/// Why an owner could not be set.
pub(super) fn owner_error(path: &[u8], error: Errno) -> Error {
    match error {
        Errno::INVAL => Error::refused(path, "its owner is not mapped in this user namespace"),
        error => Error::entry("set the owner of", path, error),
    }
}

/// Checks the names and sizes of extended attributes before anything is made.
pub(super) fn check_xattrs(entry: &Entry, policy: &Policy) -> Result<()> {
    let refused = |reason| Err(Error::refused(&entry.path, reason));
    let mut total = 0;
    for Xattr { name, value } in &entry.xattrs {
        total += name.len() + value.len();
        if name.len() > LONGEST_NAME || value.len() > LONGEST_VALUE || total > policy.limits.xattrs {
            return refused("its extended attributes are too large");
        }
        // They would redirect overlayfs or hide files behind the whiteouts' back.
        if name.starts_with(policy.privileges.overlay_namespace().as_bytes()) {
            return refused("it has an extended attribute of overlayfs");
        }
    }
    Ok(())
}

/// Sets all but the default ACL of an open file, and counts what cannot be.
pub(super) fn set_xattrs(
    fd: BorrowedFd<'_>,
    entry: &Entry,
    policy: &Policy,
    skipped: &mut Skipped,
) -> Result<()> {
    set_each(entry, policy, skipped, |name, value| fsetxattr(fd, name, value, XattrFlags::empty()))
}

pub(super) fn set_each(
    entry: &Entry,
    policy: &Policy,
    skipped: &mut Skipped,
    set: impl Fn(&[u8], &[u8]) -> std::result::Result<(), Errno>,
) -> Result<()> {
    for xattr in entry.xattrs.iter().filter(|xattr| xattr.name != DEFAULT_ACL) {
        match set(&xattr.name, &xattr.value) {
            Ok(()) => {}
            Err(error) if may_lack(error, policy) => skipped.xattrs += 1,
            Err(error) => return Err(Error::entry("set extended attributes of", &entry.path, error)),
        }
    }
    Ok(())
}

/// Attributes of other systems, and of more privilege than there is, are no reason to refuse an image.
pub(super) fn may_lack(error: Errno, policy: &Policy) -> bool {
    error == Errno::OPNOTSUPP || (error == Errno::PERM && policy.privileges == Privileges::Rootless)
}

/// The times to set: without an access time, that of the modification.
pub(super) fn timestamps(mtime: Time, atime: Option<Time>) -> Timestamps {
    let spec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: spec(atime.unwrap_or(mtime)), last_modification: spec(mtime) }
}
