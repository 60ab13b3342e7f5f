//! Hostile archives: each is refused with the entry named, or does its work inside the root; nothing outside ever changes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test ends where an expectation fails
#![allow(dead_code)] // the shared module serves three tests

mod tree;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use knarr_images::archive::{Entry, Kind};
use knarr_images::unpack::Policy;

use tree::{Facts, apply, archive, chain, facts, file, link, other, xattr};

/// A root among things that must stay as they are.
struct Scene {
    folder: tempfile::TempDir,
    before: Facts,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("outside/dir")).unwrap();
        fs::write(folder.path().join("outside/canary"), "sings").unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        let before = Self::outside(&folder);
        Self { folder, before }
    }

    fn outside(folder: &tempfile::TempDir) -> Facts {
        let mut facts = facts(folder.path());
        facts.retain(|name, _| !name.starts_with("root"));
        facts
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Both ways in: the path as it is, and the absolute path of what is outside.
    fn absolute(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn apply(&self, bytes: &[u8]) -> Result<(), String> {
        let outcome = apply(bytes, &self.root(), &Policy::default());
        tree::assert_same(&Self::outside(&self.folder), &self.before);
        outcome.map(drop).map_err(|error| chain(&error))
    }
}

type Entries = Vec<(Entry, Vec<u8>)>;

#[test]
fn what_escapes_is_refused_by_name() {
    let long = "n".repeat(256);
    let deep = "d/".repeat(40_000);
    let with_xattr = |name: &str, size| {
        let mut entry = file("entry", b"");
        entry.0.xattrs = vec![xattr(name, &vec![1; size])];
        entry
    };
    // The entries, the name that the error shows, a word of the reason.
    let cases: Vec<(Entries, &str, &str)> = vec![
        (vec![file("../outside/canary", b"dead")], "../outside/canary", ".."),
        (vec![file("a/../../outside/canary", b"dead")], "a/../../outside/canary", ".."),
        (vec![file("/../outside/canary", b"dead")], "/../outside/canary", ".."),
        (vec![other("..", Kind::Directory)], "..", ".."),
        (vec![link("link", Kind::HardLink, "../outside/canary")], "link", "outside"),
        (vec![link("link", Kind::HardLink, "missing")], "link", "No such file"),
        (vec![link("link", Kind::HardLink, "")], "link", "no file"),
        (vec![other("d", Kind::Directory), link("link", Kind::HardLink, "d")], "link", "not permitted"),
        (
            vec![link("up", Kind::Symlink, "../outside"), file("up/canary", b"dead")],
            "up/canary",
            "No such file",
        ),
        (
            vec![link("up", Kind::Symlink, "../outside"), other("up/new", Kind::Directory)],
            "up/new",
            "No such file",
        ),
        (
            vec![link("up", Kind::Symlink, "../outside"), link("x", Kind::HardLink, "up/canary")],
            "x",
            "No such file",
        ),
        (
            vec![link("up", Kind::Symlink, "../outside"), file("up/.wh.canary", b"")],
            "up/.wh.canary",
            "No such file",
        ),
        (
            vec![link("up", Kind::Symlink, "../outside"), file("up/.wh..wh..opq", b"")],
            "up/.wh..wh..opq",
            "No such file",
        ),
        (vec![link("loop", Kind::Symlink, "loop"), file("loop/a", b"")], "loop/a", "symbolic link"),
        (
            vec![link("fd", Kind::Symlink, "/proc/self/root"), file("fd/tmp/a", b"")],
            "fd/tmp/a",
            "No such file",
        ),
        (vec![file("file", b""), file("file/below", b"")], "file/below", "Not a directory"),
        (vec![file(".wh.", b"")], ".wh.", "whiteout of no file"),
        (vec![file("a/.wh..", b"")], "a/.wh..", "whiteout of no file"),
        (vec![file(".wh...", b"")], ".wh...", "whiteout of no file"),
        (vec![file(".wh.a/b", b"")], ".wh.a/b", "inside a whiteout"),
        (vec![file("././.", b"")], "././.", "root"),
        (vec![link("/", Kind::Symlink, "outside")], "/", "root"),
        (vec![file(&long, b"")], "nnnn", "longer than 255"),
        (vec![file(&deep, b"")], "d/d/", "longer than a layer may have"),
        (vec![with_xattr("trusted.overlay.redirect", 5)], "entry", "overlayfs"),
        (vec![with_xattr("trusted.overlay.opaque", 1)], "entry", "overlayfs"),
        (vec![with_xattr("user.large", 70_000)], "entry", "too large"),
        (vec![with_xattr(&format!("user.{long}"), 1)], "entry", "too large"),
    ];
    for (entries, name, reason) in cases {
        let scene = Scene::new();
        let error = scene.apply(&archive(&entries)).expect_err(name);
        assert!(error.contains(name) && error.contains(reason), "{name}: {error}");
    }
}

/// Links out of the root, followed by something that a careless unpacker would write through them.
#[test]
fn what_goes_through_a_planted_link_stays_inside() {
    let scene = Scene::new();
    let canary = scene.absolute("outside/canary");
    let dir = scene.absolute("outside/dir");
    let inside = canary.trim_start_matches('/').to_owned();
    let cases: Vec<Entries> = vec![
        // A file takes the place of the link instead of going through it.
        vec![link("a", Kind::Symlink, &canary), file("a", b"dead")],
        vec![link("a", Kind::Symlink, &dir), other("a", Kind::Directory), file("a/x", b"dead")],
        vec![link("a", Kind::Symlink, &canary), link("b", Kind::HardLink, "a"), file("b", b"dead")],
        vec![link("a", Kind::Symlink, &dir), file(".wh.a", b"")],
        // The path exists inside the root: that one is written.
        vec![
            file(&inside, b"inside"),
            link("a", Kind::Symlink, &scene.absolute("outside")),
            file("a/canary", b"dead"),
        ],
        vec![file(&inside, b"inside"), link("b", Kind::HardLink, &canary), file("b", b"dead")],
        // The link comes between a directory and its file.
        vec![
            other("d", Kind::Directory),
            file("d/1", b""),
            link("d", Kind::Symlink, &dir),
            other("d", Kind::Directory),
            file("d/2", b"dead"),
        ],
        // Times and modes of directories are set at the end, when the name may be a link.
        vec![other("d", Kind::Directory), link("d", Kind::Symlink, &dir)],
        vec![other("d/e", Kind::Directory), link("d", Kind::Symlink, &scene.absolute("outside"))],
    ];
    for (number, entries) in cases.into_iter().enumerate() {
        fs::remove_dir_all(scene.root()).unwrap();
        fs::create_dir(scene.root()).unwrap();
        scene.apply(&archive(&entries)).unwrap_or_else(|error| panic!("{number}: {error}"));
    }
}

/// Archives of real tars with bytes changed: any outcome but a crash or a change outside.
#[test]
fn damaged_archives_do_no_harm() {
    let source = tempfile::tempdir().unwrap();
    let inside = source.path().join("etc/alternatives");
    fs::create_dir_all(&inside).unwrap();
    for name in ["awk", "pager", "editor"] {
        fs::write(inside.join(name), name.repeat(200)).unwrap();
        std::os::unix::fs::symlink(format!("../{name}"), source.path().join("etc").join(name)).unwrap();
        fs::hard_link(inside.join(name), source.path().join(format!("{name}.link"))).unwrap();
    }
    let mut seeds = Vec::new();
    for format in ["--format=gnu", "--format=pax", "--format=ustar"] {
        seeds.push(tree::tool("tar", &["-c", format, "."], source.path()));
    }
    let scene = Scene::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let end = Instant::now() + Duration::from_secs(4);
    let (mut rounds, mut whole) = (0, 0);
    while Instant::now() < end {
        let mut bytes = seeds[next(seeds.len())].clone();
        for _ in 0..=next(4) {
            damage(&mut bytes, &mut next);
        }
        whole += usize::from(scene.apply(&bytes).is_ok());
        rounds += 1;
        fs::remove_dir_all(scene.root()).unwrap();
        fs::create_dir(scene.root()).unwrap();
    }
    assert!(rounds > 20 && whole > 0 && whole < rounds, "{whole} of {rounds} were unpacked");
}

/// One change: a byte anywhere, or a byte of a header that then is signed again, or a block in another place.
fn damage(bytes: &mut [u8], next: &mut impl FnMut(usize) -> usize) {
    let block = next(bytes.len() / 512) * 512;
    match next(3) {
        0 => bytes[block + next(512)] = next(256).to_le_bytes()[0],
        1 => {
            bytes[block + next(345)] = *b"/.0\0.x5\xff".get(next(8)).unwrap();
            bytes[block + 148..block + 156].fill(b' ');
            let sum: u32 = bytes[block..block + 512].iter().map(|byte| u32::from(*byte)).sum();
            bytes[block + 148..block + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        _ => {
            let to = next(bytes.len() / 512) * 512;
            bytes.copy_within(block..block + 512, to);
        }
    }
}
