//! The reader and the writer of archives: against the tars of Linux, against each other, and against arbitrary bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test ends where an expectation fails
#![allow(dead_code)] // the shared module serves three tests

mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use knarr_images::archive::{Entry, Kind, Reader, Time};
use proptest::collection::vec;
use proptest::prelude::*;

use tree::{archive, file, link, tool, utf8, xattr};

/// All entries with their content; an error ends it.
fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, knarr_images::archive::Error> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        // No more than a hostile size can claim: holes are zeros without end.
        reader.content(entry.size.min(1 << 24)).read_to_end(&mut content).map_err(|error| {
            error.downcast::<knarr_images::archive::Error>().expect("an error of the archive")
        })?;
        entries.push((entry, content));
    }
    reader.drain()?;
    Ok(entries)
}

fn entry_strategy() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let name = "[a-zA-Z0-9 é=%\n-]{1,120}(/[a-z.]{1,120}){0,3}";
    let time = (any::<i32>(), prop_oneof![Just(0), 0..1_000_000_000_u32]);
    let kind = prop_oneof![
        Just(Kind::File),
        Just(Kind::File),
        Just(Kind::Directory),
        Just(Kind::Symlink),
        Just(Kind::HardLink),
        Just(Kind::CharDevice),
        Just(Kind::Fifo)
    ];
    let xattrs = vec(("user\\.[a-z]{1,20}", vec(any::<u8>(), 0..200)), 0..3);
    let owner = (0..u32::MAX, 0..u32::MAX);
    let parts = (name, kind, 0..=0o7777_u32, owner, time, xattrs, vec(any::<u8>(), 0..3000), "[ -~]{1,150}");
    parts.prop_map(|(path, kind, mode, (uid, gid), (seconds, nanoseconds), xattrs, content, target)| {
        let mut entry = Entry::new(path, kind, mode);
        (entry.uid, entry.gid) = (uid, gid);
        entry.mtime = Time { seconds: seconds.into(), nanoseconds };
        let xattrs: BTreeMap<_, _> = xattrs.into_iter().collect();
        entry.xattrs = xattrs.iter().map(|(name, value)| xattr(name, value)).collect();
        match kind {
            Kind::File => entry.size = content.len() as u64,
            Kind::Directory => entry.path.push(b'/'),
            Kind::Symlink | Kind::HardLink => entry.link = target.into(),
            Kind::CharDevice => entry.device = (mode, 3),
            _ => {}
        }
        let content = if kind == Kind::File { content } else { Vec::new() };
        (entry, content)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(entries in vec(entry_strategy(), 0..6)) {
        prop_assert_eq!(read(&archive(&entries)).unwrap(), entries);
    }

    /// The reader ends with entries or an error whatever it is given, and gives out no more than is there.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..4096)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_damaged_archive_is_read_or_refused(
        entries in vec(entry_strategy(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        fix in any::<bool>(),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = archive(&entries);
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if fix {
            bytes.chunks_exact_mut(512).for_each(sign);
        }
        bytes.truncate(end.index(bytes.len() * 2));
        let _ = read(&bytes);
    }
}

/// Gives a block the checksum of a header, so that damage gets further than that.
fn sign(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A tree with what makes formats differ. Names that V7 and USTAR can hold are in `short`.
fn make_tree(root: &Path, long: bool) {
    fs::create_dir_all(root.join("short/dir")).unwrap();
    fs::write(root.join("short/file"), b"content").unwrap();
    fs::hard_link(root.join("short/file"), root.join("short/name")).unwrap();
    symlink("file", root.join("short/link")).unwrap();
    fs::write(root.join("short/dir/block"), [7; 512]).unwrap();
    if long {
        let deep = root.join("d".repeat(120)).join("e".repeat(150));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f".repeat(200)), b"deep").unwrap();
        symlink("t".repeat(300), root.join("long-link")).unwrap();
    }
}

fn summary(entries: Vec<(Entry, Vec<u8>)>) -> BTreeMap<String, (Kind, Vec<u8>, Vec<u8>)> {
    let cleaned = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap().trim_end_matches('/').to_owned();
    let summary =
        entries.into_iter().map(|(entry, content)| (cleaned(&entry.path), (entry.kind, entry.link, content)));
    summary.collect()
}

#[track_caller]
fn assert_tree(bytes: &[u8], long: bool) {
    let found = summary(read(bytes).unwrap());
    let first = if found["short/file"].0 == Kind::File { "short/file" } else { "short/name" };
    let second = if first == "short/file" { "short/name" } else { "short/file" };
    assert_eq!(found[first], (Kind::File, vec![], b"content".to_vec()));
    assert_eq!(found[second], (Kind::HardLink, first.into(), vec![]));
    assert_eq!(found["short/link"], (Kind::Symlink, b"file".to_vec(), vec![]));
    assert_eq!(found["short/dir"].0, Kind::Directory);
    assert_eq!(found["short/dir/block"].2, [7; 512]);
    if long {
        let path = format!("{}/{}/{}", "d".repeat(120), "e".repeat(150), "f".repeat(200));
        assert_eq!(found[&path].2, b"deep");
        assert_eq!(found["long-link"].1, "t".repeat(300).into_bytes());
    }
    assert_eq!(found.len(), if long { 10 } else { 6 });
}

#[test]
fn every_format_of_gnu_tar_is_read() {
    for (format, long) in [("v7", false), ("ustar", false), ("oldgnu", true), ("gnu", true), ("pax", true)] {
        let folder = tempfile::tempdir().unwrap();
        make_tree(folder.path(), long);
        let names: &[&str] = if long { &["short", "d", "long-link"] } else { &["short"] };
        let names: Vec<String> = names
            .iter()
            .map(|name| if *name == "d" { "d".repeat(120) } else { (*name).to_owned() })
            .collect();
        let format = format!("--format={format}");
        let mut arguments = vec!["-c", &format, "--owner=someone:3000000", "--group=1:1"];
        if !long {
            arguments[2] = "--owner=someone:7";
        }
        arguments.extend(names.iter().map(String::as_str));
        let bytes = tool("tar", &arguments, folder.path());
        assert_tree(&bytes, long);
        let uid = if long { 3_000_000 } else { 7 };
        assert!(read(&bytes).unwrap().iter().all(|(entry, _)| entry.uid == uid), "{format}");
    }
}

#[test]
fn every_format_of_bsdtar_is_read() {
    for (format, long) in [("v7", false), ("ustar", false), ("gnutar", true), ("pax", true)] {
        let folder = tempfile::tempdir().unwrap();
        make_tree(folder.path(), long);
        let deep = "d".repeat(120);
        let mut arguments = vec!["-c", "--format", format, "-f", "-", "short"];
        if long {
            arguments.extend([deep.as_str(), "long-link"]);
        }
        assert_tree(&tool("bsdtar", &arguments, folder.path()), long);
    }
}

#[test]
fn every_format_of_python_is_read() {
    const WRITE: &str = "import sys, tarfile\n\
        with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=getattr(tarfile, sys.argv[1])) as archive:\n    \
        [archive.add(name) for name in sys.argv[2:]]\n";
    for (format, long) in [("USTAR_FORMAT", false), ("GNU_FORMAT", true), ("PAX_FORMAT", true)] {
        let folder = tempfile::tempdir().unwrap();
        make_tree(folder.path(), long);
        let deep = "d".repeat(120);
        let mut arguments = vec!["-c", WRITE, format, "short"];
        if long {
            arguments.extend([deep.as_str(), "long-link"]);
        }
        assert_tree(&tool("python3", &arguments, folder.path()), long);
    }
}

#[test]
fn every_form_of_sparse_files_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let holes = fs::File::create(folder.path().join("holes")).unwrap();
    // More extents than a header and one block hold, and a hole at the end.
    for part in 0..40_u64 {
        holes.write_all_at(&[u8::try_from(part).unwrap() + 1; 4096], part * 65_536).unwrap();
    }
    holes.set_len(50 * 65_536).unwrap();
    fs::File::create(folder.path().join("nothing")).unwrap().set_len(1 << 20).unwrap();
    let expected = fs::read(folder.path().join("holes")).unwrap();
    for form in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let bytes = tool("tar", &[&["-c", "--sparse"], form, &["holes", "nothing"]].concat(), folder.path());
        assert!(bytes.len() < 300_000, "{form:?} is sparse");
        let entries = read(&bytes).unwrap();
        assert_eq!(entries[0].0.path, b"holes", "{form:?}");
        assert!(entries[0].1 == expected, "{form:?}: the content");
        assert_eq!((entries[1].0.size, entries[1].1.len()), (1 << 20, 1 << 20), "{form:?}");
        assert!(entries[1].1.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn other_tars_read_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let long = "n".repeat(180);
    let mut large = file(&format!("a/{long}"), b"content");
    large.0.mtime = Time { seconds: 1_700_000_000, nanoseconds: 123_456_789 };
    large.0.uid = 5_000_000;
    let bytes = archive(&[large, link("a/link", Kind::Symlink, &"t".repeat(200))]);
    let path = folder.path().join("archive.tar");
    fs::write(&path, &bytes).unwrap();
    let listed =
        tool("tar", &["-tvf", utf8(&path), "--numeric-owner", "--full-time", "--utc"], folder.path());
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.contains("5000000/0") && listed.contains("2023-11-14 22:13:20.123456789"), "{listed}");
    for name in ["tar", "bsdtar"] {
        let out = folder.path().join(name);
        fs::create_dir(&out).unwrap();
        tool(name, &["-xf", utf8(&path), "-C", utf8(&out)], folder.path());
        assert_eq!(fs::read(out.join("a").join(&long)).unwrap(), b"content", "{name}");
        assert_eq!(fs::read_link(out.join("a/link")).unwrap(), Path::new(&"t".repeat(200)), "{name}");
    }
}

#[test]
fn global_records_hold_until_they_are_overridden() {
    const WRITE: &str = "import sys, tarfile, io\n\
        with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.PAX_FORMAT, pax_headers={'uid': '77', 'comment': 'c'}) as archive:\n    \
        a = tarfile.TarInfo('a'); archive.addfile(a)\n    \
        b = tarfile.TarInfo('b'); b.pax_headers = {'uid': '78'}; archive.addfile(b)\n";
    let bytes = tool("python3", &["-c", WRITE], Path::new("/"));
    let uids: Vec<u32> = read(&bytes).unwrap().iter().map(|(entry, _)| entry.uid).collect();
    assert_eq!(uids, [77, 78]);
}

#[test]
fn what_is_no_archive_is_refused_where_it_is_seen() {
    let whole = archive(&[file("name", &[1; 2000])]);
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("text", b"no archive".repeat(100), "archive header at byte 0"),
        ("half a header", whole[..300].to_vec(), "read the archive: unexpected end of file"),
        ("half a file", whole[..1500].to_vec(), "read \"name\": unexpected end of file"),
        (
            "an unknown type",
            {
                let mut bytes = whole.clone();
                bytes[156] = b'Z';
                sign(&mut bytes[..512]);
                bytes
            },
            "archive entry \"name\": its type is unknown",
        ),
        (
            "a negative size",
            {
                let mut bytes = whole.clone();
                bytes[124..136].fill(0xff);
                sign(&mut bytes[..512]);
                bytes
            },
            "its size is negative",
        ),
    ];
    for (what, bytes, expected) in cases {
        let error = tree::chain(&read(&bytes).unwrap_err());
        assert!(error.contains(expected), "{what}: {error}");
    }
    assert!(read(&whole[..whole.len() - 1024]).is_ok(), "the mark at the end may be missing");
}

/// A header of 500 bytes may claim gigabytes: memory must follow what is there, not what is claimed.
#[test]
fn claims_of_size_take_no_memory() {
    let mut bytes = archive(&[file("x", b"")])[..512].to_vec();
    for kind in *b"xgLK" {
        bytes[156] = kind;
        bytes[124..136].copy_from_slice(b"77777777777\0");
        sign(&mut bytes);
        let error = tree::chain(&read(&bytes).unwrap_err());
        assert!(error.contains("more than 1 MiB"), "{error}");
    }
}
