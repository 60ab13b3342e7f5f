//! Which program is under test, and where it is.

use std::path::{Path, PathBuf};

/// A runtime under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Ours: `$KNARR`, or the `knarr` that cargo built beside the tests.
    Knarr,
    /// Debian's, which tests the tests.
    Runc,
    /// Debian's other one, a peer of the bench.
    Crun,
}

impl Runtime {
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Knarr => "knarr",
            Runtime::Runc => "runc",
            Runtime::Crun => "crun",
        }
    }

    /// The program's path, or why there is none.
    pub fn program(self) -> Result<PathBuf, String> {
        match self {
            Runtime::Knarr => knarr(),
            Runtime::Runc | Runtime::Crun => installed(self.name()),
        }
    }
}

/// A program of the machine, found as the shell finds it.
pub fn installed(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file());
    found.ok_or_else(|| format!("{name} is not installed; scripts/setup installs it"))
}

/// Static busybox, the other program in every root filesystem.
pub fn busybox() -> Result<PathBuf, String> {
    installed("busybox")
}

/// Whether we ourselves hold capability number `bit`: what root lacks on some machines, a runtime cannot give.
pub fn we_hold(bit: u32) -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|bits| bits >> bit & 1 == 1)
}

/// Number of `CAP_SYS_RESOURCE`.
pub const SYS_RESOURCE: u32 = 24;

fn knarr() -> Result<PathBuf, String> {
    ours("knarr")
}

/// A program of this workspace: beside `$KNARR` when that is set, else where cargo built it.
pub fn ours(name: &str) -> Result<PathBuf, String> {
    let named = std::env::var_os("KNARR").map(|knarr| PathBuf::from(knarr).with_file_name(name));
    let program = named.unwrap_or_else(|| beside_the_tests(name));
    let missing = || format!("{} is missing; build it first or set KNARR", program.display());
    if program.is_file() { Ok(program) } else { Err(missing()) }
}

/// Test programs live in `deps/`, one below the other programs of the workspace.
pub fn beside_the_tests(name: &str) -> PathBuf {
    let us = std::env::current_exe().unwrap_or_default();
    let folder = us.ancestors().nth(1).unwrap_or(Path::new("."));
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    folder.join(name)
}
