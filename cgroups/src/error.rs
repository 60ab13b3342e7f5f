//! The crate's error: one variant per act, with the object it was done to. Texts that other programs match are runc's.

use std::fmt;
use std::path::PathBuf;

use rustix::io;

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A kernel error number, displayed as Go does (`no such file or directory`): container engines match that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub io::Errno);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = std::io::Error::from(self.0).to_string();
        let text = full.split(" (os error").next().unwrap_or(&full);
        // As Go's table has it: the first letter is lowered unless the text starts with an acronym.
        let mut letters = text.chars();
        match (letters.next(), letters.clone().next()) {
            (Some(first), Some(second)) if second.is_lowercase() => {
                write!(f, "{}{}", first.to_ascii_lowercase(), letters.as_str())
            }
            _ => f.write_str(text),
        }
    }
}

impl std::error::Error for Errno {}

/// Why an act on a cgroup failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("open {}", path.display())]
    Open { path: PathBuf, source: Errno },
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: Errno },
    #[error("write \"{value}\" to {}", path.display())]
    Write {
        path: PathBuf,
        value: String,
        source: Errno,
    },
    #[error("create cgroup {}", path.display())]
    MakeDir { path: PathBuf, source: Errno },
    #[error("remove cgroup {}", path.display())]
    RemoveDir { path: PathBuf, source: Errno },
    #[error("error adding pid {pid} to cgroups {}", path.display())]
    Join { pid: i32, path: PathBuf, source: Errno },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_reads_as_in_go() {
        for (errno, text) in [
            (io::Errno::NOENT, "no such file or directory"),
            (io::Errno::ACCESS, "permission denied"),
            (io::Errno::PERM, "operation not permitted"),
            (io::Errno::BUSY, "device or resource busy"),
            (io::Errno::NOCSI, "no CSI structure available"),
        ] {
            assert_eq!(Errno(errno).to_string(), text);
        }
    }
}
