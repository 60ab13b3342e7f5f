//! `knarrd` as `make install` puts it into place: systemd opens its socket, the first client starts it, and the stock
//! docker command finds it where dockerd was.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use knarr_integration::eventually;

use super::tool;

#[path = "../engines/image.rs"]
mod image;

const SOCKET: &str = "/run/docker.sock";
const ENGINE: &str = "knarrd.service";

/// The engine's units are there. A test that fails shows what the engine has said.
struct Service {
    /// Those that the test makes.
    containers: &'static [&'static str],
}

impl Service {
    fn new(containers: &'static [&'static str]) -> Self {
        // dockerd's own socket is in that place.
        tool(&["systemctl", "stop", "docker.socket", "docker.service"]);
        tool(&["systemctl", "start", "knarrd.socket"]);
        Self { containers }
    }

    /// Removes the containers, stops the units, and finds nothing left.
    fn end(self) {
        docker(&[&["rm", "--force"], self.containers].concat());
        tool(&["systemctl", "stop", "knarrd.socket", ENGINE]);
        assert_eq!(tool(&["systemctl", "list-units", "--quiet", "--no-legend", "docker-*.scope"]), "");
        let state = Path::new("/var/lib/knarr");
        let left = fs::read_dir(state.join("containers")).expect("containers").count();
        assert_eq!(left, 0, "containers on record");
        fs::remove_dir_all(state).expect("remove what outlives the engine");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = Command::new("journalctl").args(["--no-pager", "--unit", ENGINE]).output();
            println!(
                "{}",
                said.map_or_else(
                    |error| error.to_string(),
                    |said| String::from_utf8_lossy(&said.stdout).into()
                )
            );
        }
    }
}

/// What the stock client prints, at the place where it looks by itself.
#[track_caller]
fn docker(words: &[&str]) -> String {
    tool(&[&["docker"], words].concat()).trim().to_owned()
}

/// Starts the engine, as its first client.
fn load_image() {
    let folder = std::env::temp_dir().join("knarr-service");
    fs::create_dir(&folder).expect("a folder");
    docker(&["load", "--input", image::archive(&folder).to_str().expect("utf-8")]);
    fs::remove_dir_all(&folder).expect("remove the folder");
}

#[track_caller]
fn property(unit: &str, name: &str) -> String {
    tool(&["systemctl", "show", "--value", "--property", name, unit]).trim().to_owned()
}

fn start(name: &str, flags: &[&str]) -> String {
    docker(&[&["run", "--detach", "--name", name], flags, &[image::BOX, "sleep", "1000"]].concat())
}

fn pid(name: &str) -> String {
    docker(&["inspect", "--format", "{{.State.Pid}}", name])
}

#[test]
#[ignore = "run by make test-vm"]
fn the_first_client_starts_the_engine_and_systemd_makes_the_cgroups() {
    let service = Service::new(&["limited"]);
    let group = tool(&["getent", "group", "docker"]);
    let socket = fs::metadata(SOCKET).expect("the socket");
    assert_eq!(socket.permissions().mode() & 0o777, 0o660);
    assert_eq!(group.split(':').nth(2), Some(socket.gid().to_string().as_str()), "the socket's group");
    assert_eq!(property(ENGINE, "ActiveState"), "inactive");
    load_image();
    assert_eq!(property(ENGINE, "ActiveState"), "active");
    assert_eq!(docker(&["info", "--format", "{{.CgroupDriver}} {{.CgroupVersion}}"]), "systemd 2");

    let id = start("limited", &["--memory", "32m", "--pids-limit", "20", "--publish", "8080:80"]);
    let scope = format!("docker-{id}.scope");
    assert_eq!(property(&scope, "MemoryMax"), (32 << 20).to_string());
    assert_eq!(property(&scope, "TasksMax"), "20");
    let own = fs::read_to_string(format!("/proc/{}/cgroup", pid("limited"))).expect("its cgroup");
    assert_eq!(own.trim(), format!("0::/system.slice/{scope}"));
    docker(&["update", "--memory", "48m", "--memory-swap", "48m", "limited"]);
    assert_eq!(property(&scope, "MemoryMax"), (48 << 20).to_string());
    let used = docker(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "limited"]);
    assert!(used.ends_with("/ 48MiB 1"), "{used}");
    docker(&["exec", "--detach", "limited", "httpd", "-p", "80"]);
    eventually("the published port answers", || {
        let asked =
            Command::new("busybox").args(["wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]).output();
        // busybox's server has nothing to show: its 404 is an answer.
        String::from_utf8_lossy(&asked.expect("start busybox").stderr).contains("404").then_some(())
    });
    service.end();
}

#[test]
#[ignore = "run by make test-vm"]
fn systemd_brings_a_killed_engine_back_and_containers_stay() {
    let service = Service::new(&["stays"]);
    load_image();
    start("stays", &["--network", "none"]);
    let (engine, process) = (property(ENGINE, "MainPID"), pid("stays"));
    tool(&["systemctl", "kill", "--signal=KILL", "--kill-who=main", ENGINE]);
    eventually("another engine", || {
        let now = property(ENGINE, "MainPID");
        (now != engine && now != "0").then_some(())
    });
    assert_eq!(pid("stays"), process, "the container is the same");
    docker(&["exec", "stays", "true"]);
    service.end();
}

#[test]
#[ignore = "run by make test-vm"]
fn containers_outlive_a_stop_and_the_next_client_finds_them() {
    let service = Service::new(&["stays", "ended"]);
    load_image();
    start("stays", &["--network", "none"]);
    start("ended", &["--network", "none"]);
    let [stays, ended] = ["stays", "ended"].map(pid);
    tool(&["systemctl", "stop", ENGINE]);
    assert_eq!(property("knarrd.socket", "ActiveState"), "active");
    tool(&["kill", "-KILL", &ended]);
    eventually("it has ended", || (!Path::new("/proc").join(&ended).exists()).then_some(()));
    assert_eq!(property(ENGINE, "ActiveState"), "inactive");
    assert_eq!(pid("stays"), stays);
    eventually("its end is known", || {
        (docker(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "ended"]) == "exited 137")
            .then_some(())
    });
    service.end();
}
