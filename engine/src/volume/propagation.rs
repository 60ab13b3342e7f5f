//! Whether a mount of the host passes on what is mounted below it: only then can a bind be shared, or follow it. See
//! mountinfo in proc(5).

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{During as _, Error, Result};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A mount that a path is on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    point: PathBuf,
    shared: bool,
    /// It gets what is mounted elsewhere.
    slave: bool,
}

/// Refuses a propagation that the mount of `source` does not have.
pub(super) fn check(source: &Path, propagation: &str) -> Result<()> {
    let wanted = propagation.trim_start_matches('r');
    if wanted != "shared" && wanted != "slave" {
        return Ok(());
    }
    let real = fs::canonicalize(source).during("resolve", source)?;
    let text = fs::read_to_string(MOUNTINFO).during("read", Path::new(MOUNTINFO))?;
    let mounted = mount_of(&text, &real)
        .ok_or_else(|| Error::system(format!("Could not find source mount of {}", source.display())))?;
    let (fits, what) = match wanted {
        "shared" => (mounted.shared, "shared mount"),
        _ => (mounted.shared || mounted.slave, "shared or slave mount"),
    };
    if fits {
        return Ok(());
    }
    let (source, point) = (source.display(), mounted.point.display());
    Err(Error::system(format!("path {source} is mounted on {point} but it is not a {what}")))
}

/// The deepest mount above a path; of several on the same place, the last one.
fn mount_of(mountinfo: &str, path: &Path) -> Option<Mounted> {
    let mounts = mountinfo.lines().filter_map(parse).filter(|mount| path.starts_with(&mount.point));
    mounts.max_by_key(|mount| mount.point.components().count())
}

fn parse(line: &str) -> Option<Mounted> {
    let mut fields = line.split(' ');
    let point = unescaped(fields.nth(4)?);
    let optional: Vec<&str> = fields.skip(1).take_while(|field| *field != "-").collect();
    let has = |name: &str| optional.iter().any(|field| field.starts_with(name));
    Some(Mounted { point: point.into(), shared: has("shared:"), slave: has("master:") })
}

/// The kernel writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (written, meant)| text.replace(written, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /mnt rw,relatime - tmpfs tmpfs rw
24 22 0:22 / /mnt/a\\040b rw master:7 - tmpfs tmpfs rw
25 24 0:23 / /mnt/a\\040b rw shared:8 master:7 - tmpfs tmpfs rw
";

    #[test]
    fn the_last_and_deepest_mount_counts() {
        let found = |path: &str| {
            let mount = mount_of(TEXT, Path::new(path)).unwrap();
            (mount.point.to_string_lossy().into_owned(), mount.shared, mount.slave)
        };
        assert_eq!(found("/mntx"), ("/".to_owned(), true, false));
        assert_eq!(found("/mnt/x"), ("/mnt".to_owned(), false, false));
        assert_eq!(found("/mnt/a b/c"), ("/mnt/a b".to_owned(), true, true));
    }
}
