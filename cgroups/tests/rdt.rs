//! `linux.intelRdt` against a tree of files that looks like resctrl: few machines have the hardware.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use knarr_cgroups::rdt::{IntelRdt, ResctrlGroup};

struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("knarr-resctrl-{name}-{}", std::process::id()));
        let tree = Self(root);
        tree.file("schemata", "L3:0=fffff\n MB:0=100\n");
        tree.file("info/last_cmd_status", "ok\n");
        tree.file("info/L3/cbm_mask", "fffff\n");
        tree.file("info/L3/min_cbm_bits", "1\n");
        tree.file("info/L3/num_closids", "16\n");
        tree.file("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\n");
        tree
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(json: &str) -> IntelRdt {
    serde_json::from_str(json).unwrap()
}

fn text(error: &dyn std::error::Error) -> String {
    format!("{error}: {}", error.source().unwrap())
}

#[test]
fn a_group_is_made_joined_measured_and_removed() {
    let tree = Tree::new("life");
    let config = config(r#"{"l3CacheSchema":"L3:0=7f0","memBwSchema":"MB:0=20"}"#);
    let group = ResctrlGroup::locate(&tree.0, "box", &config).unwrap();
    // The kernel fills a new group; here its files have to be there before.
    tree.file("box/schemata", "");
    tree.file("box/tasks", "");
    tree.file("box/mon_data/mon_L3_00/llc_occupancy", "4096\n");
    tree.file("box/mon_data/mon_L3_00/mbm_total_bytes", "8192\n");
    group.create(&config).unwrap();
    assert_eq!(tree.read("box/schemata"), "L3:0=7f0\nMB:0=20\n");
    let pid = rustix::process::getpid();
    group.join(pid).unwrap();
    assert_eq!(tree.read("box/tasks"), pid.as_raw_nonzero().to_string());
    assert_eq!(
        serde_json::to_string(&group.stats().unwrap()).unwrap(),
        concat!(
            r#"{"l3_cache_info":{"cbm_mask":"fffff","min_cbm_bits":1,"num_closids":16},"l3_cache_schema_root":"L3:0=fffff","#,
            r#""l3_cache_schema":"L3:0=7f0","schemata":["L3:0=7f0","MB:0=20"],"#,
            r#""mbm_stats":[{"mbm_total_bytes":8192,"mbm_local_bytes":0}],"cmt_stats":[{"llc_occupancy":4096}]}"#
        )
    );
    // The kernel removes a group with its files, a plain tree only an empty one.
    fs::remove_dir_all(tree.0.join("box")).unwrap();
    fs::create_dir(tree.0.join("box")).unwrap();
    group.delete().unwrap();
    assert!(!group.path().exists());
    group.delete().unwrap();
}

#[test]
fn a_shared_group_stays_and_its_monitoring_group_goes() {
    let tree = Tree::new("shared");
    let config = config(r#"{"closID":"gold","enableMonitoring":true}"#);
    let group = ResctrlGroup::locate(&tree.0, "box", &config).unwrap();
    assert_eq!(
        text(&group.create(&config).unwrap_err()),
        format!(
            "clos dir {} not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty): \
             no such file or directory",
            tree.0.join("gold").display()
        )
    );
    tree.file("gold/tasks", "");
    fs::create_dir(tree.0.join("gold/mon_groups")).unwrap();
    group.create(&config).unwrap();
    assert!(group.monitoring_path().unwrap().is_dir());
    group.delete().unwrap();
    assert!(!group.monitoring_path().unwrap().exists());
    assert!(group.path().is_dir());
}

#[test]
fn the_kernels_explanation_is_told() {
    let tree = Tree::new("explain");
    tree.file("info/last_cmd_status", "Unknown or unsupported resource name 'L4'\n");
    let config = config(r#"{"schemata":["L4:0=f"]}"#);
    let group = ResctrlGroup::locate(Path::new(&tree.0), "box", &config).unwrap();
    assert_eq!(
        text(&group.create(&config).unwrap_err()),
        "intelrdt: unable to write \"L4:0=f\\n\", last_cmd_status: Unknown or unsupported resource name 'L4': \
         no such file or directory"
    );
}
