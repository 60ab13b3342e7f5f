//! Trees deeper than a process may have files open, with paths longer than a system call takes: unpacked, measured, compared,
//! committed, exported, removed. Alone in its program, since the limit is the process's. Run as root.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use knarr_images::archive::{Entry, Kind, Reader, Writer};
use knarr_images::commit::Commit;
use knarr_images::diff::ChangeKind;
use knarr_images::import::Import;
use knarr_images::store::{Access, Removal, Space, WhenBusy};
use knarr_images::{Digest, Store};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, statat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const DEPTH: usize = 3000;
const NAME: &str = "d";
const OPEN_FILES: u64 = 128;

/// Directories in directories, each with a mode of its own, and a file in the last.
fn archive() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let mut path = Vec::new();
    for depth in 0..DEPTH {
        path.extend(format!("{}{NAME}", if depth == 0 { "" } else { "/" }).bytes());
        let mode = if depth % 2 == 0 { 0o755 } else { 0o711 };
        writer.entry(&Entry::new(path.clone(), Kind::Directory, mode)).unwrap();
    }
    path.extend(b"/file");
    writer.entry(&Entry { size: 5, ..Entry::new(path, Kind::File, 0o644) }).unwrap();
    writer.write_all(b"bytes").unwrap();
    writer.finish().unwrap()
}

fn enter(dir: &OwnedFd) -> OwnedFd {
    openat(dir, NAME, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn deepest(mut dir: OwnedFd) -> OwnedFd {
    for depth in 0..DEPTH {
        let mode = statat(&dir, NAME, AtFlags::SYMLINK_NOFOLLOW).unwrap().st_mode & 0o7777;
        assert_eq!(mode, if depth % 2 == 0 { 0o755 } else { 0o711 }, "at depth {depth}");
        dir = enter(&dir);
    }
    dir
}

fn names(archive: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader::new(archive);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(entry.path);
    }
    names
}

fn import(store: &Store, archive: &[u8]) -> Digest {
    store.import(archive, &Import::default()).unwrap()
}

#[test]
fn depth_is_no_matter() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let archive = archive();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), ..limit }).unwrap();
    let store = Store::open(folder.path(), WhenBusy::Wait).unwrap();

    let id = import(&store, &archive);
    let snapshot = store.prepare("one", &id, "").unwrap();
    let mut exported = Vec::new();
    store.export("one", &mut exported).unwrap();
    assert_eq!(names(&exported), names(&archive));
    assert_eq!(import(&store, &exported).hex().len(), 64);

    // A file at the bottom brings all directories up; one more tree is added there.
    let view = store.view(&snapshot, Access::Writable).unwrap();
    let bottom = deepest(view);
    let new = openat(&bottom, "new", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR).unwrap();
    fs::File::from(new).write_all(b"123").unwrap();
    let mut dir = bottom;
    for _ in 0..100 {
        mkdirat(&dir, NAME, Mode::RWXU).unwrap();
        dir = enter(&dir);
    }
    drop(dir);
    let changes = store.changes("one", &[]).unwrap();
    assert_eq!(changes.len(), DEPTH + 101);
    assert_eq!(changes[DEPTH - 1].kind, ChangeKind::Modified);
    assert!(changes[DEPTH..].iter().all(|change| change.kind == ChangeKind::Added));
    let space = Space { bytes: 3, inodes: (DEPTH + 102) as u64 };
    assert_eq!(store.snapshot_space("one").unwrap(), space);
    let child = store.commit("one", &Commit::default()).unwrap();
    deepest(store.view(&store.prepare("two", &child, "").unwrap(), Access::ReadOnly).unwrap());

    // A deep tree that is hidden by a file of the same layer, and goes away while it is unpacked.
    let mut replaced = archive[..archive.len() - 1024].to_vec();
    let mut writer = Writer::new(Vec::new());
    writer.entry(&Entry { link: b"x".to_vec(), ..Entry::new(NAME, Kind::Symlink, 0o777) }).unwrap();
    replaced.extend(writer.finish().unwrap());
    let id = import(&store, &replaced);
    let layer = store.image(&id).unwrap().record.layers[0].diff_id;
    let tree = folder.path().join("layers").join(layer.hex());
    assert_eq!(fs::read_link(tree.join(NAME)).unwrap(), Path::new("x"));

    for snapshot in ["one", "two"] {
        store.remove_snapshot(snapshot).unwrap();
    }
    let removal = Removal { force: true, parents: true, runs: &|_| false };
    for image in store.images().unwrap() {
        // A parent goes with its child.
        let _ = store.remove_image(&image.id.to_string(), &removal);
    }
    assert!(store.images().unwrap().is_empty());
    assert_eq!(fs::read_dir(folder.path().join("layers")).unwrap().count(), 0);
    setrlimit(Resource::Nofile, limit).unwrap();
}
