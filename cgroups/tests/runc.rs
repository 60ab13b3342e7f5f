//! The same limits through runc and through us must leave the same values in the same files, and the statistics of the
//! same container must have the same fields. Version 1 and runc are needed; without them the test says so.

#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use knarr_cgroups::{Cgroup, Hierarchies, Mode};
use serde_json::{Value, json};
use world::World;

/// One container of runc's, sleeping; its program is busybox.
struct Peer {
    dir: PathBuf,
    id: String,
}

impl Peer {
    fn run(resources: &Value) -> Self {
        let id = format!("knarr-cgroups-peer-{}", std::process::id());
        let peer = Self { dir: std::env::temp_dir().join(&id), id };
        fs::create_dir_all(peer.dir.join("rootfs/bin")).unwrap();
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).unwrap();
        fs::copy(busybox, peer.dir.join("rootfs/bin/busybox")).unwrap();
        assert!(Command::new("runc").arg("spec").current_dir(&peer.dir).status().unwrap().success());
        let file = peer.dir.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/busybox", "sleep", "1000"]);
        config["linux"]["cgroupsPath"] = json!(format!("/{}", peer.id));
        config["linux"]["resources"] = resources.clone();
        fs::write(&file, config.to_string()).unwrap();
        let mut run = peer.runc(&["run", "--detach", "--bundle", peer.dir.to_str().unwrap(), &peer.id]);
        let status =
            run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).status().unwrap();
        assert!(status.success());
        peer
    }

    fn runc(&self, args: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.dir.join("state")).args(args);
        command
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.runc(&["delete", "--force", &self.id]).status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Settings, by controller; statistics and what holds processes are not compared, nor a burst, which Debian 12's runc
/// does not know.
const FILES: [(&str, &[&str]); 6] = [
    ("devices", &["devices.list"]),
    (
        "memory",
        &[
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            "memory.soft_limit_in_bytes",
            "memory.swappiness",
            "memory.oom_control",
        ],
    ),
    ("cpu", &["cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"]),
    ("cpuset", &["cpuset.cpus", "cpuset.mems"]),
    ("pids", &["pids.max"]),
    ("freezer", &["freezer.state"]),
];

/// Paths of all values: `memory.usage.limit`. What lies below `raw` is the kernel's.
fn fields(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if path != "memory.raw" => {
            for (key, value) in map {
                fields(value, format!("{path}.{key}").trim_start_matches('.'), all);
            }
        }
        _ => drop(all.insert(path.to_owned())),
    }
}

#[test]
fn runc_leaves_the_same_values_and_fields() {
    let installed = Command::new("runc").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !installed || Hierarchies::discover().unwrap().mode() == Mode::Unified {
        eprintln!("skipped: runc is not installed, or cgroup v1 is not mounted here");
        return;
    }
    let resources = json!({
        "devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": true, "type": "b", "major": 8, "access": "r"},
            {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "w"}
        ],
        "memory": {"limit": 104_857_600, "swap": 209_715_200, "reservation": 52_428_800, "swappiness": 10},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"},
        "pids": {"limit": 77}
    });
    let peer = Peer::run(&resources);
    let world = World::made(&resources.to_string());
    for (controller, files) in FILES {
        let Some(ours) = world.cgroup.paths().get(controller) else { continue };
        let theirs = ours.with_file_name(&peer.id);
        for file in files {
            let read = |path: &Path| fs::read_to_string(path.join(file)).ok();
            assert_eq!(read(ours), read(&theirs), "{file}");
        }
    }

    let output = peer.runc(&["events", "--stats", &peer.id]).output().unwrap();
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    let paths = world.cgroup.paths().iter().map(|(name, path)| (name.clone(), path.with_file_name(&peer.id)));
    let stats = serde_json::to_value(Cgroup::from_paths(&paths.collect()).stats().unwrap()).unwrap();
    let (mut theirs, mut ours) = (BTreeSet::new(), BTreeSet::new());
    fields(&event["data"], "", &mut theirs);
    fields(&stats, "", &mut ours);
    // Not about cgroups.
    theirs.retain(|field| field != "intel_rdt" && field != "network_interfaces");
    // Older ones speak of burst or pressure less than we do, never of more.
    let missing: Vec<_> = theirs.difference(&ours).collect();
    assert!(missing.is_empty(), "{missing:?} in {stats}");
    assert!(theirs.len() > 30, "{theirs:?}");
}
