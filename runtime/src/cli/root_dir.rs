//! The state directory (`--root`) and where it is when nobody says: below `/run` for root, below
//! `$XDG_RUNTIME_DIR` for everybody else, by runc's rules.

use std::env;
use std::fs::{DirBuilder, Permissions, metadata, read_to_string, set_permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use super::program::{Manners, Program};
use crate::error::{Error, Result};
use crate::sys::Named as _;

/// Who chose the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--root`: `list` wants it to exist.
    Given,
    /// `$XDG_RUNTIME_DIR`.
    Xdg,
    Default,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootDir {
    /// Absolute and without `.` and `..`.
    pub(crate) path: PathBuf,
    pub(crate) origin: Origin,
}

impl RootDir {
    pub(super) fn given(text: &str) -> Result<Self> {
        let path = if Path::new(text).is_absolute() {
            clean(Path::new(text))
        } else {
            clean(&env::current_dir().named(|| "getcwd".into())?.join(text))
        };
        if path == Path::new("/") {
            return Err(Error::Usage("Option --root argument should not be set to /".into()));
        }
        Ok(Self { path, origin: Origin::Given })
    }

    pub(super) fn default_for(program: &Program) -> Self {
        let dir = program.role();
        match env::var_os("XDG_RUNTIME_DIR") {
            Some(xdg) if !xdg.is_empty() && honours_xdg(program) => {
                Self { path: Path::new(&xdg).join(dir), origin: Origin::Xdg }
            }
            _ => Self { path: Path::new("/run").join(dir), origin: Origin::Default },
        }
    }

    /// Makes a directory below `$XDG_RUNTIME_DIR` ready: sticky, so that nobody prunes it for its age
    /// (XDG Base Directory Specification).
    pub(crate) fn prepare(&self) -> Result<()> {
        if self.origin != Origin::Xdg {
            return Ok(());
        }
        let path = self.path.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .named(|| format!("the path in $XDG_RUNTIME_DIR must be writable by the user: mkdir {path}"))?;
        set_permissions(&self.path, Permissions::from_mode(0o1700))
            .named(|| format!("you should check permission of the path in $XDG_RUNTIME_DIR: chmod {path}"))?;
        Ok(())
    }
}

/// Real root keeps to `/run`, whatever its login session says. crun makes no such difference.
fn honours_xdg(program: &Program) -> bool {
    let user_is_root = || env::var_os("USER").is_some_and(|user| user == "root");
    program.manners == Manners::Crun
        || !rustix::process::geteuid().is_root()
        || (in_user_namespace() && !user_is_root())
}

/// Whether ids here are not those of the host (`user_namespaces(7)`: the initial namespace maps all to themselves).
pub(super) fn in_user_namespace() -> bool {
    /// `PROC_USER_INIT_INO` of linux/proc_ns.h: the inode number of the initial namespace's file.
    const INITIAL: u64 = 0xEFFF_FFFD;
    if metadata("/proc/self/ns/user").is_ok_and(|file| file.ino() == INITIAL) {
        return false;
    }
    // Without the file the kernel has no user namespaces.
    read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_identity(&map))
}

fn is_identity(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// `filepath.Clean` of an absolute path: lexical, so a symlink's `..` is that of its name.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::Normal(name) => cleaned.push(name),
            _ => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_root_is_made_absolute_and_clean() {
        let given = |text| RootDir::given(text).map(|root| root.path.display().to_string());
        assert_eq!(given("/a/./b//c/../d/").unwrap(), "/a/b/d");
        assert_eq!(given("/../a").unwrap(), "/a");
        let cwd = env::current_dir().unwrap();
        assert_eq!(given("x/y").unwrap(), cwd.join("x/y").display().to_string());
        assert_eq!(given("").unwrap(), cwd.display().to_string());
    }

    #[test]
    fn the_root_of_all_is_refused() {
        for text in ["/", "//", "/a/..", "../../../../../../../../../../../../../../../.."] {
            let error = RootDir::given(text).unwrap_err().line();
            assert_eq!(error, "Option --root argument should not be set to /", "{text:?}");
        }
    }

    #[test]
    fn only_the_whole_range_onto_itself_is_the_initial_namespace() {
        assert!(is_identity("         0          0 4294967295\n"));
        for map in
            ["", "0 100000 65536\n", "0 0 65536\n", "0 0 1\n1 1 4294967294\n", "0 0 4294967295\n5 5 1\n"]
        {
            assert!(!is_identity(map), "{map:?}");
        }
    }
}
