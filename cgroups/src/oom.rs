//! Being told when a cgroup runs out of memory: an eventfd of version 1 (`cgroup-v1/memory.rst`, section 10), inotify(7)
//! on the files of version 2.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, inotify};
use rustix::io::{self, retry_on_intr};

use crate::cgroup::Cgroup;
use crate::error::{Errno, Error, Result};

/// What a readable [`OomWatch`] meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomNotice {
    /// The kernel ran out of memory for the cgroup, and killed a process unless that is switched off.
    Oom,
    /// The cgroup is gone or empty: nothing more will come.
    Gone,
    /// Something else changed.
    Nothing,
}

/// Becomes readable when there is something to be told.
#[derive(Debug)]
pub struct OomWatch<'a> {
    cgroup: &'a Cgroup,
    fd: OwnedFd,
    /// Kills told so far, on version 2: its file changes for other reasons too.
    told: Cell<u64>,
}

impl Cgroup {
    /// Starts watching.
    ///
    /// # Errors
    /// There is no memory controller, or its files refuse.
    pub fn watch_oom(&self) -> Result<OomWatch<'_>> {
        let fd = if self.is_pure_v2() { self.watch_files() } else { self.register_eventfd() }?;
        Ok(OomWatch { cgroup: self, fd, told: Cell::new(self.oom_kills()?) })
    }

    fn register_eventfd(&self) -> Result<OwnedFd> {
        let missing = || Error::NoHierarchy("memory".to_owned());
        let dir = self.dir_of("memory")?.ok_or_else(missing)?;
        let control = dir.open_file("memory.oom_control", OFlags::RDONLY)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC).map_err(failed)?;
        dir.write("cgroup.event_control", &format!("{} {}", event.as_raw_fd(), control.as_raw_fd()))?;
        Ok(event)
    }

    fn watch_files(&self) -> Result<OwnedFd> {
        let missing = || Error::NoHierarchy("memory".to_owned());
        let dir = self.dir_of("memory")?.ok_or_else(missing)?;
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC).map_err(failed)?;
        for file in ["memory.events", "cgroup.events"] {
            let path = dir.path().join(file);
            inotify::add_watch(&fd, &path, inotify::WatchFlags::MODIFY)
                .map_err(|source| Error::open(&path, source))?;
        }
        Ok(fd)
    }
}

impl OomWatch<'_> {
    /// Waits for the next change and says what it was.
    ///
    /// # Errors
    /// The descriptor or a file cannot be read.
    pub fn read(&self) -> Result<OomNotice> {
        if self.cgroup.is_pure_v2() { self.read_files() } else { self.read_eventfd() }
    }

    /// The kernel also signals when the cgroup is removed.
    fn read_eventfd(&self) -> Result<OomNotice> {
        let mut count = [0; 8];
        retry_on_intr(|| io::read(&self.fd, &mut count)).map_err(failed)?;
        Ok(if self.cgroup.exists() { OomNotice::Oom } else { OomNotice::Gone })
    }

    fn read_files(&self) -> Result<OomNotice> {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        loop {
            match reader.next().map(drop) {
                Ok(()) if reader.is_buffer_empty() => break,
                Ok(()) | Err(io::Errno::INTR) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        let kills = self.cgroup.oom_kills()?;
        if kills > self.told.replace(kills) {
            return Ok(OomNotice::Oom);
        }
        let populated =
            self.cgroup.dir_of("cgroup")?.map(|dir| dir.read_if_present("cgroup.events")).transpose()?;
        let populated =
            populated.flatten().is_some_and(|text| text.lines().any(|line| line == "populated 1"));
        Ok(if populated { OomNotice::Nothing } else { OomNotice::Gone })
    }
}

impl AsFd for OomWatch<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn failed(source: io::Errno) -> Error {
    Error::Watch { source: Errno(source) }
}
