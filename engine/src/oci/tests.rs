//! Whole configurations: as JSON, and run by the real runtime.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use super::*;
use crate::container::State;
use crate::error::Error;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn record(config: Value, host: Value) -> Record {
    let mut config = config;
    config.as_object_mut().unwrap().entry("Hostname").or_insert(json!("0123456789ab"));
    let (mut defaults, host) =
        (json!({"ShmSize": 64 << 20, "IpcMode": "private", "CgroupnsMode": "private"}), host);
    defaults.as_object_mut().unwrap().extend(host.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "id": ID, "name": "x", "created": "2026-01-01T00:00:00Z", "image": "sha256:0", "path": "sh", "args": ["-c", "true"],
        "config": config, "host_config": defaults, "mounts": [], "networks": {}, "ports": {}, "state": State::default(),
        "restart_count": 0, "stopped_by_hand": false, "removing": false,
    }))
    .unwrap()
}

struct Container {
    record: Record,
    settings: Settings,
    mounts: Vec<Mount>,
    network: Network,
    joined: Joined,
    /// Its folder, and below it `rootfs`.
    folder: tempfile::TempDir,
}

impl Container {
    fn new(config: Value, host: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("rootfs")).unwrap();
        Self {
            record: record(config, host),
            settings: Settings::new(Path::new("/opt")),
            mounts: Vec::new(),
            network: Network::Private("/run/network.json".into()),
            joined: Joined::default(),
            folder,
        }
    }

    fn try_configuration(&self) -> Result<Value, Error> {
        let root = File::open(self.folder.path().join("rootfs")).unwrap();
        let spec = Spec {
            record: &self.record,
            settings: &self.settings,
            root: root.as_fd(),
            folder: self.folder.path(),
            mounts: &self.mounts,
            network: &self.network,
            joined: self.joined.clone(),
        };
        configuration(&spec).map(|configuration| serde_json::to_value(configuration).unwrap())
    }

    fn configuration(&self) -> Value {
        self.try_configuration().unwrap()
    }
}

fn places(configuration: &Value) -> Vec<&str> {
    let mounts = configuration["mounts"].as_array().unwrap();
    mounts.iter().filter_map(|mount| mount["destination"].as_str()).collect()
}

fn options<'a>(configuration: &'a Value, place: &str) -> Vec<&'a str> {
    let mounts = configuration["mounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["destination"] == place).unwrap();
    mount["options"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

fn namespaces(configuration: &Value) -> Vec<(&str, Option<&str>)> {
    let list = configuration["linux"]["namespaces"].as_array().unwrap();
    list.iter().map(|one| (one["type"].as_str().unwrap(), one["path"].as_str())).collect()
}

fn bind(target: &str, access: Access, propagation: &str) -> Mount {
    let propagation = propagation.to_owned();
    Mount::Bind(Bind {
        source: "/srv".into(),
        target: target.to_owned(),
        access,
        propagation,
        recursive: true,
    })
}

#[test]
fn a_plain_container_is_dockers() {
    let found = Container::new(json!({"Tty": true}), json!({"ConsoleSize": [24, 80]})).configuration();
    let process = &found["process"];
    assert_eq!(
        (&found["hostname"], &found["root"]),
        (&json!("0123456789ab"), &json!({"path": "rootfs", "readonly": false}))
    );
    assert_eq!((&process["args"], &process["cwd"]), (&json!(["sh", "-c", "true"]), &json!("/")));
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(process["env"], json!([path, "HOSTNAME=0123456789ab", "TERM=xterm"]));
    assert_eq!(
        (&process["terminal"], &process["consoleSize"]),
        (&json!(true), &json!({"height": 24, "width": 80}))
    );
    assert_eq!(process["user"], json!({"uid": 0, "gid": 0, "additionalGids": [0]}));
    assert_eq!((&process["noNewPrivileges"], &process["oomScoreAdj"]), (&json!(false), &json!(0)));
    assert!(process.get("rlimits").is_none());
    assert_eq!(process["capabilities"]["bounding"].as_array().unwrap().len(), 14);
    let kernel = ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"];
    let own = ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"];
    assert_eq!(places(&found), [&kernel[..], &own[..]].concat());
    assert_eq!(options(&found, "/dev/shm"), ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]);
    let expected = ["mount", "network", "uts", "pid", "ipc", "cgroup"].map(|kind| (kind, None));
    assert_eq!(namespaces(&found), expected);
    let linux = &found["linux"];
    assert_eq!(linux["cgroupsPath"], format!("/docker/{ID}"));
    assert_eq!(linux["sysctl"]["net.ipv4.ip_unprivileged_port_start"], "0");
    assert_eq!(linux["resources"]["devices"].as_array().unwrap().len(), 8);
    assert_eq!(linux["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(linux["maskedPaths"].as_array().unwrap().contains(&json!("/proc/kcore")));
    assert_eq!(linux["readonlyPaths"].as_array().unwrap().len(), 5);
    let hook = |act| json!([{"path": "/opt/knarr-netns", "args": ["knarr-netns", act, "/run/network.json"]}]);
    assert_eq!(found["hooks"], json!({"createRuntime": hook("setup")}));
}

#[test]
fn a_privileged_container_has_everything() {
    let found = Container::new(json!({}), json!({"Privileged": true})).configuration();
    let linux = &found["linux"];
    for absent in ["seccomp", "maskedPaths", "readonlyPaths"] {
        assert!(linux.get(absent).is_none(), "{absent}");
    }
    assert!(!options(&found, "/sys").contains(&"ro") && !options(&found, "/sys/fs/cgroup").contains(&"ro"));
    assert_eq!(
        linux["resources"]["devices"].as_array().unwrap().last().unwrap(),
        &json!({"allow": true, "access": "rwm"})
    );
    assert!(linux["devices"].as_array().unwrap().len() > 5);
    assert_eq!(
        found["process"]["capabilities"]["effective"].as_array().unwrap().len(),
        capabilities::every().len()
    );
}

#[test]
fn namespaces_that_are_shared() {
    let mut container = Container::new(
        json!({"Hostname": ""}),
        json!({"PidMode": "container:a", "IpcMode": "container:b", "UTSMode": "host", "CgroupnsMode": "host"}),
    );
    container.network = Network::Join("/proc/1/ns/net".into());
    container.joined = Joined {
        pid: Some("/proc/2/ns/pid".into()),
        ipc: Some("/proc/3/ns/ipc".into()),
        shm: Some("/shm".into()),
    };
    let found = container.configuration();
    let expected = [
        ("mount", None),
        ("network", Some("/proc/1/ns/net")),
        ("pid", Some("/proc/2/ns/pid")),
        ("ipc", Some("/proc/3/ns/ipc")),
    ];
    assert_eq!(namespaces(&found), expected);
    assert!(found.get("hostname").is_none() && found.get("hooks").is_none());
    assert_eq!(found["linux"]["sysctl"], json!({}));
    let shm =
        found["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == "/dev/shm").unwrap();
    assert_eq!((&shm["type"], &shm["source"]), (&json!("bind"), &json!("/shm")));

    let mut container = Container::new(json!({}), json!({"PidMode": "host", "IpcMode": "host"}));
    container.network = Network::Host;
    let found = container.configuration();
    assert_eq!(namespaces(&found), [("mount", None), ("uts", None), ("cgroup", None)]);
    assert_eq!(options(&found, "/dev/shm"), ["rbind", "rprivate"]);
}

#[test]
fn users_mounts_replace_the_defaults_in_order_of_depth() {
    let mut container = Container::new(json!({}), json!({"IpcMode": "none", "ReadonlyRootfs": true}));
    container.mounts = vec![
        bind("/a/b/c", Access::Writable, ""),
        bind("/etc/hosts", Access::ReadOnly, "rprivate"),
        bind("/sys/", Access::RecursivelyReadOnly, "private"),
        Mount::Tmpfs { target: "/a".to_owned(), options: "size=1m,exec".to_owned() },
    ];
    let found = container.configuration();
    let expected = [
        "/proc",
        "/dev",
        "/dev/pts",
        "/sys/fs/cgroup",
        "/dev/mqueue", // and no /dev/shm
        "/sys",
        "/a",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/hostname",
        "/a/b/c",
    ];
    assert_eq!(places(&found), expected);
    assert_eq!(options(&found, "/etc/hosts"), ["rbind", "ro", "rprivate"]);
    assert_eq!(options(&found, "/sys"), ["rbind", "rro", "private"]);
    assert_eq!(options(&found, "/etc/hostname"), ["rbind", "rro", "rprivate"]);
    assert_eq!(options(&found, "/a"), ["nosuid", "nodev", "rprivate", "size=1m", "exec"]);
    assert_eq!(options(&found, "/a/b/c"), ["rbind"]);
    assert!(options(&found, "/sys/fs/cgroup").contains(&"ro") && !options(&found, "/dev").contains(&"ro"));

    container.mounts = vec![bind("/dev", Access::Writable, "")];
    assert!(places(&container.configuration()).iter().all(|place| !place.starts_with("/dev/")));
}

#[test]
fn init_is_bound_and_put_before_the_program() {
    let mut container = Container::new(json!({}), json!({"Init": true}));
    container.settings.init = Some("/usr/bin/tini-static".into());
    let found = container.configuration();
    assert_eq!(found["process"]["args"], json!(["/sbin/docker-init", "--", "sh", "-c", "true"]));
    assert_eq!(options(&found, "/sbin/docker-init"), ["bind", "ro"]);
    container.settings.init = None;
    let error = container.try_configuration().unwrap_err();
    assert!(error.message.contains("\"docker-init\": executable file not found"), "{error}");
}

#[test]
fn cgroups_by_driver_and_parent() {
    let mut settings = Settings::new(Path::new("/opt"));
    for (driver, own, default, expected) in [
        (CgroupDriver::Cgroupfs, "", "", "/docker/id"),
        (CgroupDriver::Cgroupfs, "", "/all", "/all/id"),
        (CgroupDriver::Cgroupfs, "mine", "/all", "/mine/id"),
        (CgroupDriver::Cgroupfs, "/a/../../../b/", "", "/b/id"),
        (CgroupDriver::Systemd, "", "", "system.slice:docker:id"),
        (CgroupDriver::Systemd, "my.slice", "x.slice", "my.slice:docker:id"),
    ] {
        settings.cgroup_driver = driver;
        default.clone_into(&mut settings.cgroup_parent);
        assert_eq!(cgroup("id", own, &settings), Path::new(expected));
    }
}

#[test]
fn an_exec_is_like_its_container() {
    let container = Container::new(
        json!({"Env": ["A=1", "B=2"], "WorkingDir": "/w", "User": "7:8"}),
        json!({"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}]}),
    );
    let root = File::open(container.folder.path().join("rootfs")).unwrap();
    let run = |asked: Value, size| {
        let asked = serde_json::from_value(asked).unwrap();
        process(&container.record, &asked, size, root.as_fd())
            .map(|process| serde_json::to_value(process).unwrap())
    };
    let plain = run(json!({"Cmd": ["ls"], "Env": ["B=3", "C=4"]}), Some([1, 2])).unwrap();
    assert_eq!((&plain["cwd"], &plain["noNewPrivileges"]), (&json!("/w"), &json!(true)));
    assert_eq!(plain["user"], json!({"uid": 7, "gid": 8, "additionalGids": [8]}));
    assert_eq!(
        plain["env"].as_array().unwrap()[1..],
        [json!("HOSTNAME=0123456789ab"), json!("A=1"), json!("B=3"), json!("C=4")]
    );
    assert_eq!((&plain["capabilities"]["bounding"], plain.get("consoleSize")), (&json!([]), None));
    assert_eq!(plain["rlimits"], json!([{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}]));
    let other = json!({"Cmd": ["ls"], "User": "9", "WorkingDir": "/x", "Privileged": true, "Tty": true});
    let other = run(other, Some([1, 2])).unwrap();
    assert_eq!((&other["cwd"], &other["user"]["uid"]), (&json!("/x"), &json!(9)));
    assert_eq!(
        (&other["terminal"], &other["consoleSize"]),
        (&json!(true), &json!({"height": 1, "width": 2}))
    );
    assert_eq!(other["capabilities"]["permitted"].as_array().unwrap().len(), capabilities::every().len());
    assert_eq!(run(json!({}), None).unwrap_err().message, "No exec command specified");
}

/// The runtime under test, and a static busybox for its containers.
fn run(container: &Container, script: &str) -> String {
    let knarr = std::env::var_os("KNARR").expect("KNARR names the runtime");
    let rootfs = container.folder.path().join("rootfs");
    for folder in ["bin", "etc", "proc", "dev", "sys", "tmp", "sbin"] {
        fs::create_dir_all(rootfs.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nme:x:1000:1001::/:/bin/sh\n").unwrap();
    fs::write(rootfs.join("etc/group"), "root:x:0:\nmore:x:2000:me\n").unwrap();
    for name in ["hosts", "hostname", "resolv.conf"] {
        let path = container.folder.path().join(name);
        fs::write(&path, "of the engine\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let mut configuration = container.configuration();
    configuration["process"]["args"] = json!(["/bin/busybox", "sh", "-c", script]);
    let text = serde_json::to_vec(&configuration).unwrap();
    fs::write(container.folder.path().join("config.json"), text).unwrap();
    let state = container.folder.path().join("state");
    let id = format!(
        "oci-{}",
        container.folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.')
    );
    let mut command = Command::new(knarr);
    command.arg("--root").arg(&state).args(["run", "--bundle"]).arg(container.folder.path()).arg(id);
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

#[test]
#[ignore = "needs root, a static busybox and KNARR"]
fn the_runtime_runs_what_is_written() {
    let mut container = Container::new(
        json!({"User": "me", "WorkingDir": "/new/place", "Env": ["A=b"]}),
        json!({
            "CgroupParent": "/", "ReadonlyRootfs": true, "ShmSize": 1 << 20, "GroupAdd": ["77"], "OomScoreAdj": 100,
            "SecurityOpt": ["no-new-privileges"], "Ulimits": [{"Name": "nofile", "Soft": 99, "Hard": 100}],
            "Memory": 64 << 20, "PidsLimit": 50, "CapDrop": ["MKNOD"],
        }),
    );
    container.network = Network::Host;
    container.mounts =
        vec![Mount::Tmpfs { target: "/tmp".to_owned(), options: "size=1m,mode=1777".to_owned() }];
    let script = "b() { /bin/busybox \"$@\"; }; b id; b hostname; b pwd; echo $A $HOSTNAME; ulimit -n; b cat /proc/self/oom_score_adj \
        /etc/hosts; b grep -E '^(NoNewPrivs|Seccomp|CapBnd):' /proc/self/status; echo x > /tmp/x && echo wrote; \
        echo x 2>/dev/null > /x || echo kept; b df -k /dev/shm | b grep -c 1024";
    let found = run(&container, script);
    let expected = "uid=1000(me) gid=1001 groups=77,1001,2000(more)\n0123456789ab\n/new/place\nb 0123456789ab\n99\n100\nof the engine\n\
        CapBnd:\t00000000a00425fb\nNoNewPrivs:\t1\nSeccomp:\t2\nwrote\nkept\n1\n";
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        if let Some(groups) = lines.first_mut() {
            let (head, list) =
                groups.split_once("groups=").map(|(head, list)| (head.to_owned(), list.to_owned())).unwrap();
            let mut list: Vec<_> = list.split(',').collect();
            list.sort_unstable();
            *groups = format!("{head}groups={}", list.join(","));
        }
        lines
    };
    assert_eq!(sorted(&found), sorted(expected));
}
