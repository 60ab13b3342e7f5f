//! Reading a cgroup and those below it. They may vanish at any moment; only the first one's absence is told.

use rustix::io;
use rustix::process::Pid;

use crate::dir::Dir;
use crate::error::{Errno, Error, Result};

/// Processes of one cgroup. The list of a threaded version 2 cgroup names its threads instead.
pub(super) fn processes(dir: &Dir) -> Result<Vec<Pid>> {
    let text = match dir.read("cgroup.procs") {
        Err(Error::Read { source: Errno(io::Errno::OPNOTSUPP), .. }) => dir.read("cgroup.threads")?,
        result => result?,
    };
    // A process of a PID namespace that we do not see is shown as 0.
    Ok(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect())
}

pub(super) fn all_processes(dir: &Dir) -> Result<Vec<Pid>> {
    let mut all = processes(dir)?;
    let mut todo = dir.subdirectories()?;
    while let Some(path) = todo.pop() {
        match Dir::open(&path).and_then(|dir| Ok((processes(&dir)?, dir.subdirectories()?))) {
            Ok((pids, paths)) => {
                all.extend(pids);
                todo.extend(paths);
            }
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
