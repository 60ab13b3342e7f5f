//! A cgroup's directory held open, and its files read and written relative to it.
//!
//! A file is named by one component without a slash and opened with `O_NOFOLLOW`, so nothing outside the directory
//! can be reached and openat2(2), which seccomp profiles of older container engines refuse, is not needed.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::{self, retry_on_intr};

use crate::error::{Error, Result};

/// The directory, its name for messages, and the file written last: limits of one file come one after the other.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    last: RefCell<Option<(String, OwnedFd)>>,
}

impl Dir {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match retry_on_intr(|| fs::open(path, flags, Mode::empty())) {
            Ok(fd) => Ok(Self { fd, path: path.to_owned(), last: RefCell::new(None) }),
            Err(source) => Err(Error::open(path, source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn open_file(&self, file: &str, flags: OFlags) -> Result<OwnedFd> {
        if file.contains('/') {
            return Err(Error::open(&self.path.join(file), io::Errno::INVAL));
        }
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| fs::openat(&self.fd, file, flags, Mode::empty()))
            .map_err(|source| Error::open(&self.path.join(file), source))
    }

    /// The whole file as text.
    pub(crate) fn read(&self, file: &str) -> Result<String> {
        let fd = self.open_file(file, OFlags::RDONLY)?;
        read_to_string(fd.as_fd()).map_err(|source| Error::read(&self.path.join(file), source))
    }

    /// The file as text, or nothing when there is no such file (or no such cgroup any more).
    pub(crate) fn read_if_present(&self, file: &str) -> Result<Option<String>> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names of the files and directories in it.
    pub(crate) fn names(&self) -> Result<Vec<(String, FileType)>> {
        let failed = |source| Error::read(&self.path, source);
        let fd = self.open_file(".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let entries = fs::Dir::new(fd).map_err(failed)?.map(|entry| {
            let entry = entry.map_err(failed)?;
            Ok((entry.file_name().to_string_lossy().into_owned(), entry.file_type()))
        });
        entries.filter(|entry| !matches!(entry, Ok((name, _)) if name == "." || name == "..")).collect()
    }

    pub(crate) fn subdirectories(&self) -> Result<Vec<PathBuf>> {
        let names = self.names()?.into_iter().filter(|(_, kind)| *kind == FileType::Directory);
        Ok(names.map(|(name, _)| self.path.join(name)).collect())
    }

    pub(crate) fn write(&self, file: &str, value: &str) -> Result<()> {
        let mut last = self.last.borrow_mut();
        if last.as_ref().is_none_or(|(name, _)| name != file) {
            *last = Some((file.to_owned(), self.open_file(file, OFlags::WRONLY)?));
        }
        let Some((_, fd)) = last.as_ref() else {
            return Ok(());
        };
        match retry_on_intr(|| io::write(fd, value.as_bytes())) {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::write(&self.path.join(file), value, source)),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A file whose directory is needed for nothing else.
pub(crate) fn read_path(path: &Path) -> Result<String> {
    let fd = open_path(path, OFlags::RDONLY)?;
    read_to_string(fd.as_fd()).map_err(|source| Error::read(path, source))
}

/// The same, to be written to.
pub(crate) fn open_path(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| fs::open(path, flags, Mode::empty())).map_err(|source| Error::open(path, source))
}

/// Reads from the start to the end; files of cgroups are text.
pub(crate) fn read_to_string(fd: BorrowedFd<'_>) -> io::Result<String> {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        let offset = text.len() as u64;
        match retry_on_intr(|| io::pread(fd, &mut part, offset))? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            length => text.extend_from_slice(&part[..length]),
        }
    }
}
