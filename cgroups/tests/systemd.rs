//! The systemd driver against a real systemd: one is booted in namespaces of its own, on pure version 2 and a read-only
//! root, with nothing but a bus daemon and, as its only service, this binary with the tests below `inside`. They run
//! twice, through the bus daemon and on systemd's own socket.

#![allow(clippy::unwrap_used)]

mod world;

use std::path::{Path, PathBuf};
use std::process::Command;

/// `$1` is the cgroup's name, `$2` where the tests' output goes, `$0` this binary. systemd leaves when the service has
/// ended; its exit status says how.
const BOOT: &str = r#"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 none /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$1"
echo $$ >"/sys/fs/cgroup/$1/cgroup.procs"
exec unshare --cgroup --mount sh -euc '
umount /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t proc proc /proc
mount -t tmpfs none /run
mkdir -p /run/lock /run/out /run/systemd/system
mount --bind "$2" /run/out
: >/run/tests
mount --bind "$0" /run/tests
mount -t tmpfs none /tmp
mount -o bind,remount,ro /
cd /run/systemd/system
cat >dbus.socket <<END
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
END
cat >dbus.service <<END
[Unit]
DefaultDependencies=no
Requires=dbus.socket
[Service]
Type=notify
ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation
END
cat >tests.service <<END
[Unit]
DefaultDependencies=no
Requires=dbus.service
After=dbus.service
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
Environment=KNARR_WORLD=systemd
StandardOutput=append:/run/out/log
StandardError=append:/run/out/log
ExecStart=/run/tests --ignored --test-threads=1
ExecStart=env DBUS_SYSTEM_BUS_ADDRESS=unix:path=/no/such/bus /run/tests --ignored --test-threads=1
END
exec env -i container=knarr PATH="$PATH" /lib/systemd/systemd --system --unit=tests.service --show-status=false
' "$0" "$1" "$2"
"#;

#[test]
fn with_a_systemd_of_its_own() {
    if !Path::new("/lib/systemd/systemd").exists() || !Path::new("/usr/bin/dbus-daemon").exists() {
        let skipped = "skipped: systemd or dbus-daemon is not installed here";
        assert!(std::env::var_os("KNARR_TEST_NO_SKIP").is_none(), "{skipped}");
        eprintln!("{skipped}");
        return;
    }
    assert!(rustix::process::geteuid().is_root(), "these tests make cgroups: run them as root");
    let name = format!("knarr-systemd-{}", std::process::id());
    let out = std::env::temp_dir().join(&name);
    std::fs::create_dir(&out).unwrap();
    let status = Command::new("timeout")
        .args(["--signal=KILL", "120", "unshare", "--mount", "--propagation", "private", "--pid", "--fork"])
        .args(["--kill-child", "--uts", "--ipc", "sh", "-euc", BOOT])
        .arg(std::env::current_exe().unwrap())
        .args([name.as_str(), out.to_str().unwrap()])
        .status()
        .unwrap();
    let log = std::fs::read_to_string(out.join("log")).unwrap_or_default();
    std::fs::remove_dir_all(&out).unwrap();
    remove_cgroups(&name);
    assert!(status.success(), "{status}\n{log}");
    assert_eq!(log.matches("test result: ok. 5 passed").count(), 2, "{log}");
}

/// What systemd leaves of its own tree.
fn remove_cgroups(name: &str) {
    let hierarchies = knarr_cgroups::Hierarchies::discover().unwrap();
    let unified = hierarchies
        .iter()
        .find(|hierarchy| hierarchy.is_v2())
        .map(|hierarchy| hierarchy.mount_point.join(name));
    let paths = unified.map(|path: PathBuf| [(String::new(), path)].into()).unwrap_or_default();
    knarr_cgroups::Cgroup::from_paths(&paths).delete().unwrap();
}

mod inside {
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Output};

    use knarr_cgroups::{Already, Cgroup, DeviceRules, Driver, Hierarchies, Limits, Mode, Request};
    use rustix::process::{Pid, Signal};

    use crate::world::{text, waiting_shell};

    fn limits(json: &str) -> Limits {
        Limits::compile(&serde_json::from_str(json).unwrap(), Mode::Unified, DeviceRules::Apply).unwrap()
    }

    /// A scope that has not been started.
    fn located(id: &str, annotations: &[(&str, &str)]) -> Cgroup {
        let hierarchies = Hierarchies::discover().unwrap();
        let request =
            Request { id, driver: Driver::Systemd, scope_prefix: "knarr", annotations, ..Request::default() };
        Cgroup::locate(&hierarchies, &request).unwrap()
    }

    fn started(id: &str, json: &str, script: &str) -> (Cgroup, Child) {
        let mut cgroup = located(id, &[]);
        cgroup.create(&limits(json)).unwrap();
        let child = join(&cgroup, script);
        (cgroup, child)
    }

    fn join(cgroup: &Cgroup, script: &str) -> Child {
        let child = waiting_shell(script);
        cgroup.join(Pid::from_child(&child), Already::Nowhere).unwrap();
        child
    }

    /// Properties as systemctl prints them.
    fn show(unit: &str, properties: &str) -> String {
        let output =
            Command::new("systemctl").args(["show", unit, "--property", properties]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(cgroup: &Cgroup, script: &str) -> Output {
        let mut child = join(cgroup, script);
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\n").unwrap();
        child.wait_with_output().unwrap()
    }

    #[test]
    #[ignore = "run by with_a_systemd_of_its_own"]
    fn a_scope_has_its_limits_from_the_start_and_loses_them_never() {
        let annotations = [("org.systemd.property.TimeoutStopSec", "7"), ("other", "x")];
        let mut cgroup = located("limits", &annotations);
        let json = r#"{"memory":{"limit":104857600,"swap":209715200},"pids":{"limit":99},
            "cpu":{"shares":512,"quota":12345,"period":100000,"cpus":"0"},"unified":{"memory.high":"52428800"}}"#;
        cgroup.create(&limits(json)).unwrap();
        assert!(!cgroup.exists(), "there is no scope without a process");
        let mut child = join(&cgroup, "exit 0");
        let pid = Pid::from_child(&child);
        assert_eq!(cgroup.paths()[""], Path::new("/sys/fs/cgroup/system.slice/knarr-limits.scope"));
        assert_eq!(cgroup.processes().unwrap(), [pid]);
        let names = "Slice,Delegate,TimeoutStopUSec,MemoryMax,MemorySwapMax,MemoryHigh,TasksMax,CPUWeight,\
                     CPUQuotaPerSecUSec,AllowedCPUs,DevicePolicy";
        let shown = show("knarr-limits.scope", names);
        for line in [
            "Slice=system.slice",
            "Delegate=yes",
            "TimeoutStopUSec=7s",
            "MemoryMax=104857600",
            "MemorySwapMax=104857600",
            "MemoryHigh=52428800",
            "TasksMax=99",
            "CPUWeight=59",
            "CPUQuotaPerSecUSec=130ms",
            "AllowedCPUs=0",
            "DevicePolicy=strict",
        ] {
            assert!(shown.lines().any(|other| other == line), "{line} is not in\n{shown}");
        }
        cgroup.delete().unwrap();
        assert!(!child.wait().unwrap().success(), "a stopped unit's processes are ended");
        assert!(!cgroup.exists());
        assert_eq!(show("knarr-limits.scope", "ActiveState"), "ActiveState=inactive\n");
    }

    #[test]
    #[ignore = "run by with_a_systemd_of_its_own"]
    fn device_rules_survive_a_reload() {
        let allow = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#;
        let (cgroup, mut child) = started("devices", allow, "sleep 1000");
        cgroup.apply(&limits(allow)).unwrap();
        let probe = "{ : </dev/kmsg; } 2>/dev/null && echo open";
        assert_eq!(run(&cgroup, probe).stdout, b"open\n");
        assert!(Command::new("systemctl").arg("daemon-reload").status().unwrap().success());
        assert_eq!(run(&cgroup, probe).stdout, b"open\n");
        let shown = show("knarr-devices.scope", "DeviceAllow");
        assert!(shown.contains("DeviceAllow=/dev/char/1:11 r\n"), "{shown}");
        cgroup.apply(&limits("{}")).unwrap();
        assert_eq!(run(&cgroup, probe).stdout, b"");
        let shown = show("knarr-devices.scope", "DeviceAllow");
        assert!(!shown.contains("1:11"), "{shown}");
        cgroup.delete().unwrap();
        child.wait().unwrap();
    }

    #[test]
    #[ignore = "run by with_a_systemd_of_its_own"]
    fn an_update_reaches_unit_and_files() {
        let (cgroup, mut child) = started("update", "{}", "sleep 1000");
        let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#;
        cgroup.apply(&limits(json)).unwrap();
        assert_eq!(
            std::fs::read_to_string(cgroup.paths()[""].join("hugetlb.2MB.max")).unwrap().trim(),
            "4194304"
        );
        // Where the controller is not in version 2, systemd takes the property, the file is missing, and that is told.
        if let Err(error) = cgroup.apply(&limits(r#"{"pids":{"limit":5}}"#)) {
            let told = text(&error);
            assert!(told.starts_with("cannot set pids.max: controller pids is not available"), "{told}");
        }
        assert_eq!(show("knarr-update.scope", "TasksMax"), "TasksMax=5\n");
        cgroup.delete().unwrap();
        child.wait().unwrap();
    }

    #[test]
    #[ignore = "run by with_a_systemd_of_its_own"]
    fn reopened_by_its_paths_it_is_joined_killed_and_deleted() {
        let (cgroup, mut child) = started("again", "{}", "sleep 1000");
        let reopened = Cgroup::from_paths(cgroup.paths()).by_systemd();
        let mut second = join(&reopened, "sleep 1000");
        assert_eq!(reopened.processes().unwrap().len(), 2);
        reopened.kill(Signal::KILL).unwrap();
        child.wait().unwrap();
        second.wait().unwrap();
        reopened.delete().unwrap();
        assert!(!reopened.exists());
        reopened.delete().unwrap();
    }

    #[test]
    #[ignore = "run by with_a_systemd_of_its_own"]
    fn a_name_in_use_and_a_bad_slice_are_refused() {
        let (cgroup, mut child) = started("twice", "{}", "sleep 1000");
        let mut other = located("twice", &[]);
        other.create(&limits("{}")).unwrap();
        let mut waiting = waiting_shell("exit 0");
        let error = text(&other.join(Pid::from_child(&waiting), Already::Nowhere).unwrap_err());
        assert!(
            error.starts_with("unable to start unit \"knarr-twice.scope\": StartTransientUnit: Unit "),
            "{error}"
        );
        waiting.kill().unwrap();
        waiting.wait().unwrap();
        assert_eq!(cgroup.processes().unwrap(), [Pid::from_child(&child)], "the first one is as it was");
        cgroup.delete().unwrap();
        child.wait().unwrap();

        let hierarchies = Hierarchies::discover().unwrap();
        let request =
            Request { cgroups_path: "a--b.slice:x:y", driver: Driver::Systemd, ..Request::default() };
        assert_eq!(
            Cgroup::locate(&hierarchies, &request).unwrap_err().to_string(),
            "invalid slice name: a--b.slice"
        );
        let inner: PathBuf = "/sys/fs/cgroup/test.slice/test-a.slice/p-n.scope".into();
        let request = Request { cgroups_path: "test-a.slice:p:n", ..request };
        assert_eq!(Cgroup::locate(&hierarchies, &request).unwrap().paths()[""], inner);
    }
}
