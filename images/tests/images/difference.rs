//! What a container changed: listed, committed, exported.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use knarr_images::archive::{Entry, Kind, Reader, Writer, Xattr};
use knarr_images::commit::Commit;
use knarr_images::diff::ChangeKind;
use knarr_images::store::{Access, Snapshot};
use knarr_images::{Digest, Store};
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{UnmountFlags, unmount};

use crate::archives::{Made, tar};
use crate::world::{World, ok};

/// A snapshot that is mounted where a shell can work on it.
struct Mounted {
    place: PathBuf,
}

impl Mounted {
    fn new(world: &World, store: &Store, snapshot: &Snapshot) -> Self {
        let place = world.path(&format!("mount-of-{}", snapshot.id));
        fs::create_dir(&place).unwrap();
        let view = store.view(snapshot, Access::Writable).unwrap();
        store.attach(&view, fs::File::open(&place).unwrap()).unwrap();
        Self { place }
    }

    fn shell(&self, script: &str) {
        ok(std::process::Command::new("busybox").args(["sh", "-ec", script]).current_dir(&self.place));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.place, UnmountFlags::DETACH).unwrap();
    }
}

fn load(store: &Store, made: &Made) -> Digest {
    store.load(&made.archive(&["a:1"])[..], &mut |_| ()).unwrap()[0]
}

fn two_layers() -> Made {
    Made::of(&[
        &[
            ("etc/", b""),
            ("etc/hosts", b"h"),
            ("etc/motd", b"m"),
            ("old/", b""),
            ("old/a", b"1"),
            ("old/b", b"2"),
        ],
        &[("bin/", b""), ("bin/sh", b"#!"), ("gone", b""), (".wh.never", b"")],
    ])
}

/// `C /etc`, as `docker diff` prints it.
fn changes(store: &Store, snapshot: &str, hidden: &[&str]) -> Vec<String> {
    let hidden: Vec<PathBuf> = hidden.iter().map(PathBuf::from).collect();
    let letter = |kind| match kind {
        ChangeKind::Modified => 'C',
        ChangeKind::Added => 'A',
        ChangeKind::Deleted => 'D',
    };
    let list = store.changes(snapshot, &hidden).unwrap();
    list.iter().map(|one| format!("{} {}", letter(one.kind), one.path.display())).collect()
}

fn entries(archive: &[u8]) -> Vec<Entry> {
    let mut reader = Reader::new(archive);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push(entry);
    }
    entries
}

fn names(archive: &[u8]) -> Vec<String> {
    entries(archive).into_iter().map(|entry| String::from_utf8(entry.path).unwrap()).collect()
}

/// The archive of an image's topmost layer, inflated.
fn top_layer(store: &Store, id: &Digest) -> Vec<u8> {
    let record = store.image(id).unwrap().record;
    let path = store.root().join("blobs/sha256").join(record.layers.last().unwrap().blob.digest.hex());
    let mut bytes = Vec::new();
    let mut decoder = knarr_images::compression::Decoder::new(fs::File::open(path).unwrap()).unwrap();
    std::io::Read::read_to_end(&mut decoder, &mut bytes).unwrap();
    bytes
}

#[test]
fn changes_are_told_as_docker_tells_them() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &two_layers());
    let snapshot = store.prepare("one", &id, "").unwrap();
    let mounted = Mounted::new(&world, &store, &snapshot);
    assert_eq!(changes(&store, "one", &[]), [""; 0]);
    mounted.shell(
        "echo x >etc/new; rm etc/motd; rm gone; rm -r old; mkdir old; echo 1 >old/c; chmod 700 bin; \
         mkdir -p var/lib; mkfifo var/pipe; touch -r etc/hosts var/lib/t; chmod 644 etc/hosts; mkdir empty",
    );
    let expected = [
        "C /bin",
        "A /empty",
        "C /etc",
        "D /etc/motd",
        "A /etc/new",
        "D /gone",
        "C /old",
        "D /old/a",
        "D /old/b",
        "A /old/c",
        "A /var",
        "A /var/lib",
        "A /var/lib/t",
        "A /var/pipe",
    ];
    assert_eq!(changes(&store, "one", &[]), expected);
    // A file in the place of a directory, and the other way round.
    mounted.shell("rm -r bin; echo >bin; rm etc/hosts; mkdir etc/hosts; touch etc/hosts/x");
    let now = changes(&store, "one", &[]);
    assert_eq!(
        now[..7],
        ["C /bin", "A /empty", "C /etc", "C /etc/hosts", "A /etc/hosts/x", "D /etc/motd", "A /etc/new"]
    );
}

#[test]
fn places_of_mounts_are_no_change() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &two_layers());
    let snapshot = store.prepare("one", &id, "").unwrap();
    let mounted = Mounted::new(&world, &store, &snapshot);
    mounted.shell(
        "mkdir -p run/secrets srv/data; touch run/secrets/key etc/resolv.conf; echo >etc/hosts; mkdir dev",
    );
    let hidden = ["/run/secrets/key", "/srv/data", "/etc/resolv.conf", "/etc/hosts", "/dev"];
    assert_eq!(changes(&store, "one", &hidden), [""; 0]);
    let commit = |names: &str| Commit {
        message: Some(names.into()),
        hidden: hidden.iter().map(PathBuf::from).collect(),
        ..Commit::default()
    };
    let same = store.commit("one", &commit("nothing")).unwrap();
    assert_eq!(store.image(&same).unwrap().record.layers.len(), 2, "nothing is no layer");

    mounted.shell("echo >run/pid; echo >etc/own");
    assert_eq!(changes(&store, "one", &hidden), ["C /etc", "A /etc/own", "A /run", "A /run/pid"]);
    let id = store.commit("one", &commit("something")).unwrap();
    assert_eq!(names(&top_layer(&store, &id)), ["etc/", "etc/own", "run/", "run/pid"]);
}

#[test]
fn a_file_of_the_same_size_and_time_is_in_a_commit() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &two_layers());
    let snapshot = store.prepare("one", &id, "").unwrap();
    let mounted = Mounted::new(&world, &store, &snapshot);
    mounted.shell("touch -r etc/motd stamp; printf M >etc/motd; touch -r stamp etc/motd; rm stamp");
    let id = store.commit("one", &Commit::default()).unwrap();
    assert_eq!(names(&top_layer(&store, &id)), ["etc/", "etc/motd"]);
}

#[test]
fn the_root_is_committed_when_it_changed() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &two_layers());
    let snapshot = store.prepare("one", &id, "").unwrap();
    let mounted = Mounted::new(&world, &store, &snapshot);
    mounted.shell("echo >new");
    let plain = store.commit("one", &Commit::default()).unwrap();
    assert_eq!(names(&top_layer(&store, &plain)), ["new"]);

    chown(&mounted.place, Some(12), Some(34)).unwrap();
    fs::set_permissions(&mounted.place, Permissions::from_mode(0o1770)).unwrap();
    rustix::fs::setxattr(&mounted.place, "user.note", b"kept", rustix::fs::XattrFlags::empty()).unwrap();
    let id = store.commit("one", &Commit::default()).unwrap();
    let layer = top_layer(&store, &id);
    assert_eq!(names(&layer), ["./", "new"]);
    let root = &entries(&layer)[0];
    assert_eq!((root.mode, root.uid, root.gid), (0o1770, 12, 34));
    assert_eq!(root.xattrs, [Xattr { name: b"user.note".to_vec(), value: b"kept".to_vec() }]);

    // A snapshot of the new image has that root, one of a layer above it too, and neither is a change.
    let next = store.prepare("two", &id, "").unwrap();
    let mounted = Mounted::new(&world, &store, &next);
    mounted.shell("echo >more");
    assert_root(&mounted.place);
    let above = store.commit("two", &Commit::default()).unwrap();
    assert_eq!(names(&top_layer(&store, &above)), ["more"]);
    let last = store.prepare("three", &above, "").unwrap();
    assert_root(&Mounted::new(&world, &store, &last).place);
}

fn assert_root(root: &Path) {
    let metadata = fs::metadata(root).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o1770, 12, 34));
    let mut value = Vec::with_capacity(16);
    rustix::fs::getxattr(root, "user.note", rustix::buffer::spare_capacity(&mut value)).unwrap();
    assert_eq!(value, b"kept");
}

/// A root alone is a change as well.
#[test]
fn a_changed_mode_of_the_root_is_a_layer() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &two_layers());
    let snapshot = store.prepare("one", &id, "").unwrap();
    Mounted::new(&world, &store, &snapshot).shell("chmod 700 .");
    let id = store.commit("one", &Commit::default()).unwrap();
    assert_eq!(names(&top_layer(&store, &id)), ["./"]);
}

#[test]
fn an_image_may_have_a_layer_twice() {
    let world = World::new();
    let store = world.store();
    let twice = tar(&[("a", b"twice"), (".wh.b", b"")]);
    let made = Made::with(
        vec![twice.clone(), tar(&[("a", b"between"), ("b", b"")]), twice.clone()],
        &serde_json::json!({}),
    );
    let id = load(&store, &made);
    let snapshot = store.prepare("one", &id, "").unwrap();
    for access in [Access::ReadOnly, Access::Writable] {
        let root = store.view(&snapshot, access).unwrap();
        let file = openat(&root, "a", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(std::io::read_to_string(fs::File::from(file)).unwrap(), "twice");
        assert!(openat(&root, "b", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).is_err());
    }
    assert_eq!(changes(&store, "one", &[]), [""; 0]);
    let all = store.prepare(
        "two",
        &load(&store, &Made::with(vec![twice.clone(), twice], &serde_json::json!({}))),
        "",
    );
    store.view(&all.unwrap(), Access::ReadOnly).unwrap();
}

#[test]
fn an_export_is_all_that_is_seen() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &two_layers());
    let snapshot = store.prepare("one", &id, "").unwrap();
    let mounted = Mounted::new(&world, &store, &snapshot);
    mounted.shell("rm etc/motd gone; rm -r old; ln bin/sh bin/ash; ln -s sh bin/link; echo >.wh.name; echo new >etc/hosts");
    let mut archive = Vec::new();
    store.export("one", &mut archive).unwrap();
    assert_eq!(names(&archive), [".wh.name", "bin/", "bin/ash", "bin/link", "bin/sh", "etc/", "etc/hosts"]);
    let entries = entries(&archive);
    assert_eq!((entries[4].kind, entries[4].link.as_slice()), (Kind::HardLink, &b"bin/ash"[..]));
    // As another tool reads it.
    let file = world.path("export.tar");
    fs::write(&file, &archive).unwrap();
    let shown = ok(std::process::Command::new("tar").arg("-xOf").arg(&file).arg("etc/hosts"));
    assert_eq!(shown, "new\n");
}

#[test]
fn a_commit_takes_a_configuration() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &two_layers());
    store.prepare("one", &id, "").unwrap();
    let process =
        serde_json::json!({ "Cmd": ["new"], "Healthcheck": { "Test": ["NONE"] }, "StopTimeout": 3 });
    let commit = Commit { process: Some(process), author: Some("me".into()), ..Commit::default() };
    let child = store.config(&store.commit("one", &commit).unwrap()).unwrap();
    let parts = child.parts();
    assert_eq!((parts.config.cmd.as_slice(), parts.config.stop_timeout), (&["new".to_owned()][..], Some(3)));
    assert_eq!(parts.config.healthcheck.as_ref().unwrap().test, ["NONE"]);
    assert_eq!(parts.author.as_deref(), Some("me"));
}

/// A device in the lowest layer that overlayfs would read as a whiteout hides nothing when it stands alone.
#[test]
fn the_only_layer_may_have_whiteouts() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &Made::of(&[&[("a", b"1"), (".wh.b", b"")]]));
    let snapshot = store.prepare("one", &id, "").unwrap();
    let mounted = Mounted::new(&world, &store, &snapshot);
    mounted.shell("echo >b");
    assert_eq!(changes(&store, "one", &[]), ["A /b"]);
}

#[test]
fn a_root_entry_of_an_archive_is_heeded() {
    let world = World::new();
    let store = world.store();
    let mut writer = Writer::new(Vec::new());
    writer.entry(&Entry { uid: 7, ..Entry::new("./", Kind::Directory, 0o711) }).unwrap();
    writer.write_all(b"").unwrap();
    let made = Made::with(vec![writer.finish().unwrap(), tar(&[("a", b"1")])], &serde_json::json!({}));
    let snapshot = store.prepare("one", &load(&store, &made), "").unwrap();
    let root = Mounted::new(&world, &store, &snapshot);
    let metadata = fs::metadata(&root.place).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o711, 7));
}
