//! The command line, daemon.json, and the life of the process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::daemon::{Daemon, command};

fn validate(file: &str, flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("daemon.json"), file).unwrap();
    command(folder.path()).arg("--validate").args(flags).output().unwrap()
}

#[test]
fn a_configuration_can_be_checked() {
    let fine = validate(r#"{"labels": ["a=b"], "userland-proxy": false, "default-shm-size": 67108864}"#, &[]);
    assert_eq!((fine.status.code(), fine.stderr.as_slice()), (Some(0), b"configuration OK\n".as_slice()));
    for (file, flags, why) in [
        (
            r#"{"invented": 1}"#,
            [].as_slice(),
            "the following directives don't match any configuration option: invented",
        ),
        (r#"{"bridge": "b"}"#, &[], "bridge: (from flag: none, from file: b)"),
        (r#"{"userns-remap": "default"}"#, &[], "userns-remap is not supported by knarrd"),
        ("{", &[], "unable to configure the Docker daemon with file"),
        ("{}", &["--tlsverify"], "tlsverify needs tlscacert"),
        ("{}", &["-H", "http://x"], "unable to parse bind address"),
    ] {
        let refused = validate(file, flags);
        let text = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{file} {flags:?}");
        assert!(text.starts_with("knarrd: ") && text.contains(why), "{text}");
    }
}

#[test]
fn the_socket_is_its_groups_and_another_engine_does_not_take_it() {
    let mut daemon = Daemon::start(&["--group", "0"]);
    let mode = fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    let other = tempfile::tempdir().unwrap();
    let host = format!("unix://{}", daemon.socket().display());
    let refused = command(other.path()).args(["--host", &host]).output().unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("somebody else listens on"), "{text}");
    let pid = fs::read_to_string(daemon.folder().join("pid")).unwrap();
    assert!(pid.parse::<u32>().is_ok(), "{pid}");
    assert!(daemon.stop(), "a stop that is asked for is a success");
    assert!(!daemon.folder().join("pid").exists());
}

#[test]
fn a_socket_that_nobody_listens_on_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let host = format!("unix://{}", path.display());
    let daemon = Daemon::start(&["--host", &host]);
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    drop(daemon);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "kept").unwrap();
    let other = tempfile::tempdir().unwrap();
    let refused = command(other.path()).args(["--host", &host]).output().unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("is there and is no socket"), "{text}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
}

#[test]
fn plain_tcp_has_to_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (address, flags) in
        [("tcp://127.0.0.1:0", [].as_slice()), ("tcp://0.0.0.0:0", &["--allow-plain-tcp"])]
    {
        let refused = command(folder.path()).args(["-H", address]).args(flags).output().unwrap();
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success());
        assert!(text.contains("without TLS everybody who can connect is root"), "{text}");
    }
}

#[test]
fn debug_is_read_again_on_a_hangup() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.ask("GET /info").json()["Debug"], json!(false));
    fs::write(daemon.folder().join("daemon.json"), r#"{"debug": true}"#).unwrap();
    daemon.signal(Signal::HUP);
    let end = Instant::now() + Duration::from_secs(5);
    while daemon.ask("GET /info").json()["Debug"] != json!(true) {
        assert!(Instant::now() < end, "nothing has changed");
        std::thread::sleep(Duration::from_millis(20));
    }
}
