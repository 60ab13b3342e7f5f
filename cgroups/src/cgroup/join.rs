//! Moving a process in: one write per hierarchy. On version 1 a write may wait for an RCU grace period (milliseconds),
//! so the caller does it while the process has other work.

use rustix::fs::OFlags;
use rustix::io::{self, retry_on_intr};
use rustix::process::Pid;

use crate::cgroup::{Already, Cgroup, Node};
use crate::dir::open_path;
use crate::error::{Errno, Error, Result};

/// How often a task that is just being made may refuse to be moved (the kernel's `TASK_NEW`).
const TRIES: u32 = 5;

impl Cgroup {
    /// Moves a process in, one write per hierarchy. The first one of a scope of systemd's starts the unit.
    ///
    /// # Errors
    /// [`Error::Join`] with the directory that did not take it. Permission errors are no errors for a rootless cgroup
    /// that nobody asked for.
    pub fn join(&self, pid: Pid, already: Already) -> Result<()> {
        let started = match &self.unit {
            Some(managed) => self.start_unit(managed, Some(pid))?,
            None => false,
        };
        for node in &self.nodes {
            let by_systemd = started && (self.pure_v2 || node.is_systemds());
            let by_clone = already == Already::Unified && node.is_v2();
            if !by_systemd && !by_clone {
                self.join_node(node, pid)?;
            }
        }
        Ok(())
    }

    fn join_node(&self, node: &Node, pid: Pid) -> Result<()> {
        match (write_pid(node, pid), &self.unit) {
            (Err(error), _) if error.is_permission() && self.optional => Ok(()),
            // A delegated cgroup takes processes from outside only through systemd.
            (Err(error), Some(managed)) if error.is_permission() => managed.attach(pid),
            (Err(error), _) => {
                let source = Errno(error.errno().unwrap_or(io::Errno::IO));
                Err(Error::Join {
                    pid: pid.as_raw_nonzero().get(),
                    path: node.path.join("cgroup.procs"),
                    source,
                })
            }
            (Ok(()), _) => Ok(()),
        }
    }
}

/// The directory is not opened for this: in most hierarchies nothing else is done.
fn write_pid(node: &Node, pid: Pid) -> Result<()> {
    let path = node.path.join("cgroup.procs");
    let file = open_path(&path, OFlags::WRONLY)?;
    let text = pid.as_raw_nonzero().to_string();
    let mut tries = 1;
    loop {
        match retry_on_intr(|| io::write(&file, text.as_bytes())) {
            Err(io::Errno::INVAL) if tries < TRIES => rustix::thread::sched_yield(),
            result => return result.map(drop).map_err(|source| Error::write(&path, &text, source)),
        }
        tries += 1;
    }
}
