//! What the tests of archives share: archives from a list, trees as facts that can be compared, tools that must succeed.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use knarr_images::Digest;
use knarr_images::archive::{Entry, Error, Kind, Writer, Xattr};
use knarr_images::unpack::{self, Applied, Policy};

/// All that an unpacked file is, on one line.
pub(crate) type Facts = BTreeMap<PathBuf, String>;

/// The facts of everything below `root`; without those of the root, and without access and change times.
pub(crate) fn facts(root: &Path) -> Facts {
    let mut facts = Facts::new();
    let mut names = HashMap::new();
    walk(root, root, &mut facts, &mut names);
    facts
}

fn walk(root: &Path, folder: &Path, facts: &mut Facts, names: &mut HashMap<u64, PathBuf>) {
    let mut listing: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    listing.sort();
    for path in listing {
        let name = path.strip_prefix(root).unwrap().to_owned();
        let meta = path.symlink_metadata().unwrap();
        let mut line = format!(
            "{:o} {}:{} mtime {}.{:09}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        if meta.file_type().is_char_device() && meta.rdev() == 0 {
            // Whiteouts have no attributes that count; overlayfs makes all of them one file.
            "whiteout".clone_into(&mut line);
        } else {
            describe(&path, &name, &meta, names, &mut line);
        }
        facts.insert(name, line);
        if meta.is_dir() {
            walk(root, &path, facts, names);
        }
    }
}

fn describe(
    path: &Path,
    name: &Path,
    meta: &fs::Metadata,
    names: &mut HashMap<u64, PathBuf>,
    line: &mut String,
) {
    let kind = meta.file_type();
    if !kind.is_dir() {
        let first = names.entry(meta.ino()).or_insert_with(|| name.to_owned());
        write!(line, " names {} first {}", meta.nlink(), first.display()).unwrap();
    }
    if kind.is_file() {
        write!(line, " size {} {}", meta.len(), Digest::of(&fs::read(path).unwrap())).unwrap();
    } else if kind.is_symlink() {
        write!(line, " -> {}", fs::read_link(path).unwrap().display()).unwrap();
    } else if kind.is_char_device() || kind.is_block_device() {
        write!(line, " device {:x}", meta.rdev()).unwrap();
    }
    for (attribute, value) in xattrs(path) {
        write!(line, " {attribute}={value:?}").unwrap();
    }
}

pub(crate) fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let read = |name: &[u8]| {
        let mut value = vec![0; 1 << 16];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        (String::from_utf8(name.to_vec()).unwrap(), value)
    };
    names.map(read).collect()
}

/// Two trees are the same, or the differences are shown.
#[track_caller]
pub(crate) fn assert_same(ours: &Facts, theirs: &Facts) {
    let mut differences = String::new();
    for name in ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name))) {
        let (our, their) = (ours.get(name), theirs.get(name));
        if our != their {
            writeln!(differences, "{}\n  ours   {our:?}\n  theirs {their:?}", name.display()).unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// An entry with content.
pub(crate) fn file(path: &str, content: &[u8]) -> (Entry, Vec<u8>) {
    let mut entry = Entry::new(path, Kind::File, 0o644);
    entry.size = content.len() as u64;
    (entry, content.to_vec())
}

pub(crate) fn other(path: &str, kind: Kind) -> (Entry, Vec<u8>) {
    (Entry::new(path, kind, 0o755), Vec::new())
}

pub(crate) fn link(path: &str, kind: Kind, target: &str) -> (Entry, Vec<u8>) {
    let mut entry = Entry::new(path, kind, 0o777);
    entry.link = target.into();
    (entry, Vec::new())
}

pub(crate) fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.into(), value: value.to_vec() }
}

pub(crate) fn archive(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer.entry(entry).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap()
}

pub(crate) fn apply(bytes: &[u8], root: &Path, policy: &Policy) -> Result<Applied, Error> {
    fs::create_dir_all(root).unwrap();
    unpack::layer(bytes, File::open(root).unwrap().as_fd(), policy)
}

/// An error as it is shown to users.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, ": {cause}").unwrap();
        source = cause.source();
    }
    text
}

/// Runs a tool that must be there and succeed; its standard output.
pub(crate) fn tool(name: &str, arguments: &[&str], folder: &Path) -> Vec<u8> {
    let output = Command::new(name).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {} {said}", output.status);
    output.stdout
}

pub(crate) fn utf8(path: &Path) -> &str {
    std::str::from_utf8(path.as_os_str().as_bytes()).unwrap()
}
