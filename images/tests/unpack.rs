//! Layers unpacked: what each kind of entry becomes, and whole images entry by entry as umoci unpacks them. Run as root.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test ends where an expectation fails
#![allow(dead_code)] // the shared module serves three tests

mod tree;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use knarr_images::Digest;
use knarr_images::archive::{Entry, Kind, Time};
use knarr_images::compression::gzip;
use knarr_images::unpack::{Applied, Limits, Policy, Privileges, Shift};

use tree::{apply, archive, assert_same, chain, facts, file, link, other, tool, utf8, xattr, xattrs};

/// cap_net_raw=ep, revision 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

struct Unpacked {
    folder: tempfile::TempDir,
    applied: Applied,
}

impl Unpacked {
    #[track_caller]
    fn new(entries: &[(Entry, Vec<u8>)]) -> Self {
        Self::with(entries, &Policy::default())
    }

    #[track_caller]
    fn with(entries: &[(Entry, Vec<u8>)], policy: &Policy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let applied = apply(&archive(entries), folder.path(), policy)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        Self { folder, applied }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn meta(&self, name: &str) -> fs::Metadata {
        self.path(name).symlink_metadata().unwrap()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn is_whiteout(&self, name: &str) -> bool {
        let meta = self.meta(name);
        meta.file_type().is_char_device() && meta.rdev() == 0
    }

    fn is_opaque(&self, name: &str) -> bool {
        xattrs(&self.path(name)).get("trusted.overlay.opaque").is_some_and(|value| value == b"y")
    }
}

fn at(mut entry: (Entry, Vec<u8>), seconds: i64, nanoseconds: u32) -> (Entry, Vec<u8>) {
    entry.0.mtime = Time { seconds, nanoseconds };
    entry
}

fn with(mut entry: (Entry, Vec<u8>), change: impl FnOnce(&mut Entry)) -> (Entry, Vec<u8>) {
    change(&mut entry.0);
    entry
}

#[test]
fn every_kind_becomes_what_it_is() {
    let device = |path, kind, number| with(other(path, kind), |entry| entry.device = number);
    let layer = Unpacked::new(&[
        at(with(other("dir", Kind::Directory), |entry| entry.mode = 0o2750), 1_000, 5),
        at(file("dir/file", b"content"), 2_000_000_000, 123_456_789),
        link("dir/link", Kind::Symlink, "/etc/passwd"),
        link("name", Kind::HardLink, "dir/file"),
        link("name-of-link", Kind::HardLink, "/dir/link"),
        with(other("fifo", Kind::Fifo), |entry| entry.mode = 0o666),
        device("dev/char", Kind::CharDevice, (5, 300)),
        device("dev/block", Kind::BlockDevice, (259, 70_000)),
        at(file("old", b""), -5, 500_000_000),
    ]);
    assert_eq!((layer.applied.entries, layer.applied.content), (9, 7));
    let dir = layer.meta("dir");
    assert_eq!((dir.mode(), dir.mtime(), dir.mtime_nsec()), (0o42_750, 1_000, 5));
    let file = layer.meta("dir/file");
    assert_eq!(
        (file.mode(), file.nlink(), file.mtime(), file.mtime_nsec()),
        (0o100_644, 2, 2_000_000_000, 123_456_789)
    );
    assert_eq!(layer.meta("name").ino(), file.ino());
    assert_eq!(layer.meta("name-of-link").ino(), layer.meta("dir/link").ino());
    assert_eq!(fs::read_link(layer.path("dir/link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(layer.meta("fifo").mode(), 0o10_666);
    assert_eq!(
        (layer.meta("dev/char").mode(), layer.meta("dev/char").rdev()),
        (0o20_755, rustix::fs::makedev(5, 300))
    );
    assert_eq!(
        (layer.meta("dev/block").mode(), layer.meta("dev/block").rdev()),
        (0o60_755, rustix::fs::makedev(259, 70_000))
    );
    assert_eq!((layer.meta("dev").mode(), layer.meta("dev").uid()), (0o40_755, 0), "made for what is in it");
    assert_eq!((layer.meta("old").mtime(), layer.meta("old").mtime_nsec()), (-5, 500_000_000));
}

#[test]
fn owners_set_id_bits_and_capabilities_survive_each_other() {
    let layer = Unpacked::new(&[
        with(file("su", b"#!"), |entry| {
            (entry.mode, entry.uid, entry.gid) = (0o6755, 4_000_000_000, 12);
            entry.xattrs = vec![xattr("security.capability", &CAPABILITY), xattr("user.note", b"a\0b")];
        }),
        with(file("sticky", b""), |entry| entry.mode = 0o1600),
        with(link("link", Kind::Symlink, "su"), |entry| (entry.uid, entry.gid) = (7, 8)),
        with(link("trusted", Kind::Symlink, "su"), |entry| entry.xattrs = vec![xattr("trusted.note", b"x")]),
        with(other("dir", Kind::Directory), |entry| entry.xattrs = vec![xattr("user.dir", b"d")]),
        with(other("fifo", Kind::Fifo), |entry| (entry.mode, entry.uid) = (0o4700, 3)),
    ]);
    let su = layer.meta("su");
    assert_eq!((su.mode(), su.uid(), su.gid()), (0o106_755, 4_000_000_000, 12));
    let attributes = xattrs(&layer.path("su"));
    assert_eq!(attributes["security.capability"], CAPABILITY);
    assert_eq!(attributes["user.note"], b"a\0b");
    assert_eq!(layer.meta("sticky").mode(), 0o101_600);
    assert_eq!((layer.meta("link").uid(), layer.meta("link").gid()), (7, 8));
    assert_eq!(xattrs(&layer.path("trusted"))["trusted.note"], b"x");
    assert_eq!(xattrs(&layer.path("dir"))["user.dir"], b"d");
    assert_eq!((layer.meta("fifo").mode(), layer.meta("fifo").uid()), (0o14_700, 3));
}

#[test]
fn whiteouts_and_opaque_directories_become_overlayfs_ones() {
    let layer = Unpacked::new(&[
        file("dir/.wh.gone", b""),
        file("dir/kept-before", b"1"),
        file("dir/.wh..wh..opq", b""),
        file("dir/kept-after", b"2"),
        file(".wh.top", b""),
        file(".wh..wh.plnk/1.2", b"of aufs"),
        file(".wh..wh.aufs", b""),
    ]);
    assert!(layer.is_whiteout("dir/gone") && layer.is_whiteout("top"));
    assert!(layer.is_opaque("dir"));
    assert_eq!((layer.text("dir/kept-before"), layer.text("dir/kept-after")), ("1".into(), "2".into()));
    let names: Vec<_> = facts(layer.folder.path()).into_keys().collect();
    let expected = ["dir", "dir/gone", "dir/kept-after", "dir/kept-before", "top"].map(PathBuf::from);
    assert_eq!(names, expected);
}

/// Image-spec: whiteouts concern lower layers, whatever their place in the archive.
#[test]
fn a_whiteout_and_a_file_of_one_name_in_one_layer() {
    let layer = Unpacked::new(&[
        file("file", b"new"),
        file(".wh.file", b""),
        file(".wh.later", b""),
        file("later", b"new"),
        file("dir/inside", b"new"),
        file(".wh.dir", b""),
        file(".wh.next", b""),
        file("next/inside", b"new"),
        file(".wh.own", b""),
        other("own", Kind::Directory),
        file(".wh.plain", b""),
    ]);
    assert_eq!((layer.text("file"), layer.text("later")), ("new".into(), "new".into()));
    assert!(layer.is_opaque("dir") && layer.is_opaque("next") && layer.is_opaque("own"));
    assert_eq!((layer.text("dir/inside"), layer.text("next/inside")), ("new".into(), "new".into()));
    assert!(layer.is_whiteout("plain"));
}

#[test]
fn the_last_entry_of_a_name_wins() {
    let layer = Unpacked::new(&[
        file("file", b"first and longer"),
        file("file", b"second"),
        other("was-dir/inside", Kind::Directory),
        file("was-dir/inside/file", b""),
        file("was-dir", b"a file now"),
        file("was-file", b""),
        other("was-file", Kind::Directory),
        file("was-file/inside", b"in"),
        link("was-link", Kind::Symlink, "was-file"),
        other("was-link", Kind::Directory),
        file("was-link/own", b"own"),
        at(other("merged", Kind::Directory), 5, 0),
        file("merged/kept", b"kept"),
        with(at(other("merged", Kind::Directory), 9, 0), |entry| entry.mode = 0o700),
        link("linked", Kind::HardLink, "file"),
        link("linked", Kind::HardLink, "file"),
        link("file", Kind::HardLink, "file"),
        file("tree/x/y", b""),
        file("tree", b""),
    ]);
    assert_eq!(layer.text("file"), "second");
    assert_eq!(layer.text("was-dir"), "a file now");
    assert_eq!(layer.text("was-file/inside"), "in");
    assert_eq!(layer.text("was-link/own"), "own");
    assert!(!layer.path("was-file/own").exists(), "the link was replaced, not followed");
    assert_eq!((layer.meta("merged").mode(), layer.meta("merged").mtime()), (0o40_700, 9));
    assert_eq!(layer.text("merged/kept"), "kept");
    assert_eq!(layer.meta("file").nlink(), 2);
    assert!(layer.meta("tree").is_file());
}

/// A directory that is replaced by a file and comes back: nothing may be written to the one that is gone.
#[test]
fn directories_come_and_go() {
    let mut entries = Vec::new();
    for round in 0..50 {
        entries.push(other("a", Kind::Directory));
        entries.push(file("a/b/c/file", format!("{round}").as_bytes()));
        entries.push(file("a", b""));
    }
    entries.push(file("x", b""));
    entries.push(other("a", Kind::Directory));
    entries.push(file("a/b/last", b"last"));
    let layer = Unpacked::new(&entries);
    assert_eq!(layer.text("a/b/last"), "last");
    assert!(!layer.path("a/b/c").exists());
}

#[test]
fn a_link_on_the_way_is_followed_inside_the_root_alone() {
    let layer = Unpacked::new(&[
        other("usr/lib", Kind::Directory),
        link("lib", Kind::Symlink, "usr/lib"),
        link("rooted", Kind::Symlink, "/usr/lib"),
        link("climbing", Kind::Symlink, "../../../../usr/lib"),
        file("lib/a", b"a"),
        file("rooted/b", b"b"),
        file("climbing/c", b"c"),
        link("lib/d", Kind::HardLink, "rooted/a"),
    ]);
    for (name, content) in [("a", "a"), ("b", "b"), ("c", "c"), ("d", "a")] {
        assert_eq!(layer.text(&format!("usr/lib/{name}")), content);
    }
    assert!(layer.meta("lib").is_symlink());
}

#[test]
fn names_with_a_leading_slash_mean_the_root_of_the_layer() {
    let layer = Unpacked::new(&[file("/etc/absolute", b"x"), at(other("./", Kind::Directory), 77, 0)]);
    assert_eq!(layer.text("etc/absolute"), "x");
    assert_eq!(layer.folder.path().metadata().unwrap().mtime(), 77);
}

/// More directories, links and names than are kept open, queued or remembered at once.
#[test]
fn a_large_layer_stays_within_its_descriptors_and_its_order() {
    let mut entries = Vec::new();
    for folder in 0..600 {
        let name = format!("d/{:x}/{folder}", folder % 7);
        entries.push(at(other(&name, Kind::Directory), folder, 0));
        for number in 0..20 {
            entries.push(file(&format!("{name}/{number}"), format!("{folder}/{number}").as_bytes()));
        }
        entries.push(link(&format!("links/{folder}"), Kind::HardLink, &format!("{name}/7")));
    }
    let layer = Unpacked::new(&entries);
    for folder in 0..600 {
        let name = format!("d/{:x}/{folder}", folder % 7);
        assert_eq!(layer.text(&format!("links/{folder}")), format!("{folder}/7"));
        assert_eq!(layer.meta(&name).mtime(), folder);
        assert_eq!(layer.text(&format!("{name}/19")), format!("{folder}/19"));
    }
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let leaked =
        open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(layer.folder.path())));
    assert_eq!(leaked.count(), 0);
}

#[test]
fn a_large_file_is_the_same_byte_for_byte() {
    let content: Vec<u8> = (0..3_000_001_u32).flat_map(u32::to_le_bytes).collect();
    let layer = Unpacked::new(&[file("large", &content), file("small", b"after it")]);
    assert!(fs::read(layer.path("large")).unwrap() == content);
    assert_eq!(layer.text("small"), "after it");
}

#[test]
fn the_diff_id_counts_every_byte_whatever_the_compression() {
    let mut plain = archive(&[file("a", b"content")]);
    plain.extend([0; 3000]);
    plain.extend(b"trailing bytes that are no archive");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("plain"), &plain).unwrap();
    let mut encoder = gzip(Vec::new());
    encoder.write_all(&plain).unwrap();
    let packed = |name| tool(name, &["-c", "plain"], folder.path());
    let forms = [
        plain.clone(),
        encoder.finish().unwrap(),
        packed("gzip"),
        packed("bzip2"),
        packed("xz"),
        zstd::encode_all(&plain[..], 3).unwrap(),
    ];
    for (number, bytes) in forms.iter().enumerate() {
        let root = folder.path().join(number.to_string());
        let applied = apply(bytes, &root, &Policy::default()).unwrap();
        assert_eq!(
            (applied.diff_id, applied.uncompressed),
            (Digest::of(&plain), plain.len() as u64),
            "form {number}"
        );
        assert_eq!(fs::read(root.join("a")).unwrap(), b"content");
    }
}

#[test]
fn a_sparse_file_keeps_its_holes() {
    let folder = tempfile::tempdir().unwrap();
    let source = File::create(folder.path().join("holes")).unwrap();
    source.write_all_at(&[9; 4096], 1 << 20).unwrap();
    source.set_len(64 << 20).unwrap();
    let bytes = tool("tar", &["-c", "--sparse", "--format=pax", "holes"], folder.path());
    let root = folder.path().join("root");
    let applied = apply(&bytes, &root, &Policy::default()).unwrap();
    assert_eq!(applied.content, 4096);
    let meta = root.join("holes").metadata().unwrap();
    assert_eq!(meta.len(), 64 << 20);
    assert!(meta.blocks() < 1000, "{} blocks", meta.blocks());
    let content = fs::read(root.join("holes")).unwrap();
    assert!(content == fs::read(folder.path().join("holes")).unwrap());
}

#[test]
fn a_rootless_layer_has_the_attributes_of_users_and_no_devices() {
    let policy = Policy { privileges: Privileges::Rootless, ..Policy::default() };
    let layer = Unpacked::with(
        &[
            with(other("null", Kind::CharDevice), |entry| entry.device = (1, 3)),
            with(other("loop", Kind::BlockDevice), |entry| entry.device = (7, 0)),
            file("dir/.wh..wh..opq", b""),
            file("dir/.wh.gone", b""),
        ],
        &policy,
    );
    assert_eq!(layer.applied.skipped_devices, 2);
    assert!(!layer.path("null").exists() && !layer.path("loop").exists());
    assert_eq!(xattrs(&layer.path("dir"))["user.overlay.opaque"], b"y");
    assert!(layer.is_whiteout("dir/gone"));
}

#[test]
fn ids_are_shifted_and_those_outside_are_refused() {
    let policy =
        Policy { shift: Some(Shift { uid: 100_000, gid: 200_000, count: 1000 }), ..Policy::default() };
    let owned = |path, uid, gid| with(file(path, b""), |entry| (entry.uid, entry.gid) = (uid, gid));
    let layer = Unpacked::with(&[owned("dir/a", 0, 999)], &policy);
    assert_eq!((layer.meta("dir/a").uid(), layer.meta("dir/a").gid()), (100_000, 200_999));
    assert_eq!((layer.meta("dir").uid(), layer.meta("dir").gid()), (100_000, 200_000));
    let folder = tempfile::tempdir().unwrap();
    let error = apply(&archive(&[owned("b", 0, 1000)]), folder.path(), &policy).unwrap_err();
    assert_eq!(chain(&error), "archive entry \"b\": its owner is outside the range of ids");
}

/// Attributes that no Linux file system has are passed over, as other engines do.
#[test]
fn attributes_of_other_systems_are_counted() {
    let foreign = with(file("a", b""), |entry| entry.xattrs = vec![xattr("com.apple.provenance", b"x")]);
    assert_eq!(Unpacked::new(&[foreign]).applied.skipped_xattrs, 1);
}

#[test]
fn default_acls_are_not_inherited_by_the_layer_itself() {
    // Version 2; user_obj rwx, group_obj ---, other ---.
    let acl = [
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 0, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255,
        255, 255,
    ];
    let dir = with(other("dir", Kind::Directory), |entry| {
        entry.xattrs = vec![xattr("system.posix_acl_default", &acl)];
    });
    let layer = Unpacked::new(&[dir, file("dir/file", b"")]);
    assert_eq!(xattrs(&layer.path("dir"))["system.posix_acl_default"], acl);
    assert_eq!(layer.meta("dir/file").mode(), 0o100_644);
}

/// A Debian root of its own packages, as an archive; made once and kept beside the build.
fn debian() -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = cache.join("debian-minbase.tar");
    let lock = File::create(cache.join("debian-minbase.tar.lock")).unwrap();
    rustix::fs::flock(lock.as_fd(), rustix::fs::FlockOperation::LockExclusive).unwrap();
    if !path.is_file() {
        let fresh = cache.join("debian-minbase.new.tar");
        let packages = "--include=iputils-ping";
        tool("mmdebstrap", &["--quiet", "--variant=minbase", packages, "bookworm", utf8(&fresh)], cache);
        fs::rename(fresh, &path).unwrap();
    }
    path
}

#[test]
fn a_debian_layer_is_as_umoci_unpacks_it() {
    let archive = debian();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let here = folder.path();
    tool("umoci", &["init", "--layout", "oci"], here);
    tool("umoci", &["new", "--image", "oci:debian"], here);
    tool("umoci", &["raw", "add-layer", "--image", "oci:debian", utf8(&archive)], here);
    tool("umoci", &["raw", "unpack", "--image", "oci:debian", "theirs"], here);

    // The layer as umoci compressed it: its largest blob.
    let blobs = fs::read_dir(here.join("oci/blobs/sha256")).unwrap().map(|blob| blob.unwrap().path());
    let layer = blobs.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let bytes = fs::read(layer).unwrap();
    let applied = apply(&bytes, &here.join("ours"), &Policy::default())
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(applied.diff_id, Digest::of(&fs::read(&archive).unwrap()));
    assert_eq!((applied.skipped_devices, applied.skipped_xattrs), (0, 0));

    let ours = facts(&here.join("ours"));
    assert!(ours.len() > 5000, "{} files", ours.len());
    assert!(
        ours[Path::new("usr/bin/ping")].contains("security.capability"),
        "{}",
        ours[Path::new("usr/bin/ping")]
    );
    assert!(ours[Path::new("dev/null")].contains("device 103"));
    assert_same(&ours, &facts(&here.join("theirs")));
}

#[test]
fn limits_name_what_they_stop_at() {
    let folder = tempfile::tempdir().unwrap();
    let limited = |limits, bytes: &[u8]| {
        let policy = Policy { limits, ..Policy::default() };
        chain(&apply(bytes, &folder.path().join("root"), &policy).unwrap_err())
    };
    let many: Vec<_> = (0..20).map(|number| file(&number.to_string(), b"")).collect();
    let limits = Limits { entries: 10, ..Limits::default() };
    assert_eq!(
        limited(limits, &archive(&many)),
        "archive entry \"10\": the archive has more entries than a layer may have"
    );
    let limits = Limits { uncompressed: 100_000, ..Limits::default() };
    let error = limited(limits, &archive(&[file("large", &vec![1; 2_000_000])]));
    assert_eq!(error, "read \"large\": the archive has more than 100000 bytes uncompressed");
}

/// Ten gigabytes of zeros in ten megabytes.
#[test]
fn a_bomb_is_stopped_early() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = archive(&[file("bomb", b"")])[..512].to_vec();
    header[124..136].copy_from_slice(b"77777777777\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let compressed = |content: &[u8]| {
        let mut encoder = gzip(Vec::new());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    let zeros = compressed(&vec![0; 64 << 20]);
    let bomb = [compressed(&header), zeros.repeat(160)].concat();
    let limits = Limits { ratio: 100, ratio_floor: 32 << 20, ..Limits::default() };
    let root = folder.path().join("root");
    let error = apply(&bomb, &root, &Policy { limits, ..Policy::default() }).unwrap_err();
    assert_eq!(chain(&error), "read \"bomb\": the archive is more than 100 times as large uncompressed");
    let written = root.join("bomb").metadata().unwrap().len();
    assert!(written <= 64 << 20, "{written} bytes");
}
