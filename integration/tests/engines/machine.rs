//! The engines on a machine of cgroup v2 alone that systemd runs: both cgroup managers, and a user without rights.
//!
//! One list of cases for all of them, in the words that docker and podman have in common. An emulated machine takes seconds
//! for each command, so a case asserts much of few containers.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use knarr_integration::layout::{SESSION, USER};
use knarr_integration::{Answer, Runtime};

use crate::docker_sees::MOUNTS;
use crate::engine::Engine;
use crate::image::BOX;
use crate::nest::Site;
use crate::suite::Group;
use crate::{docker, named, podman};

const CGROUPS: &str = "/sys/fs/cgroup";

/// Who makes the cgroup matters to `scope` and `limits_and_update`; what docker and podman do alike is asked of one.
pub(crate) fn groups() -> Vec<Group> {
    vec![
        Group {
            name: "v2-docker-systemd",
            start: docker_systemd,
            cases: named![codes_and_texts, limits_and_update, devices, scope],
        },
        Group {
            name: "v2-docker-fs",
            start: docker_cgroupfs,
            cases: named![life, limits_and_update, out_of_memory],
        },
        Group {
            name: "v2-podman-systemd",
            start: podman_systemd,
            cases: named![life, limits_and_update, devices, scope],
        },
        Group {
            name: "v2-podman-fs",
            start: podman_cgroupfs,
            cases: named![limits_and_update, what_it_sees, out_of_memory],
        },
        Group {
            name: "v2-podman-user",
            start: podman_user,
            cases: named![codes_and_texts, exec_and_pause, limits_and_update, what_it_sees],
        },
    ]
}

fn docker_systemd(site: &Site, runtime: Runtime) -> Engine {
    docker(site, "v2-docker-systemd", runtime, "native.cgroupdriver=systemd")
}

fn docker_cgroupfs(site: &Site, runtime: Runtime) -> Engine {
    docker(site, "v2-docker-fs", runtime, "native.cgroupdriver=cgroupfs")
}

/// Podman takes paths of at most 50 bytes, so the names are short.
fn podman_systemd(site: &Site, runtime: Runtime) -> Engine {
    podman(site, "pod-sd", runtime, "systemd")
}

fn podman_cgroupfs(site: &Site, runtime: Runtime) -> Engine {
    podman(site, "pod-fs", runtime, "cgroupfs")
}

/// Without a network, which would need drivers and rules.
fn docker(site: &Site, name: &str, runtime: Runtime, driver: &str) -> Engine {
    let mut engine = Engine::new(site, name, runtime);
    engine.find_cgroups(cgroups_of_containers);
    docker::start_daemon(
        engine,
        Engine::program,
        &["--exec-opt", driver, "--bridge", "none", "--iptables=false"],
    )
}

fn podman(site: &Site, name: &str, runtime: Runtime, manager: &str) -> Engine {
    let mut engine = Engine::new(site, name, runtime);
    engine.find_cgroups(cgroups_of_containers);
    engine.states(PathBuf::from("/run/runc"));
    podman::load_into(engine, Engine::program, &[], manager)
}

/// In a cgroup below the user's own systemd, as in a session.
fn podman_user(site: &Site, runtime: Runtime) -> Engine {
    let mut engine = Engine::new(site, "pod-us", runtime);
    engine.find_cgroups(cgroups_of_containers);
    engine.states(PathBuf::from(format!("/run/user/{USER}/runc")));
    chown(&engine.dir, Some(USER), Some(USER)).expect("give the directory to the user");
    let session = format!("{CGROUPS}{SESSION}/engines.scope");
    give_cgroup(Path::new(&session));
    let enter = format!(
        "echo $$ >{session}/cgroup.procs && exec setpriv --reuid={USER} --regid={USER} --init-groups \
        env HOME=/home/user XDG_RUNTIME_DIR=/run/user/{USER} \
        DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{USER}/bus \"$@\""
    );
    podman::load_into(engine, Engine::program, &["sh", "-c", &enter, "sh"], "systemd")
}

fn give_cgroup(cgroup: &Path) {
    fs::create_dir_all(cgroup).expect("a cgroup");
    for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
        chown(cgroup.join(file), Some(USER), Some(USER)).expect("give the cgroup to the user");
    }
}

/// Every engine puts the container's ID into the name.
fn cgroups_of_containers(_: &Engine) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(CGROUPS)];
    while let Some(folder) = folders.pop() {
        let children = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.extend(children.filter(|path| path.is_dir()));
        if folder.file_name().is_some_and(|name| has_id(&name.to_string_lossy())) {
            found.push(folder);
        }
    }
    found
}

fn has_id(name: &str) -> bool {
    name.split(['-', '.']).any(|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

// ---- what docker and podman have in common ----

fn run(engine: &Engine, flags: &[&str], args: &[&str]) -> Answer {
    engine.call(&[&["run", "--network", "none"], flags, &[BOX], args].concat())
}

fn shell(engine: &Engine, flags: &[&str], script: &str) -> Answer {
    run(engine, &[&["--rm"], flags].concat(), &["sh", "-c", script])
}

fn up(engine: &Engine, name: &str, flags: &[&str]) {
    run(engine, &[&["--detach", "--name", name], flags].concat(), &["sleep", "1000"]).assert_ok();
}

/// Kills it first: podman would wait for its end.
fn down(engine: &Engine, name: &str) {
    engine.call(&["kill", name]);
    engine.call(&["rm", "--force", name]).assert_ok();
}

/// The cgroup of a container's first process, as the machine sees it.
fn cgroup(engine: &Engine, name: &str) -> String {
    let pid = engine.ask(&["inspect", "--format", "{{.State.Pid}}", name]);
    let line = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroup");
    line.trim().trim_start_matches("0::").to_owned()
}

fn codes_and_texts(engine: &Engine) {
    for (args, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 42"], 42),
        (&["no-such-program"], 127),
        (&["/etc/passwd"], 126),
    ] {
        let answer = run(engine, &["--rm"], args).assert_code(code);
        engine.record_text(&answer.said().replace(&engine.program(), "RUNTIME"));
    }
}

fn life(engine: &Engine) {
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done";
    run(engine, &["--detach", "--name", "life"], &["sh", "-c", script]).assert_ok();
    engine.until(&["logs", "life"], "up");
    engine.call(&["stop", "--time", "20", "life"]).assert_ok();
    let state = engine.ask(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "life"]);
    assert_eq!(state, "exited 7");
    engine.call(&["start", "life"]).assert_ok();
    engine.call(&["kill", "life"]).assert_ok();
    assert_eq!(engine.ask(&["wait", "life"]), "137");
    down(engine, "life");
}

fn exec_and_pause(engine: &Engine) {
    up(engine, "host", &[]);
    let script = "tty; cat /proc/self/cgroup; exit 6";
    let typed = engine.on_terminal(&["exec", "-it", "host", "sh", "-c", script], "").assert_code(6);
    assert!(typed.out.contains("/dev/pts/") && typed.out.contains("0::/\r\n"), "{typed}");
    // By docker's version 126 or 127.
    engine.record(&engine.call(&["exec", "host", "no-such-program"]));
    let script = "id; pwd; grep -E 'Cap|NoNew|Seccomp:' /proc/self/status";
    engine.record(&engine.call(&[
        "exec",
        "--user",
        "daemon",
        "--workdir",
        "/tmp",
        "host",
        "sh",
        "-c",
        script,
    ]));
    engine.call(&["pause", "host"]).assert_ok();
    assert_eq!(engine.ask(&["inspect", "--format", "{{.State.Status}}", "host"]), "paused");
    engine.call(&["unpause", "host"]).assert_ok();
    engine.call(&["exec", "host", "true"]).assert_ok();
    down(engine, "host");
}

fn limits_and_update(engine: &Engine) {
    let flags = ["--memory", "64m", "--memory-swap", "64m", "--pids-limit", "50", "--cpus", "0.5"];
    up(engine, "limited", &flags);
    let script = "cd /sys/fs/cgroup; cat memory.max memory.swap.max pids.max cpu.max";
    let read = || engine.call(&["exec", "limited", "sh", "-c", script]).assert_ok().out;
    assert_eq!(read(), "67108864\n0\n50\n50000 100000\n");
    engine.call(&["update", "--memory", "96m", "--memory-swap", "128m", "limited"]).assert_ok();
    let updated = read();
    assert!(updated.starts_with("100663296\n33554432\n"), "{updated}");
    engine.record_text(&updated);
    // podman tells the limit that it was told first.
    let stats = engine.ask(&["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "limited"]);
    assert!(stats.starts_with("1 "), "{stats}");
    down(engine, "limited");
}

fn what_it_sees(engine: &Engine) {
    let script = "cat /proc/self/cgroup; grep -E 'Cap|NoNew|Seccomp:' /proc/self/status; cat /sys/fs/cgroup/cgroup.controllers; ls -l /dev | \
        awk '{ print $1, $3, $4, $5, $6, $10, $11, $12 }'";
    engine.record(&shell(engine, &[], &format!("{script}; {MOUNTS}")).assert_ok());
}

fn out_of_memory(engine: &Engine) {
    let eat = "x=abcdefgh; while :; do x=$x$x; done";
    run(engine, &["--name", "hungry", "--memory", "16m", "--memory-swap", "16m"], &["sh", "-c", eat])
        .assert_code(137);
    down(engine, "hungry");
}

/// By a device program, and once more after systemd has put its own into place.
fn devices(engine: &Engine) {
    up(engine, "handed", &["--device", "/dev/fuse:/dev/handed:r"]);
    let script = "mknod /tmp/other c 1 11; try() { dd count=0 $1 $2 2>/dev/null && echo yes || echo no; }; \
        try if=/dev/handed; try if=/tmp/other; try of=/dev/handed conv=notrunc";
    for _ in 0..2 {
        assert_eq!(engine.call(&["exec", "--privileged", "handed", "sh", "-c", script]).out, "yes\nno\nno\n");
        assert!(Command::new("systemctl").arg("daemon-reload").status().expect("systemctl").success());
    }
    down(engine, "handed");
}

fn scope(engine: &Engine) {
    up(engine, "scoped", &["--memory", "64m"]);
    let cgroup = cgroup(engine, "scoped");
    let unit = cgroup.split('/').find(|part| part.contains(".scope")).expect("a scope");
    let shown =
        Command::new("systemctl").args(["show", unit, "--property=MemoryMax,Delegate,Slice"]).output();
    let shown = String::from_utf8_lossy(&shown.expect("systemctl").stdout).into_owned();
    assert!(shown.contains("MemoryMax=67108864\n") && shown.contains("Delegate=yes\n"), "{shown}");
    engine.record_text(&format!("{cgroup} {shown}"));
    assert!(
        Command::new("systemctl")
            .args(["kill", "--signal=KILL", unit])
            .status()
            .expect("systemctl")
            .success()
    );
    engine.ask(&["wait", "scoped"]);
    down(engine, "scoped");
}
