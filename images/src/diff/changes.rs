//! What an upper directory changes of what is below it, as `docker diff` tells it.
//!
//! An entry is compared by what can be looked at, and not by its content: like Docker, this takes a file whose size,
//! modification time and attributes are those of before for unchanged. Nothing that is not listed is kept from an archive
//! for that.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;

use super::Style;
use super::file::{File, Found, look};
use crate::archive::{Error, Kind, Result};
use crate::descent::{Descent, Step, Walk, names};

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Also of a directory in which something changed.
    Modified,
    Added,
    /// With all that was in it.
    Deleted,
}

/// One file that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute.
    pub path: PathBuf,
    pub kind: ChangeKind,
}

/// All changes, each directory before what is in it, names in the order of their bytes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) list: Vec<Change>,
    /// Paths of the upper directory, relative, that are there for nothing: those that were to be passed over, and
    /// directories that hold nothing else.
    pub(crate) omitted: HashSet<Vec<u8>>,
    /// The root has other attributes.
    pub(crate) root: bool,
}

/// A directory that the walk is in.
struct Level {
    /// The lower tree has the directory too, and `Comparison::lower` is in it.
    is_below: bool,
    /// Where the directory's own change is in the list, or belongs.
    place: usize,
    own: Option<ChangeKind>,
    is_opaque: bool,
    /// It has an entry that counts.
    holds: bool,
    /// It has an entry that was passed over.
    hides: bool,
}

struct Comparison<'a> {
    style: &'a Style,
    hidden: HashSet<Vec<u8>>,
    lower: Descent,
    levels: Vec<Level>,
    changes: Changes,
}

/// Compares an upper directory with a lower one, whose root has the attributes of a third. `hidden` are absolute paths of which
/// nothing is told.
pub(super) fn changes(
    [upper, lower, root]: [BorrowedFd<'_>; 3],
    hidden: &[PathBuf],
    style: &Style,
) -> Result<Changes> {
    let mut comparison = Comparison {
        style,
        hidden: hidden.iter().map(|path| relative(path)).collect(),
        lower: Descent::new(lower).map_err(|error| Error::entry("open", b"/", error))?,
        levels: Vec::new(),
        changes: Changes::default(),
    };
    comparison.changes.root = match (look(upper, b".", b".", style)?, look(root, b".", b".", style)?) {
        (Found::File(now), Found::File(before)) => differ(&now, &before),
        _ => false,
    };
    comparison.walk(upper)?;
    Ok(comparison.changes)
}

impl Comparison<'_> {
    fn walk(&mut self, upper: BorrowedFd<'_>) -> Result<()> {
        let failed = |act, path: &[u8], error: Errno| Error::entry(act, path, error);
        let mut walk = Walk::new(upper).map_err(|error| failed("list", b"/", error))?;
        self.levels.push(Level {
            is_below: true,
            place: 0,
            own: None,
            is_opaque: false,
            holds: false,
            hides: false,
        });
        loop {
            match walk.next().map_err(|error| failed("list", walk.path(), error))? {
                Some(Step::Entry) => {
                    if let Some(level) = self.entry(&walk)? {
                        if level.is_below {
                            self.lower
                                .enter(walk.name())
                                .map_err(|error| failed("open", walk.path(), error))?;
                        }
                        match walk.enter() {
                            // It was removed while we looked.
                            Err(Errno::NOENT) => {
                                if level.is_below {
                                    self.lower
                                        .leave()
                                        .map_err(|error| failed("leave", walk.path(), error))?;
                                }
                                continue;
                            }
                            entered => entered.map_err(|error| failed("open", walk.path(), error))?,
                        }
                        self.delete_hidden_below(&walk, &level)?;
                        self.levels.push(level);
                    }
                }
                Some(Step::Left) => {
                    if self.left(walk.path()) {
                        self.lower.leave().map_err(|error| failed("leave", walk.path(), error))?;
                    }
                }
                None => return Ok(()),
            }
        }
    }

    /// Compares one entry; a directory is to be entered.
    fn entry(&mut self, walk: &Walk) -> Result<Option<Level>> {
        let (name, path) = (walk.name(), walk.path());
        let place = self.changes.list.len();
        let Some(level) = self.levels.last_mut() else { return Ok(None) };
        if self.hidden.contains(path) {
            level.hides = true;
            self.changes.omitted.insert(path.to_vec());
            return Ok(None);
        }
        let before =
            if level.is_below { look_below(self.lower.dir(), name, path, self.style)? } else { None };
        let now = match look(walk.dir(), name, path, self.style)? {
            Found::Whiteout => {
                level.holds = true;
                if before.is_some() {
                    self.add(path, ChangeKind::Deleted);
                }
                return Ok(None);
            }
            Found::Gone => return Ok(None),
            Found::Socket => None,
            Found::File(file) => Some(file),
        };
        let own = match (&now, &before) {
            (_, None) => Some(ChangeKind::Added),
            (Some(now), Some(Found::File(before))) if !differ(now, before) => None,
            (None, Some(Found::Socket)) => None,
            _ => Some(ChangeKind::Modified),
        };
        let now = now.filter(|file| file.entry.kind == Kind::Directory);
        // A directory counts if something in it does: see `left`.
        level.holds |= now.is_none();
        let is_below = matches!(&before, Some(Found::File(before)) if before.entry.kind == Kind::Directory);
        if let Some(kind) = own {
            self.add(path, kind);
        }
        Ok(now.map(|now| Level {
            is_below,
            place,
            own,
            is_opaque: now.is_opaque,
            holds: false,
            hides: false,
        }))
    }

    /// An opaque directory hides what is below without naming it.
    fn delete_hidden_below(&mut self, walk: &Walk, level: &Level) -> Result<()> {
        if !(level.is_below && level.is_opaque) {
            return Ok(());
        }
        for name in names(self.lower.dir()).map_err(|error| Error::entry("list", walk.path(), error))? {
            let path = [walk.path(), b"/", &name].concat();
            let is_gone = statat(walk.dir(), &*name, AtFlags::SYMLINK_NOFOLLOW)
                .is_err_and(|error| error == Errno::NOENT);
            if is_gone && !self.hidden.contains(&path) {
                self.add(&path, ChangeKind::Deleted);
            }
        }
        Ok(())
    }

    /// The end of a directory. Is the lower tree to leave it, too?
    fn left(&mut self, path: &[u8]) -> bool {
        let Some(level) = self.levels.pop() else { return false };
        let Some(parent) = self.levels.last_mut() else { return false };
        let is_empty = !level.holds && !level.is_opaque;
        if is_empty && (level.own.is_none() || (level.own == Some(ChangeKind::Added) && level.hides)) {
            parent.hides |= level.hides;
            self.changes.list.truncate(level.place);
            self.changes.omitted.insert(path.to_vec());
            return level.is_below;
        }
        parent.holds = true;
        if level.own.is_none() && self.changes.list.len() > level.place {
            self.changes.list.insert(level.place, change(path, ChangeKind::Modified));
        }
        level.is_below
    }

    fn add(&mut self, path: &[u8], kind: ChangeKind) {
        self.changes.list.push(change(path, kind));
    }
}

fn change(path: &[u8], kind: ChangeKind) -> Change {
    Change { path: OsString::from_vec([b"/", path].concat()).into(), kind }
}

fn relative(path: &Path) -> Vec<u8> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
    parts.collect::<PathBuf>().into_os_string().into_vec()
}

/// What the lower directory has under a name; a whiteout of its own is nothing.
fn look_below(lower: BorrowedFd<'_>, name: &[u8], path: &[u8], style: &Style) -> Result<Option<Found>> {
    match look(lower, name, path, style)? {
        Found::Whiteout | Found::Gone => Ok(None),
        found => Ok(Some(found)),
    }
}

/// Whether two files differ in what can be looked at. Sizes and times of directories are no measure of change.
fn differ(now: &File, before: &File) -> bool {
    let (now, before) = (&now.entry, &before.entry);
    let same = now.kind == before.kind
        && (now.mode, now.uid, now.gid, now.device) == (before.mode, before.uid, before.gid, before.device)
        && now.xattrs == before.xattrs;
    let same_content = now.kind == Kind::Directory
        || (now.size, now.mtime, &now.link) == (before.size, before.mtime, &before.link);
    !(same && same_content)
}
