//! containerd: `ctr` over the io.containerd.runc.v2 shim, which calls the runtime as Kubernetes does.

use knarr_integration::{Runtime, eventually};

use crate::engine::Engine;
use crate::image::{BOX, archive};
use crate::named;
use crate::nest::Site;
use crate::suite::Group;

pub(crate) fn group() -> Group {
    let cases = named![run, exec, kill, pause, metrics, terminal, started_twice, processes];
    Group { name: "containerd", start, cases }
}

pub(crate) fn start(site: &Site, runtime: Runtime) -> Engine {
    start_named(site, "containerd", runtime)
}

pub(crate) fn start_named(site: &Site, name: &str, runtime: Runtime) -> Engine {
    let mut engine = Engine::new(site, name, runtime);
    let socket = engine.path("containerd.sock");
    let config = engine.file("config.toml", &format!("version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = \"{socket}\"\n"));
    let (root, state) = (engine.path("root"), engine.path("state"));
    engine.client(&["ctr", "--address", &socket]);
    engine.states(engine.dir.join("states/default"));
    engine.daemon(&["containerd", "--config", &config, "--root", &root, "--state", &state], &["version"]);
    let image = archive(&engine.dir).display().to_string();
    engine.call(&["images", "import", &image]).assert_ok();
    engine
}

/// `ctr run` with the runtime, its states and its cgroup in their places.
pub(crate) fn run_words(engine: &Engine, flags: &[&str], id: &str, args: &[&str]) -> Vec<String> {
    let (program, cgroup, states) =
        (engine.program(), format!("{}/{id}", engine.cgroup), engine.path("states"));
    let base = ["run", "--runc-binary", &program, "--runc-root", &states, "--cgroup", &cgroup];
    [&base, flags, &[BOX, id], args].concat().iter().map(ToString::to_string).collect()
}

fn ctr_run(engine: &Engine, flags: &[&str], id: &str, args: &[&str]) -> knarr_integration::Answer {
    let words = run_words(engine, flags, id, args);
    engine.call(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(crate) fn up(engine: &Engine, id: &str, script: &str) {
    ctr_run(engine, &["--detach", "--null-io"], id, &["sh", "-c", script]).assert_ok();
}

pub(crate) fn down(engine: &Engine, id: &str) {
    // It may have ended by itself.
    engine.call(&["tasks", "kill", "--signal", "SIGKILL", id]);
    eventually("the task has ended", || engine.call(&["tasks", "rm", id]).status.success().then_some(()));
    engine.call(&["containers", "rm", id]).assert_ok();
}

/// The task's state as `ctr tasks ls` shows it.
fn status(engine: &Engine, id: &str) -> String {
    let list = engine.ask(&["tasks", "ls"]);
    let line = list.lines().find(|line| line.starts_with(id)).unwrap_or_default();
    line.split_whitespace().last().unwrap_or_default().to_owned()
}

fn run(engine: &Engine) {
    engine.record(&ctr_run(engine, &["--rm"], "plain", &["sh", "-c", "echo out; exit 3"]).assert_code(3));
    engine.record(&ctr_run(
        engine,
        &["--rm"],
        "limits",
        &["sh", "-c", "grep -E 'Cap|NoNew' /proc/self/status; ulimit -a"],
    ));
    for (id, program) in [("missing", "no-such-program"), ("unfit", "/etc/passwd")] {
        let answer = ctr_run(engine, &["--rm"], id, &[program]);
        engine.record_text(&answer.said().replace(&engine.program(), "RUNTIME"));
        assert!(!answer.status.success(), "{answer}");
    }
}

fn exec(engine: &Engine) {
    up(engine, "host", "sleep 1000");
    let tasks =
        |id: &str, args: &[&str]| engine.call(&[&["tasks", "exec", "--exec-id", id, "host"], args].concat());
    engine.record(&tasks("one", &["sh", "-c", "echo from exec; exit 4"]).assert_code(4));
    engine.record(&tasks("two", &["no-such-program"]));
    engine.record(
        &engine
            .call(&[
                "tasks",
                "exec",
                "--exec-id",
                "three",
                "--user",
                "daemon",
                "--cwd",
                "/tmp",
                "host",
                "sh",
                "-c",
                "id; pwd",
            ])
            .assert_ok(),
    );
    down(engine, "host");
}

fn kill(engine: &Engine) {
    up(engine, "told", "trap 'exit 9' USR1; while :; do sleep 0.1; done");
    eventually("the trap is set", || {
        engine.call(&["tasks", "kill", "--signal", "SIGUSR1", "told"]);
        (status(engine, "told") == "STOPPED").then_some(())
    });
    engine.record(&engine.call(&["tasks", "kill", "told"]));
    down(engine, "told");
}

fn pause(engine: &Engine) {
    up(engine, "paused", "sleep 1000");
    engine.call(&["tasks", "pause", "paused"]).assert_ok();
    assert_eq!(status(engine, "paused"), "PAUSED");
    engine.record(&engine.call(&["tasks", "exec", "--exec-id", "one", "paused", "true"]));
    engine.call(&["tasks", "resume", "paused"]).assert_ok();
    assert_eq!(status(engine, "paused"), "RUNNING");
    down(engine, "paused");
}

fn metrics(engine: &Engine) {
    up(engine, "watched", "sleep 1000");
    let metrics = engine.ask(&["tasks", "metrics", "watched"]);
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().last()?.parse::<u64>().ok()).unwrap_or_default()
    };
    assert!(value("memory.usage_in_bytes") > 0 && value("pids.current") > 0, "{metrics}");
    down(engine, "watched");
}

fn terminal(engine: &Engine) {
    let words = run_words(
        engine,
        &["--rm", "--tty"],
        "tty",
        &["sh", "-c", "tty; read word; echo \"heard $word\"; exit 5"],
    );
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let answer = engine.on_terminal(&words, "knock\n").assert_code(5);
    assert!(answer.out.contains("/dev/pts/0") && answer.out.contains("heard knock"), "{answer}");
}

fn started_twice(engine: &Engine) {
    up(engine, "twice", "sleep 1000");
    engine.call(&["tasks", "kill", "--signal", "SIGKILL", "twice"]).assert_ok();
    eventually("the task has ended", || {
        engine.call(&["tasks", "rm", "twice"]).status.code().filter(|_| status(engine, "twice").is_empty())
    });
    engine.call(&["tasks", "start", "--detach", "--null-io", "twice"]).assert_ok();
    assert_eq!(status(engine, "twice"), "RUNNING");
    down(engine, "twice");
}

fn processes(engine: &Engine) {
    up(engine, "crowd", "sleep 1000 & sleep 1001 & wait");
    eventually("three processes", || {
        let list = engine.ask(&["tasks", "ps", "crowd"]);
        (list.lines().count() == 4).then_some(())
    });
    down(engine, "crowd");
}
