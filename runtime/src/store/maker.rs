//! Which runtime made a container, by the files it left; and what differs in theirs. All of it is read only.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::{CONFIG, GATE, StateDir};
use crate::error::Result;
use crate::sys;

/// crun's counterpart of `state.json`.
const STATUS: &str = "status";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    Knarr,
    /// Has `state.json` without a configuration beside it.
    Runc,
    /// Has `status` in its place.
    Crun,
}

impl StateDir {
    pub(crate) fn maker(&self) -> Result<Maker> {
        Ok(if self.has(STATUS)? {
            Maker::Crun
        } else if self.has(CONFIG)? {
            Maker::Knarr
        } else {
            Maker::Runc
        })
    }

    /// `status`, which crun keeps.
    pub(crate) fn read_status(&self) -> Result<Option<Vec<u8>>> {
        self.read(STATUS)
    }

    /// Whether somebody waits at the gate. A `start` that was killed leaves one that nobody waits at.
    pub(crate) fn is_gate_closed(&self) -> Result<bool> {
        if !self.has(GATE)? {
            return Ok(false);
        }
        match self.maker()? {
            Maker::Knarr => Ok(self.open_gate()?.is_some()),
            // Theirs goes with `start`. One who waits in runc's cannot be seen; in crun's, the look itself lets go.
            Maker::Runc | Maker::Crun => Ok(true),
        }
    }

    /// The end that `start` of runc reads from.
    pub(crate) fn open_gate_of_runc(&self) -> Result<OwnedFd> {
        Ok(sys::open_at(self.dir.as_fd(), GATE, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?)
    }

    fn has(&self, name: &str) -> Result<bool> {
        Ok(sys::stat_at(self.dir.as_fd(), name)?.is_some())
    }
}
