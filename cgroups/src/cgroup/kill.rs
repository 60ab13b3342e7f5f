//! Signalling every process of a cgroup, with none escaping by forking.

use std::collections::BTreeSet;

use rustix::io;
use rustix::process::{Pid, Signal, kill_process};

use crate::cgroup::Cgroup;
use crate::error::{Errno, Error, Result};

/// Rounds over a cgroup that cannot be frozen and keeps growing.
const ROUNDS: u32 = 100;

impl Cgroup {
    /// Sends a signal to every process in the cgroup and below.
    ///
    /// SIGKILL is one write to `cgroup.kill` where the kernel has it (version 2, 5.14). Otherwise the cgroup is frozen
    /// meanwhile, so that no process appears unseen; it is left as it was found, except that SIGKILL always thaws:
    /// version 1 tasks die only when they run.
    ///
    /// # Errors
    /// A process that may not be signalled; the others got the signal. A cgroup that does not exist is no error.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        if signal == Signal::KILL && self.pure_v2 && self.kill_at_once()? {
            return Ok(());
        }
        let was_frozen = self.is_frozen()?;
        let frozen = was_frozen || self.freeze().is_ok();
        let result = if frozen { self.signal_once(signal) } else { self.signal_until_settled(signal) };
        let thawed = if was_frozen && signal != Signal::KILL { Ok(()) } else { self.thaw() };
        result.and(thawed)
    }

    /// Whether the kernel could.
    fn kill_at_once(&self) -> Result<bool> {
        let Some(node) = self.unified() else {
            return Ok(true);
        };
        match node.dir().and_then(|dir| dir.write("cgroup.kill", "1")) {
            Ok(()) => Ok(true),
            // An old kernel, no such cgroup, or a threaded one, which cannot be killed as such.
            Err(error) if error.is_absent() || error.errno() == Some(io::Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn signal_once(&self, signal: Signal) -> Result<()> {
        self.all_processes()?.into_iter().map(|pid| send(pid, signal)).fold(Ok(()), Result::and)
    }

    /// Until a round finds nobody new.
    fn signal_until_settled(&self, signal: Signal) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut result = Ok(());
        for _ in 0..ROUNDS {
            let new: Vec<Pid> =
                self.all_processes()?.into_iter().filter(|pid| seen.insert(pid.as_raw_nonzero())).collect();
            if new.is_empty() {
                break;
            }
            result = new.into_iter().map(|pid| send(pid, signal)).fold(result, Result::and);
        }
        result
    }
}

fn send(pid: Pid, signal: Signal) -> Result<()> {
    match kill_process(pid, signal) {
        Ok(()) | Err(io::Errno::SRCH) => Ok(()),
        Err(source) => Err(Error::Signal { pid: pid.as_raw_nonzero().get(), source: Errno(source) }),
    }
}
