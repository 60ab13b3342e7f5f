//! What a cgroup has used, in the JSON shape of `runc events`. A file that is not there is a value that is not there,
//! never an error: kernels and configurations differ in what they count.

mod files;
mod shape;
mod v1;
mod v2;

pub use shape::{
    Blkio, BlkioEntry, CpuSetStats, CpuStats, CpuUsage, HugetlbStats, MemoryEntry, MemoryStats, PidsStats,
    Pressure, PressureLine, Stats, Throttling,
};

use crate::cgroup::Cgroup;
use crate::error::Result;

impl Cgroup {
    /// Reads all statistics.
    ///
    /// # Errors
    /// A file that is there but cannot be read or understood.
    pub fn stats(&self) -> Result<Stats> {
        if self.is_pure_v2() { v2::stats(self) } else { v1::stats(self) }
    }

    /// How many processes the kernel has killed for want of memory.
    ///
    /// # Errors
    /// As [`Cgroup::stats`].
    pub fn oom_kills(&self) -> Result<u64> {
        let Some(dir) = self.dir_of("memory")? else { return Ok(0) };
        let file = if self.is_pure_v2() { "memory.events" } else { "memory.oom_control" };
        Ok(files::keyed(dir, file)?.get("oom_kill").copied().unwrap_or(0))
    }
}
