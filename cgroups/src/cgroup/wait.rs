//! Waiting for a cgroup to change: its files and its processes' descriptors tell, within a deadline.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::{self, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::dir::{Dir, read_to_string};
use crate::error::{Errno, Error, Result};

#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    pub(super) fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Waits until `key` in `cgroup.events` (version 2) is `value`; false if the deadline passed.
pub(super) fn wait_for_event(dir: &Dir, key: &str, value: &str, deadline: Deadline) -> Result<bool> {
    let fd = dir.open_file("cgroup.events", OFlags::RDONLY)?;
    loop {
        // Reading arms the notification: a change after it wakes poll(2).
        let text = read_to_string(fd.as_fd())
            .map_err(|source| Error::read(&dir.path().join("cgroup.events"), source))?;
        if text.lines().any(|line| line.split_once(' ') == Some((key, value))) {
            return Ok(true);
        }
        if deadline.has_passed() {
            return Ok(false);
        }
        poll_until(dir, &mut [PollFd::new(&fd, PollFlags::PRI)], deadline.left())?;
    }
}

/// Waits until one of the processes is gone, or the deadline passed.
pub(super) fn wait_for_exit(dir: &Dir, pids: &[Pid], deadline: Deadline) -> Result<()> {
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for pid in pids {
        match pidfd_open(*pid, PidfdFlags::empty()) {
            Ok(fd) => descriptors.push(fd),
            // Gone already; or a thread, for which older kernels give no descriptor.
            Err(io::Errno::SRCH | io::Errno::INVAL | io::Errno::NOENT) => return pause(dir),
            Err(source) => return Err(failed(dir, source)),
        }
    }
    let mut fds: Vec<PollFd> = descriptors.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    poll_until(dir, &mut fds, deadline.left())
}

/// For the moment between the last process's end and the kernel's own release of it, which nothing announces on
/// version 1.
pub(super) fn pause(dir: &Dir) -> Result<()> {
    poll_until(dir, &mut [], Duration::from_millis(1))
}

fn poll_until(dir: &Dir, fds: &mut [PollFd], time: Duration) -> Result<()> {
    let time = Timespec::try_from(time).map_err(|_| failed(dir, io::Errno::INVAL))?;
    retry_on_intr(|| poll(fds, Some(&time))).map(drop).map_err(|source| failed(dir, source))
}

fn failed(dir: &Dir, source: io::Errno) -> Error {
    Error::Wait { path: dir.path().to_owned(), source: Errno(source) }
}
