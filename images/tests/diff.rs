//! Layers made from real overlay mounts, and what we and umoci make of them again. Run as root.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test ends where an expectation fails
#![allow(dead_code)] // the shared module serves three tests

mod tree;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use knarr_images::Digest;
use knarr_images::archive::{Kind, Reader};
use knarr_images::diff::{self, Layer, Style};
use knarr_images::unpack::{Policy, Privileges, Shift};

use tree::{Facts, apply, assert_same, chain, facts, tool, utf8, xattrs};

/// An overlay mount of three directories on a file system that can be an upper one.
struct Overlay {
    folder: tempfile::TempDir,
    merged: PathBuf,
}

impl Overlay {
    fn new(fill: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        shell(&folder.path().join("lower"), fill);
        let options = "lowerdir=lower,upperdir=upper,workdir=work,redirect_dir=off,metacopy=off";
        tool("mount", &["-t", "overlay", "overlay", "-o", options, "merged"], folder.path());
        let merged = folder.path().join("merged");
        Self { folder, merged }
    }

    fn upper(&self) -> PathBuf {
        self.folder.path().join("upper")
    }

    fn lower(&self) -> PathBuf {
        self.folder.path().join("lower")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        tool("umount", &["merged"], self.folder.path());
    }
}

fn shell(folder: &Path, script: &str) {
    tool("busybox", &["sh", "-ec", script], folder);
}

fn layer_of(upper: &Path, style: &Style) -> Result<(Vec<u8>, Layer), knarr_images::archive::Error> {
    let mut bytes = Vec::new();
    let layer = diff::layer(File::open(upper).unwrap().as_fd(), &mut bytes, style)?;
    Ok((bytes, layer))
}

fn names(bytes: &[u8]) -> Vec<(String, Kind)> {
    let mut reader = Reader::new(bytes);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push((String::from_utf8(entry.path).unwrap(), entry.kind));
    }
    names
}

/// Attributes that overlayfs keeps for itself are no part of a layer; neither is the number of names, which are copied up.
fn without_origin(root: &Path) -> Facts {
    let mut facts = facts(root);
    for line in facts.values_mut() {
        let words: Vec<&str> = line.split(" trusted.overlay.").collect();
        let kept = words[1..].iter().filter(|word| word.starts_with("opaque"));
        let kept: Vec<String> = kept.map(|word| format!(" trusted.overlay.{word}")).collect();
        *line = format!("{}{}", words[0], kept.concat());
    }
    facts
}

const FILL: &str = "mkdir -p etc/conf.d usr/bin gone-dir/deep kept-dir opaque-dir
    echo 1 > etc/passwd; echo 2 > etc/conf.d/a; echo 3 > usr/bin/tool; echo 4 > gone-file
    echo 5 > gone-dir/deep/x; echo 6 > kept-dir/x; echo 7 > opaque-dir/old; ln -s tool usr/bin/alias; echo 8 > file-to-dir
    mkdir dir-to-file; echo 9 > dir-to-file/x";

const CHANGE: &str = "echo changed >> etc/passwd; rm gone-file; rm -r gone-dir; rm usr/bin/alias; ln -s new usr/bin/alias
    rm -r opaque-dir; mkdir opaque-dir; echo new > opaque-dir/new; chmod 2711 opaque-dir; touch -d '2001-02-03 04:05:06' opaque-dir
    echo suid > usr/bin/su; chown 7:8 usr/bin/su; chmod 4755 usr/bin/su; ln usr/bin/su usr/bin/su2; ln usr/bin/su su3
    mkfifo fifo; mknod null c 1 3; chown 5:6 kept-dir; rm file-to-dir; mkdir file-to-dir; echo in > file-to-dir/in
    rm -r dir-to-file; echo file > dir-to-file; mkdir -p new/very/deep; echo > new/very/deep/file
    ln -s /etc/passwd absolute; dd if=/dev/zero of=zeros bs=4096 count=100 2>/dev/null; echo odd > 'a name with
newline'; touch -d '1999-12-31 23:59:59' new/very";

#[test]
fn what_busybox_changed_is_the_layer_and_comes_back() {
    let overlay = Overlay::new(FILL);
    shell(&overlay.merged, CHANGE);
    fs::write(overlay.merged.join("ping"), "x").unwrap();
    tool("setcap", &["cap_net_raw+ep", "ping"], &overlay.merged);
    rustix::fs::setxattr(overlay.merged.join("ping"), "user.note", b"n", rustix::fs::XattrFlags::empty())
        .unwrap();

    let (bytes, layer) = layer_of(&overlay.upper(), &Style::default()).unwrap();
    assert_eq!((layer.diff_id, layer.size), (Digest::of(&bytes), bytes.len() as u64));
    assert_eq!(layer_of(&overlay.upper(), &Style::default()).unwrap().0, bytes, "the same again");

    let again = overlay.folder.path().join("again");
    let applied =
        apply(&bytes, &again, &Policy::default()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!((applied.diff_id, applied.entries), (layer.diff_id, layer.entries));
    assert_same(&facts(&again), &without_origin(&overlay.upper()));
    assert!(xattrs(&again.join("ping")).contains_key("security.capability"));
    assert_eq!(xattrs(&again.join("ping"))["user.note"], b"n");

    // umoci unpacks the lower directory and the layer over it: what it has must be what the mount shows.
    let here = overlay.folder.path();
    let base = tool("tar", &["-c", "--format=pax", "-C", utf8(&overlay.lower()), "."], here);
    fs::write(here.join("base.tar"), base).unwrap();
    fs::write(here.join("layer.tar"), &bytes).unwrap();
    tool("umoci", &["init", "--layout", "oci"], here);
    tool("umoci", &["new", "--image", "oci:x"], here);
    tool("umoci", &["raw", "add-layer", "--image", "oci:x", "base.tar"], here);
    tool("umoci", &["raw", "add-layer", "--image", "oci:x", "layer.tar"], here);
    tool("umoci", &["raw", "unpack", "--image", "oci:x", "theirs"], here);
    assert_same(&facts(&here.join("theirs")), &facts(&overlay.merged));
}

#[test]
fn names_are_in_order_and_directories_come_first() {
    let overlay = Overlay::new(FILL);
    shell(
        &overlay.merged,
        "rm gone-file; rm -r opaque-dir; mkdir opaque-dir; echo > opaque-dir/b; echo > opaque-dir/a; echo > etc/z",
    );
    let (bytes, _) = layer_of(&overlay.upper(), &Style::default()).unwrap();
    let expected = [
        ("etc/", Kind::Directory),
        ("etc/z", Kind::File),
        (".wh.gone-file", Kind::File),
        ("opaque-dir/", Kind::Directory),
        ("opaque-dir/.wh..wh..opq", Kind::File),
        ("opaque-dir/a", Kind::File),
        ("opaque-dir/b", Kind::File),
    ];
    assert_eq!(names(&bytes), expected.map(|(name, kind)| (name.to_owned(), kind)));
}

/// The digest that every engine knows as that of an empty layer.
#[test]
fn nothing_changed_is_the_empty_layer() {
    let overlay = Overlay::new(FILL);
    let (bytes, layer) = layer_of(&overlay.upper(), &Style::default()).unwrap();
    assert_eq!((bytes.len(), layer.entries), (1024, 0));
    assert_eq!(
        layer.diff_id.to_string(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    );
}

#[test]
fn what_no_layer_can_hold_is_left_out_or_refused() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    fs::create_dir(folder.path().join("dir")).unwrap();
    assert_eq!(
        names(&layer_of(folder.path(), &Style::default()).unwrap().0),
        [("dir/".to_owned(), Kind::Directory)]
    );

    fs::write(folder.path().join("dir/.wh.name"), "").unwrap();
    let error = layer_of(folder.path(), &Style::default()).unwrap_err();
    assert!(chain(&error).contains("\"dir/.wh.name\""), "{}", chain(&error));

    fs::remove_file(folder.path().join("dir/.wh.name")).unwrap();
    let redirect = "trusted.overlay.redirect";
    rustix::fs::setxattr(folder.path().join("dir"), redirect, b"/etc", rustix::fs::XattrFlags::empty())
        .unwrap();
    let error = layer_of(folder.path(), &Style::default()).unwrap_err();
    assert!(chain(&error).contains("\"dir\"") && chain(&error).contains("redirect_dir"), "{}", chain(&error));
}

#[test]
fn a_rootless_upper_directory_is_read_with_its_own_marks_and_ids() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = folder.path().join("dir");
    fs::create_dir(&dir).unwrap();
    rustix::fs::setxattr(&dir, "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
    std::os::unix::fs::chown(&dir, Some(100_000), Some(100_007)).unwrap();
    let shift = Some(Shift { uid: 100_000, gid: 100_000, count: 65_536 });
    let (bytes, _) =
        layer_of(folder.path(), &Style { privileges: Privileges::Rootless, shift, ..Style::default() })
            .unwrap();
    let entry = Reader::new(&bytes[..]).next_entry().unwrap().unwrap();
    assert_eq!((entry.uid, entry.gid, entry.xattrs.len()), (0, 7, 0));
    assert_eq!(names(&bytes)[1].0, "dir/.wh..wh..opq");
    fs::write(folder.path().join("file"), "").unwrap();
    let error =
        layer_of(folder.path(), &Style { privileges: Privileges::Rootless, shift, ..Style::default() })
            .unwrap_err();
    assert_eq!(chain(&error), "archive entry \"file\": its owner is outside the range of ids");
}
