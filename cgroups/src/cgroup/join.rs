//! Moving a process in: one write per hierarchy. On version 1 a write may wait for an RCU grace period (milliseconds),
//! so the caller does it while the process has other work.

use rustix::io;
use rustix::process::Pid;

use crate::cgroup::{Already, Cgroup};
use crate::error::{Errno, Error, Result};

/// How often a task that is just being made may refuse to be moved (the kernel's `TASK_NEW`).
const TRIES: u32 = 5;

impl Cgroup {
    /// Moves a process in, one write per hierarchy.
    ///
    /// # Errors
    /// [`Error::Join`] with the directory that did not take it. Permission errors are no errors for a rootless cgroup
    /// that nobody asked for.
    pub fn join(&self, pid: Pid, already: Already) -> Result<()> {
        let text = pid.as_raw_nonzero().to_string();
        for node in self
            .nodes
            .iter()
            .filter(|node| already == Already::Nowhere || !node.is_v2())
        {
            let mut result = node.dir().and_then(|dir| dir.write("cgroup.procs", &text));
            for _ in 1..TRIES {
                match &result {
                    Err(error) if error.errno() == Some(io::Errno::INVAL) => {
                        rustix::thread::sched_yield();
                        result = node.dir().and_then(|dir| dir.write("cgroup.procs", &text));
                    }
                    _ => break,
                }
            }
            match result {
                Err(error) if self.optional && error.is_permission() => {}
                Err(error) => {
                    let source = Errno(error.errno().unwrap_or(io::Errno::IO));
                    return Err(Error::Join {
                        pid: pid.as_raw_nonzero().get(),
                        path: node.path.clone(),
                        source,
                    });
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }
}
