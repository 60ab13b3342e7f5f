//! `knarr-netns` as a program, and as a hook of `knarr` (the environment's KNARR, or the one built beside this test).

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use knarr_netns::{Attachment, Transport};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::traffic::serve;
use crate::world::{BrNetfilter, HOST, Namespace, OUTSIDE, World, address, plain_bridge, published};

const PROGRAM: &str = env!("CARGO_BIN_EXE_knarr-netns");

fn world() -> World {
    World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off)
}

fn attachment(world: &World) -> Attachment {
    world.attachment(0, 2, &[published(Transport::Tcp, 8080, (address(&world.bridges[0], 2), 80))])
}

fn write(folder: &Path, attachment: &Attachment) -> PathBuf {
    let file = folder.join("attachment.json");
    std::fs::write(&file, serde_json::to_vec(attachment).unwrap()).unwrap();
    file
}

/// Runs the program in the host's namespace with `state` on its standard input.
fn hook(world: &World, act: &str, file: &Path, state: &Value) -> Output {
    world.host.inside(|| {
        let mut command = Command::new(PROGRAM);
        command.arg(act).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        serde_json::to_writer(child.stdin.take().unwrap(), state).unwrap();
        child.wait_with_output().unwrap()
    })
}

#[track_caller]
fn assert_says(output: &Output, said: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.starts_with("knarr-netns: ") && text.contains(said), "{text}");
}

#[test]
fn the_program_sets_up_and_tears_down() {
    let world = world();
    let folder = TempDir::new().unwrap();
    let (rules, links) = (world.rules(), world.links());
    let namespace = Namespace::new();
    let wanted = attachment(&world);
    let file = write(folder.path(), &wanted);
    let state =
        json!({"ociVersion": "1.2.0", "id": wanted.container, "status": "creating", "pid": namespace.pid});
    let output = hook(&world, "setup", &file, &state);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(namespace.run("ip address show eth0").contains("inet 172.17.0.2/16"));
    assert_says(
        &hook(&world, "setup", &file, &state),
        "make interface eth0: RTM_NEWLINK(vethbr02, veth, peer eth0)",
    );
    let output = hook(&world, "teardown", &file, &json!({"id": wanted.container, "status": "stopped"}));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((world.rules(), world.links()), (rules, links));
}

#[test]
fn the_program_refuses_what_does_not_fit_together() {
    let world = world();
    let folder = TempDir::new().unwrap();
    let wanted = attachment(&world);
    let file = write(folder.path(), &wanted);
    let id = &wanted.container;
    assert_says(
        &hook(&world, "setup", &file, &json!({"id": "other", "pid": 1})),
        "for container c0-2, not other",
    );
    assert_says(&hook(&world, "setup", &file, &json!({"id": id})), "container c0-2 has no process");
    assert_says(&hook(&world, "setup", &file, &json!([7])), "standard input: not a container's state");
    assert_says(
        &hook(&world, "setup", Path::new("/nonexistent"), &json!({})),
        "read /nonexistent: No such file",
    );
    std::fs::write(&file, r#"{"container": "c", "table": "knarr", "dns": []}"#).unwrap();
    assert_says(&hook(&world, "teardown", &file, &json!({})), "not an attachment: unknown field `dns`");
}

#[test]
fn usage_and_version() {
    let output = Command::new(PROGRAM).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage: knarr-netns setup|teardown FILE"));
    let output = Command::new(PROGRAM).arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        concat!("knarr-netns version ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

/// The runtime under test.
fn runtime() -> PathBuf {
    let beside = || {
        let own = std::env::current_exe().unwrap();
        own.ancestors().nth(2).unwrap().join("knarr")
    };
    let path = std::env::var_os("KNARR").map_or_else(beside, PathBuf::from);
    assert!(path.exists(), "{}: not there; build knarr, or set KNARR", path.display());
    path
}

/// A bundle whose program is a script for busybox, with both hooks.
fn write_bundle(bundle: &Path, file: &Path, script: &str) {
    let rootfs = bundle.join("rootfs");
    for folder in ["bin", "proc"] {
        std::fs::create_dir_all(rootfs.join(folder)).unwrap();
    }
    // A copy in a process of its own: a program that is still open for writing cannot be started.
    let copied = Command::new("cp").arg("/bin/busybox").arg(rootfs.join("bin/busybox")).status().unwrap();
    assert!(copied.success());
    let hook = |act: &str| json!([{"path": PROGRAM, "args": ["knarr-netns", act, file]}]);
    let configuration = json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["/bin/busybox", "sh", "-c", script], "user": {"uid": 0, "gid": 0}},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "hooks": {"createRuntime": hook("setup"), "poststop": hook("teardown")},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}]},
    });
    std::fs::write(bundle.join("config.json"), configuration.to_string()).unwrap();
}

fn run_container(world: &World, wanted: &Attachment, script: &str) -> Output {
    let folder = TempDir::new().unwrap();
    let bundle = folder.path().join("bundle");
    std::fs::create_dir(&bundle).unwrap();
    write_bundle(&bundle, &write(folder.path(), wanted), script);
    let mut command = Command::new(runtime());
    command.arg("--root").arg(folder.path().join("state")).arg("run").arg("--bundle").arg(&bundle);
    command.arg(&wanted.container).stdin(Stdio::null());
    world.host.inside(|| command.output()).unwrap()
}

fn named(world: &World, name: &str) -> Attachment {
    Attachment { container: format!("knarr-netns-{name}-{}", std::process::id()), ..attachment(world) }
}

#[test]
fn a_container_is_on_its_network_before_it_starts_and_leaves_nothing() {
    let world = world();
    let (rules, links) = (world.rules(), world.links());
    serve(&world.outside, 80);
    let script = format!("/bin/busybox nc {OUTSIDE} 80 && echo && /bin/busybox ip -4 -o address");
    let output = run_container(&world, &named(&world, "whole"), &script);
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{wrong}");
    assert!(said.starts_with(&format!("{HOST}\n")), "{said}{wrong}");
    for part in ["lo    inet 127.0.0.1/8", "eth0    inet 172.17.0.2/16 brd 172.17.255.255"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!((world.rules(), world.links()), (rules, links));
}

#[test]
fn a_container_whose_network_fails_does_not_start_and_leaves_nothing() {
    let world = world();
    // Somebody else's port, which has to survive the poststop hook of the container that did not get it.
    let theirs = published(Transport::Tcp, 8080, (address(&world.bridges[0], 9), 80));
    world.host.inside(|| knarr_netns::firewall::publish(&world.table, &[theirs])).unwrap();
    let (rules, links) = (world.rules(), world.links());
    let output = run_container(&world, &named(&world, "fails"), "echo started");
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{wrong}");
    assert!(
        wrong.contains("knarr-netns: publish 0.0.0.0:8080:172.17.0.2:80/tcp: port is already published"),
        "{wrong}"
    );
    assert_eq!((world.rules(), world.links()), (rules, links));
}
