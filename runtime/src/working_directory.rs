//! The working directory of the program, which must be inside the container (getcwd(2)).

use std::ffi::CStr;

use rustix::process::{chdir, getcwd};

use crate::error::{During as _, Error, Result};
use crate::sys::{Errno, Named as _};

/// Whether the directory was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    Yes,
    /// This user may not: the program's may, as when the directory is a volume of its own.
    NotYet,
}

/// To be tried before the user changes, as the runtime may enter what the program's user may not.
pub(crate) fn try_enter(directory: &CStr) -> Result<Entered> {
    match chdir(directory) {
        Ok(()) => Ok(Entered::Yes),
        Err(Errno::ACCESS | Errno::PERM) => Ok(Entered::NotYet),
        Err(errno) => Err(failure(directory, errno)),
    }
}

/// To be done after the user has changed, if it was not before.
pub(crate) fn enter(directory: &CStr) -> Result<()> {
    chdir(directory).map_err(|errno| failure(directory, errno))
}

/// Refuses a working directory outside of the root, which a descriptor of the host would be (CVE-2024-21626).
pub(crate) fn verify() -> Result<()> {
    let escape = |seen: &str| {
        Error::refused(
            "/process/cwd",
            format!("current working directory is {seen} -- possible container breakout detected"),
        )
    };
    match getcwd(Vec::new()) {
        Ok(path) if path.to_bytes().starts_with(b"/") => Ok(()),
        Ok(path) => Err(escape(&format!("not absolute: cwd is {path:?}"))),
        Err(Errno::NOENT) => Err(escape("outside of container mount namespace root")),
        Err(errno) => Err(errno)
            .named(|| "getcwd()".into())
            .during(|| "failed to verify if current working directory is safe".into()),
    }
}

fn failure(directory: &CStr, errno: Errno) -> Error {
    let reason = crate::sys::errno_text(errno);
    let directory = directory.to_string_lossy();
    Error::refused(
        "/process/cwd",
        format!("chdir to cwd ({directory:?}) set in config.json failed: {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use rustix::process::chroot;

    use super::*;

    /// In a thread with a working directory and a root of its own.
    fn in_own_place(test: fn()) {
        let thread = std::thread::spawn(move || {
            crate::sys::unshare(libc::CLONE_FS).expect("unshare");
            test();
        });
        thread.join().expect("the thread's own assertions");
    }

    #[test]
    fn a_directory_is_entered_and_found_inside() {
        in_own_place(|| {
            assert_eq!(try_enter(c"/proc").expect("enter"), Entered::Yes);
            verify().expect("inside");
            let line = enter(c"/no/such").expect_err("missing").line();
            assert_eq!(
                line,
                r#"chdir to cwd ("/no/such") set in config.json failed: no such file or directory"#
            );
        });
    }

    #[test]
    fn a_directory_outside_of_the_root_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can change its root");
            return;
        }
        in_own_place(|| {
            enter(c"/").expect("enter");
            chroot("/proc").expect("chroot");
            let line = verify().expect_err("outside").line();
            assert!(line.ends_with("-- possible container breakout detected"), "{line}");
        });
    }
}
