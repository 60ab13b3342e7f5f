//! Whether memory ran out: what the kernel counts in the container's memory cgroup, which is there until the runtime removes it.
//! From then on a file of the run folder tells, until the record does.

use std::fs;
use std::path::{Path, PathBuf};

use crate::log;
use crate::replace::replace;

const CGROUPS: &str = "/sys/fs/cgroup";
/// In the run folder, if memory ran out.
const NOTE: &str = "oom.json";

/// The memory cgroup of a process, as a folder.
pub(super) fn memory_cgroup(pid: i32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let (mount, path) = place(&text)?;
    let unified = Path::new(CGROUPS).join("unified");
    let mount = match mount {
        Some(controller) => Path::new(CGROUPS).join(controller),
        None if unified.join("cgroup.procs").exists() => unified,
        None => CGROUPS.into(),
    };
    Some(mount.join(path.trim_start_matches('/')))
}

/// The v1 hierarchy that has the memory controller, or none for the unified one; and the path there.
fn place(text: &str) -> Option<(Option<&'static str>, &str)> {
    let parts = |line| {
        let mut parts = str::splitn(line, 3, ':').skip(1);
        Some((parts.next()?, parts.next()?))
    };
    let lines: Vec<(&str, &str)> = text.lines().filter_map(parts).collect();
    let v1 = lines.iter().find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
    let unified = || lines.iter().find(|(controllers, _)| controllers.is_empty());
    v1.map(|(_, path)| (Some("memory"), *path)).or_else(|| unified().map(|(_, path)| (None, *path)))
}

/// Whether memory ran out in a run; noted in its folder, since who asks removes the cgroup next.
pub(super) fn ran_out(run: &Path, memory_cgroup: Option<&Path>) -> bool {
    let note = run.join(NOTE);
    if note.exists() {
        return true;
    }
    let ran_out = memory_cgroup.is_some_and(|cgroup| kills(cgroup) > 0);
    if ran_out && let Err(error) = replace(&note, &true) {
        log::warn(&error);
    }
    ran_out
}

/// How often a process of the cgroup was killed for want of memory.
fn kills(memory_cgroup: &Path) -> u64 {
    let files = ["memory.events", "memory.oom_control"].map(|name| memory_cgroup.join(name));
    let text = files.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_controller_is_found_in_both_versions() {
        assert_eq!(place("0::/docker/x\n"), Some((None, "/docker/x")));
        assert_eq!(
            place("8:memory:/docker/x\n1:name=systemd:/\n0::/y\n"),
            Some((Some("memory"), "/docker/x"))
        );
        assert_eq!(place("1:cpu,memory:/a:b\n"), Some((Some("memory"), "/a:b")));
        assert_eq!(place("1:cpu:/a\n"), None);
    }

    #[test]
    fn what_was_seen_in_the_cgroup_is_known_when_that_is_gone() {
        let (run, cgroup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(!ran_out(run.path(), Some(cgroup.path())) && !ran_out(run.path(), None));
        fs::write(cgroup.path().join("memory.events"), "oom_kill 1\n").unwrap();
        assert!(ran_out(run.path(), Some(cgroup.path())));
        cgroup.close().unwrap();
        assert!(ran_out(run.path(), None));
    }

    #[test]
    fn kills_are_counted_in_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(kills(folder.path()), 0);
        fs::write(folder.path().join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
            .unwrap();
        assert_eq!(kills(folder.path()), 3);
        fs::write(folder.path().join("memory.events"), "low 0\noom 1\noom_kill 2\noom_group_kill 0\n")
            .unwrap();
        assert_eq!(kills(folder.path()), 2);
    }
}
