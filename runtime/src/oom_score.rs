//! How willingly the kernel kills a process when memory runs out (proc(5), `oom_score_adj`).

use rustix::process::{Pid, geteuid};

use crate::error::{During as _, Result};
use crate::proc::Proc;
use crate::sys::Errno;

/// Sets the score of process `pid`, -1000 (never) to 1000 (first). From outside the container: lowering it needs a
/// capability of the initial user namespace. Returns a warning where the caller is not root and may not lower it.
pub(crate) fn set(proc: &Proc, pid: Pid, score: i32) -> Result<Option<String>> {
    let path = format!("{}/oom_score_adj", pid.as_raw_nonzero());
    match proc.write(&path, score.to_string().as_bytes()) {
        Err(error) if matches!(error.errno, Errno::ACCESS | Errno::PERM) && !geteuid().is_root() => {
            Ok(Some(format!("oom score left as it is: {error}")))
        }
        result => result
            .during(|| format!("set oom score of process {} to {score}", pid.as_raw_nonzero()))
            .map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::proc::Scope;

    #[test]
    fn the_score_of_another_process_is_set() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().expect("spawn cat");
        let proc = Proc::open(Scope::Processes).expect("open proc");
        assert_eq!(set(&proc, Pid::from_child(&cat), 321).expect("set"), None);
        let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", cat.id())).expect("read");
        drop(cat.stdin.take());
        cat.wait().expect("wait for cat");
        assert_eq!(score.trim(), "321");
    }
}
