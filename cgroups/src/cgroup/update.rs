//! Changing limits of a cgroup in use: all of them, or none.

use crate::cgroup::Cgroup;
use crate::error::Result;
use crate::limits::{Limits, Policy, Write};

impl Cgroup {
    /// Sets limits as [`Cgroup::apply`] does, but puts back what was there before if one of them fails.
    ///
    /// Device rules, if `limits` have them, come last; they are not put back.
    ///
    /// # Errors
    /// The first limit that could not be set.
    pub fn update(&self, limits: &Limits) -> Result<()> {
        if self.disabled {
            return Ok(());
        }
        self.check_memory(limits)?;
        let limits = &if self.unit.is_some() { limits.as_systemd_holds_them()? } else { limits.clone() };
        let before = self.values_before(limits);
        let result = self.apply_to_files(limits).and_then(|()| match &self.unit {
            // Files first: they can be put back, a unit's properties cannot. Then once more, since systemd writes
            // a controller's other files as well, by what it knows.
            Some(managed) => managed.set(limits).and_then(|()| self.apply_to_files(limits)),
            None => Ok(()),
        });
        if result.is_err() {
            self.put_back(before);
        }
        result
    }

    /// As far as possible: the reason for the failure is the answer. Values that the kernel checks against each other
    /// need a second round.
    fn put_back(&self, mut before: Vec<Write>) {
        for _ in 0..2 {
            before.retain(|write| match self.dir_of(&write.controller) {
                Ok(Some(dir)) => dir.write(&write.file, &write.value).is_err(),
                _ => false,
            });
        }
    }

    /// Writes that make the files say again what they say now. What cannot be read cannot be put back.
    fn values_before(&self, limits: &Limits) -> Vec<Write> {
        let mut before = Vec::new();
        for write in limits.writes() {
            let Ok(Some(dir)) = self.dir_of(&write.controller) else { continue };
            for (file, value) in write.targets() {
                let Ok(Some(text)) = dir.read_if_present(file) else { continue };
                before.extend(undo(file, value, &text).map(|value| Write {
                    controller: write.controller.clone(),
                    file: file.to_owned().into(),
                    value,
                    policy: Policy::IfPresent,
                }));
            }
        }
        before
    }
}

/// What is to be written to a file that now reads `text`, to take back the writing of `value`.
fn undo(file: &str, value: &str, text: &str) -> Option<String> {
    if let Some(nothing) = nothing_for_a_key(file, value) {
        let key = value.split(' ').next()?;
        let line = text.lines().find(|line| line.split(' ').next() == Some(key));
        return Some(line.map_or_else(|| format!("{key} {nothing}"), str::to_owned));
    }
    // Files that say more than is written to them.
    let first = match file {
        "memory.oom_control" => text.lines().find_map(|line| line.strip_prefix("oom_kill_disable "))?,
        "io.weight" | "io.bfq.weight" => {
            text.lines().next().map(|line| line.trim_start_matches("default "))?
        }
        _ => text.trim(),
    };
    // An empty list of CPUs is written as an empty line.
    Some(if first.is_empty() { "\n".to_owned() } else { first.to_owned() })
}

/// For a file that holds a line for each device: what stands for "no line".
fn nothing_for_a_key(file: &str, value: &str) -> Option<&'static str> {
    match file {
        "io.max" => Some("rbps=max wbps=max riops=max wiops=max"),
        "rdma.max" => Some("hca_handle=max hca_object=max"),
        "net_prio.ifpriomap" => Some("0"),
        "io.weight" | "io.bfq.weight" if value.contains(':') => Some("default"),
        _ if file.ends_with("weight_device") => Some("default"),
        _ if file.starts_with("blkio.throttle.") => Some("0"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_taken_back() {
        for (file, value, text, expected) in [
            ("memory.max", "5", "max\n", "max"),
            ("cpu.max", "max 100000", "5000 20000\n", "5000 20000"),
            ("cpuset.cpus", "0", "\n", "\n"),
            ("io.max", "8:0 rbps=1", "8:16 rbps=9 wbps=max\n8:0 rbps=7 wbps=max\n", "8:0 rbps=7 wbps=max"),
            ("io.max", "8:0 rbps=1", "", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("io.weight", "100", "default 300\n8:0 5\n", "300"),
            ("io.weight", "8:16 100", "default 300\n8:0 5\n", "8:16 default"),
            ("io.bfq.weight", "100", "300\n", "300"),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\n", "0"),
            ("blkio.throttle.read_bps_device", "8:0 5", "8:0 77\n", "8:0 77"),
            ("blkio.throttle.read_bps_device", "8:0 5", "8:16 77\n", "8:0 0"),
            (
                "rdma.max",
                "m hca_handle=1",
                "m hca_handle=3 hca_object=max\n",
                "m hca_handle=3 hca_object=max",
            ),
            ("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 2\n", "eth0 2"),
        ] {
            assert_eq!(undo(file, value, text).as_deref(), Some(expected), "{file} {value}");
        }
    }
}
