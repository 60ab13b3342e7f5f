//! `process.oomScoreAdj`: how eagerly the kernel kills a process when memory runs out (proc_pid_oom_score_adj(5)).

use rustix::process::Pid;

use crate::error::{During, Result};
use crate::sys::{Errno, Named};

/// Set from outside: lowering it needs CAP_SYS_RESOURCE in the initial user namespace. A caller without that may not
/// lower it, which is no error as long as the score is not below what it would be anyway.
pub(crate) fn set(pid: Pid, score: i32) -> Result<()> {
    let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
    match std::fs::write(&path, score.to_string()) {
        Err(error)
            if Errno::from_io_error(&error) == Some(Errno::ACCESS) && !rustix::process::geteuid().is_root() =>
        {
            Ok(())
        }
        result => result.named(|| format!("write {score} to {path}")).during(|| "set process.oomScoreAdj".into()),
    }
}
