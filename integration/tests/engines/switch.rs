//! A node changes its runtime under a running engine: what runc made, the one under test goes on with. The engine knows
//! the runtime by a link, which is moved.

use knarr_integration::{Runtime, runtime};

use crate::engine::Engine;
use crate::nest::Site;
use crate::suite::Group;
use crate::{docker, named, podman};

pub(crate) fn docker() -> Group {
    let start = |site: &Site, tested: Runtime| {
        docker::start_with(site, "docker-switch", tested, |engine| engine.link("runc", &runc()), &[])
    };
    Group { name: "docker-switch", start, cases: named![containers_go_on] }
}

pub(crate) fn podman() -> Group {
    let start = |site: &Site, tested: Runtime| {
        podman::start_with(site, "podman-switch", tested, |engine| engine.link("runc", &runc()))
    };
    Group { name: "podman-switch", start, cases: named![containers_go_on] }
}

fn runc() -> String {
    runtime::installed("runc").expect("runc").display().to_string()
}

fn containers_go_on(engine: &Engine) {
    let is_podman = engine.path("").contains("podman");
    let (up, down) = if is_podman {
        (podman::up as fn(&Engine, &str, &[&str]), podman::down as fn(&Engine, &str))
    } else {
        (docker::up as fn(&Engine, &str, &[&str]), docker::down as fn(&Engine, &str))
    };
    let status = |name: &str| engine.ask(&["inspect", "--format", "{{.State.Status}}", name]);
    engine.link("runc", &runc());
    up(engine, "runs", &[]);
    up(engine, "pauses", &[]);
    up(engine, "ends", &[]);
    engine.call(&["pause", "pauses"]).assert_ok();
    engine.link("runc", &engine.program());
    engine.record(&engine.call(&["exec", "runs", "sh", "-c", "echo in; exit 3"]).assert_code(3));
    assert!(engine.ask(&["top", "runs"]).contains("sleep 1000"));
    engine.call(&["pause", "runs"]).assert_ok();
    engine.record_text(&status("runs"));
    engine.call(&["unpause", "runs"]).assert_ok();
    engine.call(&["unpause", "pauses"]).assert_ok();
    engine.record_text(&status("pauses"));
    engine.call(&["kill", "--signal", "KILL", "ends"]).assert_ok();
    engine.until(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "ends"], "exited 137");
    // Started again, it is a container of the new runtime's.
    engine.call(&["restart", "--time", "0", "pauses"]).assert_ok();
    engine.record_text(&status("pauses"));
    engine.record(&engine.call(&["exec", "pauses", "echo", "again"]).assert_ok());
    for name in ["runs", "pauses", "ends"] {
        down(engine, name);
    }
}
