//! A layer's archive becomes a directory that overlayfs can use as a lower layer.
//!
//! The archive is hostile. Names are cleaned (`name`), every system call names one component below the descriptor of a
//! directory, and links are followed for parents alone and inside the root (`tree`). Whiteouts become what overlayfs
//! understands (image-spec layer.md "Whiteouts"; the kernel's filesystems/overlayfs).
//!
//! One thread inflates, hashes, reads headers and makes directories (`applier`); others make everything else (`maker`),
//! each the files of its own directories, so that what concerns one name happens in the archive's order (`crew`).

mod applier;
mod attributes;
mod crew;
mod directories;
mod maker;
mod name;
mod stream;
mod tree;

use std::io::Read;
use std::os::fd::BorrowedFd;
use std::thread;

use crate::Digest;
use crate::archive::{Error, Reader, Result};
use applier::Applier;
use crew::Crew;
use stream::Stream;

/// What a layer may ask for and how its files are made.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub limits: Limits,
    pub privileges: Privileges,
    pub shift: Option<Shift>,
    pub onto: Onto,
    /// Whose all files become that the archive has, if not who it says. A directory that it only implies stays root's.
    pub owner: Option<Owner>,
}

/// User and group on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// What is there before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Onto {
    /// Nothing: a layer is made, and names of whiteouts are whiteouts.
    #[default]
    Nothing,
    /// Files of somebody: names are names. An entry takes the place of what is there, whatever that is.
    Files,
    /// The same, but a directory does not take the place of anything else, nor the reverse.
    FilesOfTheirKind,
}

/// What no layer may exceed. Reading stops at the first byte or entry beyond.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub entries: u64,
    /// Bytes of the archive uncompressed, padding and all.
    pub uncompressed: u64,
    /// Uncompressed bytes for each compressed byte, once more than `ratio_floor` bytes are uncompressed.
    pub ratio: u64,
    pub ratio_floor: u64,
    /// Bytes of names and values of one file's extended attributes.
    pub xattrs: usize,
}

impl Default for Limits {
    /// Beyond any image: 4,000,000 entries, 1 TiB, 200 to one after the first 4 GiB, 128 KiB.
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            uncompressed: 1 << 40,
            ratio: 200,
            ratio_floor: 4 << 30,
            xattrs: 128 << 10,
        }
    }
}

/// Which of overlayfs's attributes are written, and whether devices can be made. Owners are set in either case: rootless is
/// root of a user namespace in which they are mapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Privileges {
    /// `trusted.overlay.*`; devices are made.
    #[default]
    Root,
    /// `user.overlay.*`, for mounts with `userxattr`; devices are passed over and counted.
    Rootless,
}

impl Privileges {
    /// Those of this process: only root of the machine itself may set `trusted.*` and make devices.
    pub fn of_process() -> Self {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let is_whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
        if rustix::process::geteuid().is_root() && is_whole { Self::Root } else { Self::Rootless }
    }

    /// The beginning of the names that overlayfs gives a meaning.
    pub(crate) fn overlay_namespace(self) -> &'static str {
        match self {
            Self::Root => "trusted.overlay.",
            Self::Rootless => "user.overlay.",
        }
    }
}

/// Where the ids of an archive begin on the host: id `n` of the archive belongs to `uid + n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    pub uid: u32,
    pub gid: u32,
    /// Ids of the archive from here on are refused.
    pub count: u32,
}

/// What a layer was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// SHA-256 of the archive uncompressed, to its last byte.
    pub diff_id: Digest,
    /// Bytes of the archive uncompressed.
    pub uncompressed: u64,
    pub entries: u64,
    /// Bytes of content of files, without holes.
    pub content: u64,
    /// The archive has an entry for the root itself.
    pub has_root: bool,
    /// Device nodes passed over for want of privilege.
    pub skipped_devices: u64,
    /// Extended attributes that the file system, or a rootless owner, cannot have.
    pub skipped_xattrs: u64,
}

/// Unpacks a layer, compressed or not, into `root`, to which nobody else may write meanwhile. It must be empty, unless the
/// policy knows of files there. `archive` is read to its end.
///
/// Nothing is synced. After an error the directory holds an unknown part of the layer, and nothing outside has changed.
pub fn layer(archive: impl Read + Send, root: BorrowedFd<'_>, policy: &Policy) -> Result<Applied> {
    let stream = Stream::new(archive, policy.limits).map_err(Error::Read)?;
    let mut reader = Reader::new(stream);
    let (counts, done) = thread::scope(|scope| {
        let crew = Crew::start(scope, policy)?;
        let mut applier = Applier::new(root, policy, crew)?;
        let outcome = applier.run(&mut reader);
        let (counts, directories, crew) = applier.into_parts();
        // A maker's failure is why the reader stopped.
        let done = crew.finish()?;
        outcome?;
        directories.finish(root)?;
        let done = done.and(counts.skipped);
        Ok::<_, Error>((counts, done))
    })?;
    let (diff_id, uncompressed) = reader.into_input().finish();
    Ok(Applied {
        diff_id,
        uncompressed,
        entries: counts.entries,
        content: counts.content,
        has_root: counts.has_root,
        skipped_devices: done.devices,
        skipped_xattrs: done.xattrs,
    })
}
