//! Each test has namespaces of its own for mounts, network and processes. Its first process there reaps what an engine
//! leaves when it is killed; when that ends, the kernel ends everything else.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use knarr_integration::nest::Site;
use knarr_integration::{Layout, leftovers, nest};

/// Tells a process of ours which of the three it is.
const ROLE: &str = "KNARR_KILL_ROLE";

/// How cgroups are mounted here.
pub(crate) fn layout() -> Layout {
    if Path::new("/sys/fs/cgroup/cgroup.procs").exists() { Layout::Unified } else { Layout::Hybrid }
}

/// Runs the test `name` in namespaces of its own.
pub(crate) fn inside(name: &str, body: impl FnOnce(&Site)) {
    let mark = std::env::var(leftovers::MARK);
    match (std::env::var(ROLE).as_deref(), mark) {
        (Ok("reap"), Ok(_)) => adopt_and_reap(name),
        (Ok("run"), Ok(mark)) => body(&Site::of(mark)),
        _ => enclose(name),
    }
}

/// Our own program with the arguments that run one test.
fn us(name: &str) -> (PathBuf, [String; 4]) {
    let us = std::env::current_exe().expect("our own path");
    (us, ["--exact", name, "--nocapture", "--test-threads=1"].map(str::to_owned))
}

fn enclose(name: &str) {
    let number = name.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let site = Site::of(format!("kk{}-{number:x}", std::process::id()));
    std::fs::create_dir(&site.dir).expect("make the directory of this test");
    let (us, args) = us(name);
    let ended = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ])
        .arg(us)
        .args(args)
        .env(ROLE, "reap")
        .env("RUST_BACKTRACE", "0")
        .env(leftovers::MARK, &site.mark)
        .output()
        .expect("start unshare");
    let left = leftovers::sweep(layout(), &site.cgroup(), &site.mark);
    let removed = std::fs::remove_dir_all(&site.dir);
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    print!("{said}");
    // Once for each of the two inner processes: a test that is not found is none that passes.
    let ran = said.matches("test result: ok. 1 passed").count();
    assert!(ended.status.success() && ran == 2, "the test in its namespaces has failed");
    assert!(left.is_empty() && removed.is_ok(), "left behind: {left:?} {removed:?}");
}

#[allow(clippy::zombie_processes)] // whoever ends here is waited for, not one child by its handle
fn adopt_and_reap(name: &str) {
    nest::furnish();
    let (us, args) = us(name);
    let inner = Command::new(us).args(args).env(ROLE, "run").spawn().expect("start the inner process");
    assert_eq!(nest::reap_until_ended(&inner), Some(0), "the inner process has failed");
}
