//! Stopping all tasks of a cgroup and letting them go on: `cgroup.freeze` of version 2, the freezer controller of
//! version 1 (`cgroup-v1/freezer-subsystem.rst`).

use std::time::Duration;

use crate::cgroup::wait::{Deadline, pause, wait_for_event};
use crate::cgroup::{Cgroup, absent_as_empty};
use crate::dir::Dir;
use crate::error::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(10);
/// Version 1 cannot freeze while processes keep appearing; thawing after that many looks gives those in between a chance.
const LOOKS_BEFORE_THAW: u32 = 50;

/// The directory with the freezer's files.
enum Freezer<'a> {
    V1(&'a Dir),
    V2(&'a Dir),
}

impl Cgroup {
    /// Whether [`Cgroup::freeze`] is in force here, be it by anyone; false when the cgroup does not exist, or only an
    /// ancestor is frozen.
    pub fn is_frozen(&self) -> Result<bool> {
        let state = |result: Result<String>| Ok::<_, Error>(absent_as_empty(result)?.trim().to_owned());
        match absent_as_none(self.freezer())? {
            None => Ok(false),
            Some(Freezer::V2(dir)) => Ok(state(dir.read("cgroup.freeze"))? == "1"),
            Some(Freezer::V1(dir)) => {
                let frozen = matches!(state(dir.read("freezer.state"))?.as_str(), "FROZEN" | "FREEZING");
                Ok(frozen && state(dir.read("freezer.self_freezing"))? != "0")
            }
        }
    }

    /// Stops every task; returns when all are stopped.
    ///
    /// # Errors
    /// Not all were stopped within 10 seconds; then all go on.
    pub fn freeze(&self) -> Result<()> {
        let freezer = self.freezer()?;
        let result = match freezer {
            None if self.disabled => return Ok(()),
            None => return Err(Error::NoFreezer),
            Some(Freezer::V2(dir)) => freeze_v2(dir),
            Some(Freezer::V1(dir)) => freeze_v1(dir),
        };
        if result.is_err() {
            // The reason for the failure is the answer, not that of the clean-up.
            drop(self.thaw());
        }
        result
    }

    /// Lets every task go on; nothing to do for a cgroup that does not exist.
    pub fn thaw(&self) -> Result<()> {
        absent_as_empty(match absent_as_none(self.freezer())? {
            None => Ok(()),
            Some(Freezer::V2(dir)) => dir.write("cgroup.freeze", "0"),
            Some(Freezer::V1(dir)) => dir.write("freezer.state", "THAWED"),
        })
    }

    /// Version 1's if it is mounted, else version 2's.
    fn freezer(&self) -> Result<Option<Freezer<'_>>> {
        if let Some(node) = self.node("freezer") {
            return Ok(Some(Freezer::V1(node.dir()?)));
        }
        self.unified().map(|node| Ok(Freezer::V2(node.dir()?))).transpose()
    }
}

fn freeze_v2(dir: &Dir) -> Result<()> {
    dir.write("cgroup.freeze", "1")?;
    if wait_for_event(dir, "frozen", "1", Deadline::after(PATIENCE))? { Ok(()) } else { Err(timeout(dir)) }
}

/// Nothing tells when a version 1 cgroup is frozen: the kernel looks at its tasks only when the state is read. And a
/// cgroup that stays FREEZING has to be told again.
fn freeze_v1(dir: &Dir) -> Result<()> {
    let deadline = Deadline::after(PATIENCE);
    for look in 1_u32.. {
        dir.write("freezer.state", "FROZEN")?;
        match dir.read("freezer.state")?.trim() {
            "FROZEN" => return Ok(()),
            _ if deadline.has_passed() => break,
            _ if look % LOOKS_BEFORE_THAW == 0 => {
                dir.write("freezer.state", "THAWED")?;
                pause(dir)?;
            }
            _ if look % 4 == 0 => pause(dir)?,
            _ => rustix::thread::sched_yield(),
        }
    }
    Err(timeout(dir))
}

fn timeout(dir: &Dir) -> Error {
    Error::FreezeTimeout { path: dir.path().to_owned(), seconds: PATIENCE.as_secs() }
}

fn absent_as_none<T>(result: Result<Option<T>>) -> Result<Option<T>> {
    match result {
        Err(error) if error.is_absent() => Ok(None),
        result => result,
    }
}
