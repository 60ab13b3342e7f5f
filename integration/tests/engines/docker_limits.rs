//! dockerd: limits, as the container sees them in its own cgroup mount, and what happens at them.

use crate::docker::{down, shell};
use crate::engine::Engine;
use crate::image::BOX;
use crate::named;
use crate::suite::Case;

pub(crate) fn cases() -> Vec<Case> {
    named![every_limit, out_of_memory, too_little_memory, too_many_processes, cgroup_parent]
}

/// Writes what all files of the container's cgroups contain that a limit can change.
const FILES: &str = "cd /sys/fs/cgroup; grep . cpu/cpu.* cpuset/cpuset.cpus cpuset/cpuset.mems memory/*limit_in_bytes \
    memory/memory.swappiness memory/memory.oom_control pids/pids.max devices/devices.list blkio/blkio.weight \
    2>/dev/null | grep -vE 'cpu.stat|oom_kill |rt_'";

fn every_limit(engine: &Engine) {
    engine.record(&shell(engine, &[], FILES));
    let half = shell(engine, &["--cpus", "0.5"], "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us").assert_ok();
    assert_eq!(half.out, "50000\n");
    let flags = [
        "--memory",
        "96m",
        "--memory-swap",
        "128m",
        "--memory-reservation",
        "32m",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "300",
        "--cpuset-cpus",
        "0",
        "--cpuset-mems",
        "0",
        "--pids-limit",
        "55",
        "--oom-kill-disable",
    ];
    let limited = shell(engine, &flags, FILES);
    for line in ["memory/memory.limit_in_bytes:100663296", "cpu/cpu.shares:300", "pids/pids.max:55"] {
        assert!(limited.out.contains(line), "{line}: {limited}");
    }
    engine.record(&limited);
}

fn out_of_memory(engine: &Engine) {
    let eat = "x=abcdefgh; while :; do x=$x$x; done";
    let words = ["run", "--name", "hungry", "--memory", "16m", "--memory-swap", "16m", BOX, "sh", "-c", eat];
    engine.call(&words).assert_code(137);
    assert_eq!(
        engine.ask(&["inspect", "--format", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hungry"]),
        "true 137"
    );
    down(engine, "hungry");
}

/// dockerd refuses less than 6 MiB; this much must be enough for the runtime.
fn too_little_memory(engine: &Engine) {
    engine.record(&shell(engine, &["--memory", "5m"], "true").assert_code(125));
    if engine.runtime == knarr_integration::Runtime::Knarr {
        shell(engine, &["--memory", "6m", "--memory-swap", "6m"], "echo fits").assert_ok();
    }
}

fn too_many_processes(engine: &Engine) {
    shell(engine, &["--pids-limit", "4"], "for i in 1 2 3 4 5 6; do sleep 5 & done; wait")
        .assert_fails_with("can't fork");
}

fn cgroup_parent(engine: &Engine) {
    let parent = format!("{}/deeper", engine.cgroup);
    let seen =
        shell(engine, &["--cgroup-parent", &parent, "--cgroupns", "host"], "cat /proc/self/cgroup | sort")
            .assert_ok();
    assert!(seen.out.contains(&format!(":memory:{parent}/")), "{seen}");
    engine.record(&seen);
    for folder in knarr_integration::Layout::Hybrid.directories(&parent) {
        std::fs::remove_dir(folder).expect("remove the empty parent");
    }
}
