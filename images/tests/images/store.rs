//! Opening, snapshots, sweeping, and what a crash leaves.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use knarr_images::store::{Access, Space, WhenBusy};
use knarr_images::{Digest, Error, Store};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, openat};
use rustix::process::Pid;

use crate::archives::{Made, noise};
use crate::world::{World, assert_tidy, assert_whole};

fn read(root: impl AsFd, path: &str) -> Option<String> {
    let file = openat(root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    Some(std::io::read_to_string(fs::File::from(file)).unwrap())
}

fn write(root: impl AsFd, path: &str, text: &str) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = openat(root, path, flags, Mode::from(0o644)).unwrap();
    std::io::Write::write_all(&mut fs::File::from(file), text.as_bytes()).unwrap();
}

fn load(store: &Store, made: &Made, tags: &[&str]) -> Digest {
    let ids = store.load(&made.archive(tags)[..], &mut |_| ()).unwrap();
    assert_eq!(ids, [made.id()]);
    ids[0]
}

fn three_layers() -> Made {
    Made::of(&[
        &[("a", b"one"), ("gone", b"x"), ("dir/", b""), ("dir/old", b"y")],
        &[("a", b"two"), (".wh.gone", b"")],
        &[("dir/", b""), ("dir/.wh..wh..opq", b""), ("dir/new", b"z")],
    ])
}

#[test]
fn one_process_has_a_store() {
    let world = World::new();
    let store = world.store();
    let refused = Store::open(&world.root(), WhenBusy::Refuse).err().unwrap();
    assert!(matches!(refused, Error::StoreInUse(_)), "{refused}");
    drop(store);
    world.store();
    assert_eq!(fs::metadata(world.root()).unwrap().mode() & 0o7777, 0o711);
    for (path, mode) in [("blobs", 0o700), ("ingest", 0o700), ("layers", 0o700), ("snapshots", 0o711)] {
        assert_eq!(fs::metadata(world.root().join(path)).unwrap().mode() & 0o7777, mode, "{path}");
    }
}

#[test]
fn a_snapshot_is_its_layers_with_one_on_top() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &three_layers(), &["a:1"]);
    let snapshot = store.prepare("one", &id, "me").unwrap();
    let root = store.view(&snapshot, Access::Writable).unwrap();
    assert_eq!(read(&root, "a").as_deref(), Some("two"));
    assert_eq!(read(&root, "dir/new").as_deref(), Some("z"));
    assert_eq!((read(&root, "gone"), read(&root, "dir/old")), (None, None));
    write(&root, "a", "three");
    write(&root, "b", "12345");
    drop(root);
    let again = store.view(&snapshot, Access::ReadOnly).unwrap();
    assert_eq!(read(&again, "a").as_deref(), Some("three"));
    let denied = openat(&again, "c", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from(0o644));
    assert_eq!(denied.unwrap_err(), rustix::io::Errno::ROFS);
    drop(again);
    assert_eq!(store.snapshot_space("one").unwrap(), Space { bytes: 10, inodes: 3 });
    assert!(matches!(store.prepare("one", &id, "me"), Err(Error::SnapshotExists(_))));
    store.remove_snapshot("one").unwrap();
    assert!(matches!(store.snapshot("one"), Err(Error::NoSuchSnapshot(_))));
    assert!(!world.root().join("snapshots/one").exists());
}

#[test]
fn names_of_snapshots_are_names() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &three_layers(), &["a:1"]);
    for name in ["", ".new-1", "..", "a/b", "-a", &"a".repeat(129), "a\0"] {
        assert!(matches!(store.prepare(name, &id, ""), Err(Error::SnapshotName(_))), "{name:?}");
    }
    let nobody = Digest::of(b"nobody");
    assert!(matches!(store.prepare("a", &nobody, ""), Err(Error::NoSuchImage(_))));
    store.prepare(&"a".repeat(128), &id, "").unwrap();
}

#[test]
fn an_image_without_layers_has_a_root_too() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &Made::of(&[]), &["scratch-like:1"]);
    let snapshot = store.prepare("one", &id, "").unwrap();
    let root = store.view(&snapshot, Access::Writable).unwrap();
    write(&root, "a", "content");
    drop(root);
    let root = store.view(&snapshot, Access::ReadOnly).unwrap();
    assert_eq!(read(&root, "a").as_deref(), Some("content"));
}

#[test]
fn more_layers_than_a_page_of_options_holds() {
    let world = World::new();
    let store = world.store();
    let names: Vec<String> = (0..300).map(|number| format!("file-{number}")).collect();
    let layers = names.iter().map(|name| crate::archives::tar(&[(name, name.as_bytes())])).collect();
    let id = load(&store, &Made::with(layers, &serde_json::json!({})), &["deep:1"]);
    let root = store.view(&store.prepare("one", &id, "").unwrap(), Access::Writable).unwrap();
    for name in ["file-0", "file-299"] {
        assert_eq!(read(&root, name).as_deref(), Some(name));
    }
}

/// The target is 1 ms for what a container waits for: the folders, the record and the mount.
#[test]
fn a_snapshot_is_ready_at_once() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &three_layers(), &["a:1"]);
    let once = |number: usize| {
        let begun = Instant::now();
        let snapshot = store.prepare(&format!("s{number}"), &id, "").unwrap();
        let root = store.view(&snapshot, Access::Writable).unwrap();
        let took = begun.elapsed();
        drop(root);
        took
    };
    // Other tests run at the same time: the best is what it takes.
    let target = Duration::from_millis(1);
    let mut best = Duration::MAX;
    for number in 0..1000 {
        best = best.min(once(number));
        if number >= 50 && best < target {
            break;
        }
    }
    println!("a snapshot of three layers: {best:?}");
    assert!(best < target, "{best:?}");
}

#[test]
fn a_sweep_keeps_what_is_needed() {
    let world = World::new();
    let store = world.store();
    let shared: &[(&str, &[u8])] = &[("base", b"base")];
    let one = load(&store, &Made::of(&[shared, &[("1", b"1")]]), &["one:1"]);
    load(&store, &Made::of(&[shared, &[("2", b"2")]]), &["two:1"]);
    let before = store.images_usage().unwrap();
    assert_eq!((before.layers, before.images.len()), (6, 2));
    assert!(before.images.values().all(|image| (image.size, image.shared) == (5, 4)), "{before:?}");
    assert_eq!(store.sweep().unwrap(), knarr_images::store::Swept::default());

    store.prepare("user", &one, "").unwrap();
    let removal = knarr_images::store::Removal { force: true, parents: true, runs: &|_| false };
    store.remove_image("one:1", &removal).unwrap();
    // The snapshot needs the trees of both layers, and no blob.
    let left = store.images_usage().unwrap();
    assert_eq!((left.layers, left.images.len()), (6, 1));
    let root = store.view(&store.snapshot("user").unwrap(), Access::ReadOnly).unwrap();
    assert_eq!(read(&root, "1").as_deref(), Some("1"));
    drop(root);
    store.remove_snapshot("user").unwrap();
    let swept = store.sweep().unwrap();
    assert_eq!((swept.layers, swept.blobs, swept.bytes), (1, 0, 1));
    assert_whole(&store);
}

#[test]
fn opening_removes_what_is_unfinished_or_nobodys() {
    let world = World::new();
    load(&world.store(), &three_layers(), &["a:1"]);
    let root = world.root();
    let stranger = Digest::of(b"stranger").hex();
    for folder in ["layers/.new-7/sub", "layers/.gone-1", "snapshots/.new-0/upper", "snapshots/lost"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::create_dir_all(root.join("layers").join(&stranger)).unwrap();
    for file in ["ingest/.new-3", "ingest/not-a-digest"] {
        fs::write(root.join(file), "x").unwrap();
    }
    let (download, blob) = (root.join("ingest").join(&stranger), root.join("blobs/sha256").join(&stranger));
    fs::write(&download, "part").unwrap();
    fs::write(&blob, "stranger").unwrap();
    let store = world.store();
    assert_tidy(&root);
    assert!(!root.join("snapshots/lost").exists() && !root.join("ingest/not-a-digest").exists());
    assert!(!root.join("layers").join(&stranger).exists());
    // These may be what the next pull goes on with.
    assert!(download.exists() && blob.exists());
    let swept = store.sweep().unwrap();
    assert_eq!((swept.blobs, swept.downloads, swept.bytes), (1, 1, 12));
    assert!(!download.exists() && !blob.exists());
    assert_whole(&store);
}

#[test]
fn a_record_whose_files_are_gone_goes_too() {
    for part in ["layers", "blobs/sha256"] {
        let world = World::new();
        let store = world.store();
        let id = load(&store, &three_layers(), &["a:1"]);
        let other = load(&store, &Made::of(&[&[("other", b"")]]), &["b:1"]);
        let layer = store.image(&id).unwrap().record.layers[1].clone();
        drop(store);
        let name = if part == "layers" { layer.diff_id } else { layer.blob.digest };
        let path = world.root().join(part).join(name.hex());
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        let store = world.store();
        let left: Vec<Digest> = store.images().unwrap().iter().map(|image| image.id).collect();
        assert_eq!(left, [other], "{part}");
        assert!(matches!(store.resolve("a:1"), Err(Error::NoSuchImage(_))));
        // What is left of it does not keep it from coming back.
        load(&store, &three_layers(), &["a:1"]);
        assert_whole(&store);
    }
}

#[test]
fn whiteouts_are_those_of_the_kernel() {
    let world = World::new();
    let store = world.store();
    let made = three_layers();
    load(&store, &made, &["a:1"]);
    let tree = |number: usize| world.root().join("layers").join(Digest::of(&made.layers[number]).hex());
    let gone = fs::symlink_metadata(tree(1).join("gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(tree(2).join("dir"), "trusted.overlay.opaque", &mut value).unwrap();
    assert_eq!(&value[..length], b"y");
}

#[test]
fn a_large_layer_takes_little_memory() {
    let world = World::new();
    let file = noise(1, 256 << 20);
    let archive = Made::of(&[&[("large", &file)]]).archive(&["large:1"]);
    let path = world.path("large.tar");
    fs::write(&path, archive).unwrap();
    let peak = peak_kib(&world, &["load", "--input", path.to_str().unwrap()]);
    println!("load of a layer of 256 MiB: {peak} KiB");
    assert!(peak < 64 << 10, "{peak} KiB");
}

/// The most memory that the program had at a time, in KiB.
pub(crate) fn peak_kib(world: &World, args: &[&str]) -> u64 {
    let mut child = world.program(args).stdout(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let end = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let mut peak = 0;
    // The kernel keeps the maximum; what it was at the end is not known after the end.
    loop {
        let text = fs::read_to_string(&status).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0));
        let pause = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        if poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&pause)).unwrap() > 0 {
            break;
        }
    }
    assert!(child.wait().unwrap().success());
    peak
}
