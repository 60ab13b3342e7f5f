//! Pure version 2: each test below `inside` runs in a mount namespace where cgroup2 is all there is on
//! `/sys/fs/cgroup`, whatever the machine has mounted. Controllers that version 1 holds are missing there.

#![allow(clippy::unwrap_used)]

mod world;

use std::process::Command;

/// Runs this binary once more, inside; its output is shown if a test fails there.
#[test]
fn in_a_mount_namespace_with_cgroup2_only() {
    let script = r#"
        [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 none /sys/fs/cgroup
        exec "$0" --ignored --test-threads=4"#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", script])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("12 passed"), "{text}");
}

mod inside {
    use std::os::fd::AsRawFd;
    use std::path::Path;
    use std::process::Command;

    use knarr_cgroups::{Already, Cgroup, CpuSetStats, DeviceRules, Mode, Request};
    use rustix::process::{Pid, Signal};

    use crate::world::{World, cgroups_of, eventually, text, waiting_shell};

    /// A controller that the unified hierarchy really has, if any.
    fn controllers() -> String {
        std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap()
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn one_hierarchy_one_directory() {
        let mut world = World::made("{}");
        assert_eq!(world.hierarchies.mode(), Mode::Unified);
        assert_eq!(world.cgroup.paths().len(), 1);
        assert_eq!(world.path(""), Path::new("/sys/fs/cgroup").join(&world.top[1..]));
        let pid = world.shell("exit 0");
        let last = format!("0::{}", world.top);
        assert!(cgroups_of(pid).lines().any(|line| line == last));
        assert_eq!(world.cgroup.processes().unwrap(), [pid]);
        // A process that was cloned into it is not moved again.
        world.cgroup.join(Pid::from_raw(1).unwrap(), Already::Unified).unwrap();
        assert!(world.cgroup.clone_dir().unwrap().as_raw_fd() > 2);
        world.go();
        world.wait();
        world.cgroup.delete().unwrap();
        world.assert_gone();
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn controllers_are_enabled_on_the_way_down() {
        let mut world = World::below("a/b");
        world.cgroup.create(&world.limits("{}")).unwrap();
        assert_eq!(world.read("", "cgroup.controllers"), controllers().trim());
        world.delete_with_parents();
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn a_limit_of_a_missing_controller_is_told_as_such() {
        if controllers().split_whitespace().any(|name| name == "pids") {
            eprintln!("skipped: the pids controller is in version 2 here");
            return;
        }
        let world = World::made("{}");
        let path = world.path("").display().to_string();
        let told =
            |json: &str| text(&world.cgroup.apply(&world.limits_with(json, DeviceRules::Keep)).unwrap_err());
        assert_eq!(
            told(r#"{"pids":{"limit":5}}"#),
            format!("cannot set pids.max: controller pids is not available in {path}")
        );
        assert_eq!(
            told(r#"{"unified":{"memory.high":"5"}}"#),
            "unified resource \"memory.high\" can't be set: controller \"memory\" not available"
        );
        assert_eq!(
            told(r#"{"unified":{"cgroup.no":"5"}}"#),
            format!(
                "unable to set unified resource \"cgroup.no\": open {path}/cgroup.no: no such file or directory"
            )
        );
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn hugepage_limits_and_unified_are_written() {
        if !controllers().split_whitespace().any(|name| name == "hugetlb") {
            eprintln!("skipped: the hugetlb controller is not in version 2 here");
            return;
        }
        let json =
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}],"unified":{"cgroup.max.depth":"3"}}"#;
        let world = World::made(json);
        assert_eq!(world.read("", "hugetlb.2MB.max"), "4194304");
        assert_eq!(world.read("", "hugetlb.2MB.rsvd.max"), "4194304");
        assert_eq!(world.read("", "cgroup.max.depth"), "3");
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn the_device_program_decides_and_is_replaced() {
        let mut world = World::made("{}");
        let probe = "head -c1 /dev/zero >/dev/null && { : </dev/kmsg; } 2>/dev/null && echo open";
        assert_eq!(world.run(probe).stdout, b"");
        let allow = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#;
        // More programs would all have to agree: that it opens shows that the first one is gone.
        world.cgroup.apply(&world.limits(allow)).unwrap();
        assert_eq!(world.run(probe).stdout, b"open\n");
        let write = "{ : >/dev/kmsg; } 2>/dev/null && echo open";
        assert_eq!(world.run(write).stdout, b"");
        world.cgroup.apply(&world.limits("{}")).unwrap();
        assert_eq!(world.run(probe).stdout, b"");
        world.cgroup.apply(&world.limits(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#)).unwrap();
        assert_eq!(world.run(probe).stdout, b"open\n");
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn a_spinner_stops_while_frozen() {
        World::made("{}").assert_freezes_a_spinner();
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn without_bpf_only_what_forbids_nothing_is_taken() {
        let name = "without_bpf_only_what_forbids_nothing_is_taken";
        if std::env::var_os(name).is_none() {
            let output = Command::new("setpriv")
                .args([
                    "--bounding-set",
                    "-bpf,-net_admin,-sys_admin",
                    "--inh-caps",
                    "-bpf,-net_admin,-sys_admin",
                ])
                .arg(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", &format!("inside::{name}")])
                .env(name, "1")
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        let mut world = World::new();
        world.cgroup.create(&world.limits("{}")).unwrap();
        world.cgroup.apply(&world.limits(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#)).unwrap();
        let error = text(&world.cgroup.apply(&world.limits("{}")).unwrap_err());
        assert_eq!(error, "bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not permitted");
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn kill_and_delete_take_all_below_and_the_frozen() {
        let mut world = World::made("{}");
        let below = world.path("").join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let mut nested = waiting_shell("sleep 1000");
        let cgroup = Cgroup::from_paths(&[(String::new(), below)].into());
        cgroup.join(Pid::from_child(&nested), Already::Nowhere).unwrap();
        world.fork_without_end();
        world.cgroup.freeze().unwrap();
        world.cgroup.kill(Signal::KILL).unwrap();
        world.cgroup.delete().unwrap();
        world.assert_gone();
        assert!(!nested.wait().unwrap().success());
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn below_a_threaded_cgroup_only_threaded_controllers_are_had() {
        let world = World::made("{}");
        let path = format!("{}/x/y", world.top);
        let mut cgroup =
            Cgroup::locate(&world.hierarchies, &Request { cgroups_path: &path, ..Request::default() })
                .unwrap();
        std::fs::create_dir(world.path("").join("x")).unwrap();
        // A cgroup with domain controllers below it cannot become a threaded domain.
        for controller in controllers().split_whitespace() {
            std::fs::write(world.path("").join("cgroup.subtree_control"), format!("-{controller}")).unwrap();
        }
        std::fs::write(world.path("").join("x/cgroup.type"), "threaded").unwrap();
        let limits = world.limits(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#);
        let error = cgroup.create(&limits).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot enter cgroupv2 \"/sys/fs/cgroup{path}\" with domain controllers -- it is in an invalid state"
            )
        );
        assert!(!cgroup.exists(), "what was made is taken back");
        cgroup.create(&world.limits("{}")).unwrap();
        assert_eq!(
            std::fs::read_to_string(format!("/sys/fs/cgroup{path}/cgroup.type")).unwrap().trim(),
            "threaded"
        );
        cgroup.delete().unwrap();
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn a_relative_path_is_a_sibling_of_our_own() {
        let world = World::new();
        let request = Request { id: "knarr-never-made", ..Request::default() };
        let cgroup = Cgroup::locate(&world.hierarchies, &request).unwrap();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned();
        let parent = Path::new(&own).parent().unwrap_or(Path::new("/"));
        let expected =
            Path::new("/sys/fs/cgroup").join(parent.strip_prefix("/").unwrap()).join("knarr-never-made");
        assert_eq!(cgroup.paths()[""], expected);
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn statistics_are_what_there_is() {
        let mut world = World::made("{}");
        world.shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000");
        world.go();
        eventually("time is counted", || world.cgroup.stats().unwrap().cpu.usage.total > 0);
        let stats = world.cgroup.stats().unwrap();
        assert!(stats.pids.current >= 1, "{stats:?}");
        assert!(stats.cpu.psi.is_some(), "{stats:?}");
        assert_eq!(stats.hugetlb.contains_key("2MB"), controllers().contains("hugetlb"), "{stats:?}");
        assert_eq!(stats.cpuset, CpuSetStats::default());
        assert_eq!(world.cgroup.oom_kills().unwrap(), 0);
    }

    #[test]
    #[ignore = "run by in_a_mount_namespace_with_cgroup2_only"]
    fn a_delegated_cgroup_belongs_to_the_user_but_its_limits_do_not() {
        use std::os::unix::fs::MetadataExt;
        let world = World::made("{}");
        world.cgroup.delegate(4711).unwrap();
        let owner = |file: &str| std::fs::metadata(world.path("").join(file)).unwrap().uid();
        assert_eq!(["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"].map(owner), [4711; 4]);
        assert_eq!(["cgroup.freeze", "cgroup.max.depth", "cgroup.kill"].map(owner), [0; 3]);
    }
}
