//! Names of entries: cleaned, checked, and told from whiteouts (image-spec layer.md "Whiteouts").

use std::borrow::Cow;

use crate::archive::LONGEST_PATH;

/// NAME_MAX of limits.h.
const LONGEST_NAME: usize = 255;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs kept for itself in its layers.
const AUFS: &[u8] = b".wh..wh.";

/// What an entry of a name is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// The root itself.
    Root,
    /// Directory and name.
    File(&'a [u8], &'a [u8]),
    /// The lower layers' file of this name is gone.
    Whiteout(&'a [u8], &'a [u8]),
    /// The lower layers' content of this directory is gone.
    Opaque(&'a [u8]),
    /// Nothing.
    Aufs,
}

/// The path below the root without empty components and dots. A leading slash means the root: ko and tar -P write it, and
/// every engine takes it so.
pub(super) fn clean(name: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    if name.len() > LONGEST_PATH {
        return Err("its path is longer than a layer may have");
    }
    let parts = || name.split(|byte| *byte == b'/');
    for part in parts() {
        match part {
            b".." => return Err("its name contains .."),
            _ if part.len() > LONGEST_NAME => return Err("a part of its name is longer than 255 bytes"),
            _ if part.contains(&0) => return Err("its name contains a NUL"),
            _ => {}
        }
    }
    let is_nothing = |part: &[u8]| part.is_empty() || part == b".";
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let name = name.strip_prefix(b"./").unwrap_or(name);
    if !name.split(|byte| *byte == b'/').any(is_nothing) {
        return Ok(Cow::Borrowed(name));
    }
    let kept: Vec<&[u8]> = parts().filter(|part| !is_nothing(part)).collect();
    Ok(Cow::Owned(kept.join(&b'/')))
}

/// Reads a clean path.
pub(super) fn meaning(path: &[u8]) -> Result<Meaning<'_>, &'static str> {
    if path.is_empty() {
        return Ok(Meaning::Root);
    }
    let (folder, name) = split(path);
    for part in folder.split(|byte| *byte == b'/') {
        if part.starts_with(AUFS) {
            return Ok(Meaning::Aufs);
        }
        if part.starts_with(WHITEOUT) {
            return Err("it is inside a whiteout");
        }
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Meaning::File(folder, name)),
        _ if name == OPAQUE => Ok(Meaning::Opaque(folder)),
        _ if name.starts_with(AUFS) => Ok(Meaning::Aufs),
        Some(b"" | b"." | b"..") => Err("it is a whiteout of no file"),
        Some(gone) => Ok(Meaning::Whiteout(folder, gone)),
    }
}

/// Reads a clean path of an archive that has no whiteouts.
pub(super) fn plain(path: &[u8]) -> Meaning<'_> {
    if path.is_empty() {
        return Meaning::Root;
    }
    let (folder, name) = split(path);
    Meaning::File(folder, name)
}

/// Directory and last component; the directory of a single component is empty.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        let cases: [(&str, &str); 10] = [
            ("a/b", "a/b"),
            ("./a/b", "a/b"),
            ("a/b/", "a/b"),
            ("/etc/passwd", "etc/passwd"),
            ("//a//./b//", "a/b"),
            ("././a", "a"),
            ("./", ""),
            (".", ""),
            ("/", ""),
            ("", ""),
        ];
        for (name, path) in cases {
            assert_eq!(clean(name.as_bytes()).unwrap(), path.as_bytes(), "{name:?}");
        }
    }

    #[test]
    fn names_that_lead_out_or_are_too_long_are_refused() {
        let long_part = "n".repeat(256);
        let long_path = "n/".repeat(LONGEST_PATH / 2 + 1);
        for name in ["..", "../a", "a/../b", "a/..", "/..", "a/\0b", &long_part, &long_path] {
            assert!(clean(name.as_bytes()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn whiteouts_are_told_from_files() {
        let cases: [(&str, Option<Meaning<'_>>); 14] = [
            ("", Some(Meaning::Root)),
            ("a", Some(Meaning::File(b"", b"a"))),
            ("a/b/c", Some(Meaning::File(b"a/b", b"c"))),
            ("a/.wh.b", Some(Meaning::Whiteout(b"a", b"b"))),
            (".wh.b", Some(Meaning::Whiteout(b"", b"b"))),
            (".wh....", Some(Meaning::Whiteout(b"", b"..."))),
            ("a/.wh..wh..opq", Some(Meaning::Opaque(b"a"))),
            (".wh..wh.plnk", Some(Meaning::Aufs)),
            (".wh..wh.plnk/1.2", Some(Meaning::Aufs)),
            (".wh..wh.aufs", Some(Meaning::Aufs)),
            (".wh.", None),
            ("a/.wh..", None),
            ("a/.wh...", None),
            (".wh.a/b", None),
        ];
        for (path, expected) in cases {
            assert_eq!(meaning(path.as_bytes()).ok(), expected, "{path:?}");
        }
    }
}
