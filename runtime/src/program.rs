//! Finding the program to run inside the container, as the user it will run as, and running it (execve(2)).
//!
//! Engines tell "not found" from "not executable" by the words of these messages; they are those of Go's `os/exec`,
//! which runc uses.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};

use crate::error::{During as _, Error, Result, Told};
use crate::interpreter;
use crate::sys::{self, Errno, Named as _, errno_text};

const FIELD: &str = "/process/args/0";

/// The path to execute for `args[0]`: the name itself if it has a slash, otherwise the first of that name in the
/// directories of `path` (colon-separated) that may be executed.
pub(crate) fn find(name: &CStr, path: &str) -> Result<CString> {
    let text = name.to_string_lossy();
    if matches!(text.as_ref(), "" | "." | "..") {
        return Err(not_found(&text));
    }
    if text.contains('/') {
        return match check(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(Unusable::Stat(errno)) => {
                Err(errno).named(|| format!("stat {text}")).during(|| format!("exec: {text:?}"))
            }
            Err(Unusable::Access(errno)) => Err(Error::Program(Box::new(Told {
                text: format!("exec: {text:?}: {}", errno_text(errno)),
                field: Some(FIELD.into()),
                call: None,
                errno: Some(errno.raw_os_error()),
                hint: interpreter::trouble(name, errno),
            }))),
        };
    }
    for directory in path.split(':').filter(|_| !path.is_empty()) {
        let candidate = Path::new(directory).join(text.as_ref());
        let Ok(found) = CString::new(candidate.as_os_str().as_bytes()) else {
            continue;
        };
        if check(&found).is_err() {
            continue;
        }
        if !directory.starts_with('/') {
            return Err(refused(&text, "cannot run executable found relative to current directory"));
        }
        return Ok(found);
    }
    Err(not_found(&text))
}

/// Replaces the caller by the program. Returns only if the kernel refuses, with the reason.
pub(crate) fn execute(path: &CStr, args: &[CString], env: &[CString]) -> Error {
    let error = sys::execve(path, args, env);
    Error::Program(Box::new(Told {
        text: error.to_string(),
        field: Some(FIELD.into()),
        hint: interpreter::trouble(path, error.errno),
        errno: Some(error.errno.raw_os_error()),
        call: Some(error.call),
    }))
}

enum Unusable {
    /// There is nothing of this name, or it cannot be reached.
    Stat(Errno),
    /// It is there but cannot be executed.
    Access(Errno),
}

fn check(path: &CStr) -> Result<(), Unusable> {
    let stat = stat(path).map_err(Unusable::Stat)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Unusable::Access(Errno::ISDIR));
    }
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // Too old a kernel, or a seccomp filter around us: the mode has to do.
        Err(Errno::NOSYS | Errno::PERM) if stat.st_mode & 0o111 != 0 => Ok(()),
        Err(Errno::NOSYS | Errno::PERM) => Err(Unusable::Access(Errno::ACCESS)),
        result => result.map_err(Unusable::Access),
    }
}

fn not_found(name: &str) -> Error {
    refused(name, "executable file not found in $PATH")
}

fn refused(name: &str, reason: &str) -> Error {
    Error::refused(FIELD, format!("exec: {name:?}: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("knarr-program-{}-{name}", std::process::id()));
            fs::create_dir_all(&folder).expect("mkdir");
            Self(folder)
        }

        fn file(&self, name: &str, content: &str, mode: u32) -> String {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            fs::write(&path, content).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            self.path(name)
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).to_str().expect("utf-8").to_owned()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("clean up");
        }
    }

    fn find_text(name: &str, path: &str) -> Result<String> {
        let name = CString::new(name).expect("no nul");
        find(&name, path).map(|found| found.into_string().expect("utf-8"))
    }

    fn failure(name: &str, path: &str) -> String {
        find_text(name, path).expect_err("found").line()
    }

    #[test]
    fn the_first_executable_of_the_path_is_taken() {
        let folder = Folder::new("first");
        folder.file("a/tool", "", 0o644);
        fs::create_dir_all(folder.path("b/tool")).expect("mkdir");
        let tool = folder.file("c/tool", "", 0o755);
        folder.file("d/tool", "", 0o755);
        let path = ["a", "b", "c", "d", "none"].map(|name| folder.path(name)).join(":");
        assert_eq!(find_text("tool", &path).expect("found"), tool);
        assert_eq!(
            failure("tool", &[folder.path("a"), folder.path("b")].join(":")),
            r#"exec: "tool": executable file not found in $PATH"#
        );
    }

    #[test]
    fn without_a_path_nothing_is_found() {
        for name in ["sh", "", ".", ".."] {
            let text = format!("exec: {name:?}: executable file not found in $PATH");
            assert_eq!(failure(name, ""), text);
        }
    }

    #[test]
    fn a_name_with_a_slash_says_what_is_wrong_with_it() {
        let folder = Folder::new("slash");
        let (plain, tool) = (folder.file("plain", "", 0o644), folder.file("tool", "", 0o755));
        let (none, directory) = (folder.path("none"), folder.path("."));
        assert_eq!(find_text(&tool, "").expect("found"), tool);
        assert_eq!(failure(&plain, ""), format!("exec: {plain:?}: permission denied"));
        assert_eq!(failure(&directory, ""), format!("exec: {directory:?}: is a directory"));
        assert_eq!(failure(&none, ""), format!("exec: {none:?}: stat {none}: no such file or directory"));
        let below = format!("{plain}/x");
        assert_eq!(failure(&below, ""), format!("exec: {below:?}: stat {below}: not a directory"));
    }

    #[test]
    fn a_program_relative_to_the_working_directory_is_not_run() {
        // The tests run in the folder of the crate, whatever that is: a link from `.` is found there.
        let folder = Folder::new("relative");
        folder.file("tool", "", 0o755);
        let here = std::env::current_dir().expect("cwd");
        let up = "../".repeat(here.components().count() - 1);
        let relative = format!("{up}{}", folder.0.strip_prefix("/").expect("absolute").display());
        assert_eq!(
            failure("tool", &relative),
            r#"exec: "tool": cannot run executable found relative to current directory"#
        );
    }

    #[test]
    fn a_missing_interpreter_is_named_in_the_hint() {
        let folder = Folder::new("interpreter");
        let script = folder.file("run.sh", "#!/no/such/shell -e\n", 0o755);
        let path = CString::new(script.clone()).expect("no nul");
        let error = execute(&path, std::slice::from_ref(&path), &[]);
        assert_eq!(error.line(), format!("exec {script}: no such file or directory"));
        let hint = error.told().expect("all of it").hint.clone().expect("a hint");
        assert_eq!(hint, r#"its interpreter "/no/such/shell" is not in the container's root filesystem"#);
    }

    #[test]
    fn what_is_no_program_has_the_kernels_reason() {
        let folder = Folder::new("format");
        let text = folder.file("text", "hello", 0o755);
        let path = CString::new(text.clone()).expect("no nul");
        let error = execute(&path, &[], &[]);
        assert_eq!(error.line(), format!("exec {text}: exec format error"));
        assert_eq!((error.errno(), error.field()), (Some(libc::ENOEXEC), Some(FIELD)));
    }
}
