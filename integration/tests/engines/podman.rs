//! podman, which calls the runtime through conmon and has no daemon.

use std::path::PathBuf;

use knarr_integration::{Answer, Runtime};

use crate::docker_sees::MOUNTS;
use crate::engine::Engine;
use crate::image::{BOX, archive};
use crate::images;
use crate::named;
use crate::nest::Site;
use crate::suite::Group;

pub(crate) fn group() -> Group {
    let cases = named![
        exit_codes_and_texts,
        life,
        terminal,
        exec,
        pause,
        pod,
        healthcheck,
        update,
        stats_and_top,
        copy,
        what_it_sees,
        limits,
        restart_policy,
        init,
        no_cgroups_left_by_kill,
        images_there_and_back,
    ];
    Group { name: "podman", start, cases }
}

/// The runtime under the name of crun, of which podman expects the same. Debian's crun itself refuses hybrid cgroups.
pub(crate) fn named_crun() -> Group {
    Group { name: "podman-crun", start: start_as_crun, cases: named![codes_alone, life, exec, pause, limits] }
}

fn start(site: &Site, runtime: Runtime) -> Engine {
    start_with(site, "podman", runtime, Engine::program)
}

fn start_as_crun(site: &Site, runtime: Runtime) -> Engine {
    start_with(site, "podman-crun", runtime, |engine| engine.link("crun", &engine.program()))
}

pub(crate) fn start_with(
    site: &Site,
    name: &str,
    runtime: Runtime,
    program: fn(&Engine) -> String,
) -> Engine {
    let mut engine = Engine::new(site, name, runtime);
    engine.states(PathBuf::from("/run/runc"));
    engine.prefix("libpod-");
    load_into(engine, program, &[], "cgroupfs")
}

/// podman behind the words `before`, with the image in its store.
pub(crate) fn load_into(
    mut engine: Engine,
    program: fn(&Engine) -> String,
    before: &[&str],
    manager: &str,
) -> Engine {
    let program = program(&engine);
    let asked = std::path::Path::new(&program).file_name().expect("a name").to_string_lossy().into_owned();
    engine.file("containers.conf", &format!(
        "[containers]\nlog_driver = \"k8s-file\"\n[engine]\nruntime_supports_json = [\"{asked}\"]\nevents_logger = \"none\"\n"
    ));
    let (root, run, tmp) = (engine.path("root"), engine.path("run"), engine.path("tmp"));
    let policy = engine.file("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    let podman = [
        "podman",
        "--runtime",
        &program,
        "--root",
        &root,
        "--runroot",
        &run,
        "--tmpdir",
        &tmp,
        "--cgroup-manager",
        manager,
        "--storage-driver",
        "overlay",
    ];
    engine.client(&[before, &podman].concat());
    let image = archive(&engine.dir).display().to_string();
    engine.call(&["load", "--signature-policy", &policy, "--input", &image]).assert_ok();
    engine
}

/// `podman VERB` with a cgroup of ours and no network, which CNI would have to make.
fn run(engine: &Engine, flags: &[&str], args: &[&str]) -> Answer {
    let base = ["run", "--network", "none", "--cgroup-parent", &engine.cgroup];
    engine.call(&[&base, flags, &[BOX], args].concat())
}

pub(crate) fn up(engine: &Engine, name: &str, flags: &[&str]) {
    run(engine, &[&["--detach", "--name", name], flags].concat(), &["sleep", "1000"]).assert_ok();
}

pub(crate) fn down(engine: &Engine, name: &str) {
    engine.call(&["rm", "--force", "--time", "0", name]).assert_ok();
}

fn shell(engine: &Engine, flags: &[&str], script: &str) -> Answer {
    run(engine, &[&["--rm"], flags].concat(), &["sh", "-c", script])
}

/// Arguments of `run --rm`, and the exit code.
const CODES: [(&[&str], i32); 6] = [
    (&["true"], 0),
    (&["sh", "-c", "exit 42"], 42),
    (&["no-such-program"], 127),
    (&["/no/such/program"], 127),
    (&["/etc/passwd"], 126),
    (&["/etc"], 126),
];

fn images_there_and_back(engine: &Engine) {
    images::there_and_back(engine, &["--signature-policy", &engine.path("policy.json")]);
}

fn exit_codes_and_texts(engine: &Engine) {
    for (args, code) in CODES {
        let answer = run(engine, &["--rm"], args).assert_code(code);
        if args != ["/etc"] {
            engine.record_text(&answer.said().replace(&engine.program(), "RUNTIME"));
        }
    }
    run(engine, &["--rm", "--no-such-flag"], &["true"]).assert_code(125);
    run(engine, &["--rm", "--volume", "/etc/hostname:/etc"], &["true"]);
}

fn codes_alone(engine: &Engine) {
    for (args, code) in CODES {
        run(engine, &["--rm"], args).assert_code(code);
    }
}

fn life(engine: &Engine) {
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done";
    run(engine, &["--detach", "--name", "life"], &["sh", "-c", script]).assert_ok();
    engine.until(&["logs", "life"], "up");
    engine.call(&["stop", "--time", "20", "life"]).assert_ok();
    assert_eq!(
        engine.ask(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "life"]),
        "exited 7"
    );
    engine.call(&["start", "life"]).assert_ok();
    engine.call(&["kill", "life"]).assert_ok();
    assert_eq!(engine.ask(&["wait", "life"]), "137");
    down(engine, "life");
}

fn terminal(engine: &Engine) {
    let words =
        ["run", "--rm", "-it", "--network", "none", "--cgroup-parent", &engine.cgroup, BOX, "sh", "-c"];
    let script = "tty; read word; echo \"heard $word\"; exit 5";
    let answer = engine.on_terminal(&[&words[..], &[script]].concat(), "knock\n").assert_code(5);
    assert!(answer.out.contains("/dev/pts/0") && answer.out.contains("heard knock"), "{answer}");
}

fn exec(engine: &Engine) {
    up(engine, "host", &[]);
    engine.call(&["exec", "host", "sh", "-c", "exit 5"]).assert_code(5);
    engine.call(&["exec", "host", "no-such-program"]).assert_code(127);
    engine.call(&["exec", "host", "/etc/passwd"]).assert_code(126);
    engine.record(&engine.call(&[
        "exec",
        "--user",
        "daemon",
        "--env",
        "WORD=here",
        "--workdir",
        "/tmp",
        "host",
        "sh",
        "-c",
        "id; pwd; echo $WORD; grep Cap /proc/self/status",
    ]));
    let answer = engine.on_terminal(&["exec", "-it", "host", "sh", "-c", "tty; exit 6"], "").assert_code(6);
    assert!(answer.out.contains("/dev/pts/"), "{answer}");
    let piped = engine.call_with_input(&["exec", "--interactive", "host", "cat"], "through").assert_ok();
    assert_eq!(piped.out, "through");
    down(engine, "host");
}

fn pause(engine: &Engine) {
    up(engine, "paused", &[]);
    engine.call(&["pause", "paused"]).assert_ok();
    assert_eq!(engine.ask(&["inspect", "--format", "{{.State.Status}}", "paused"]), "paused");
    engine.call(&["exec", "paused", "true"]).assert_code(255);
    engine.call(&["unpause", "paused"]).assert_ok();
    engine.call(&["exec", "paused", "true"]).assert_ok();
    down(engine, "paused");
}

fn pod(engine: &Engine) {
    let infra = ["--infra-image", BOX, "--infra-command", "sleep 1000"];
    let create = ["pod", "create", "--name", "pod", "--network", "none", "--cgroup-parent", &engine.cgroup];
    engine.call(&[&create[..], &infra].concat()).assert_ok();
    for name in ["one", "two"] {
        engine.call(&["run", "--detach", "--pod", "pod", "--name", name, BOX, "sleep", "1000"]).assert_ok();
    }
    for kind in ["net", "ipc", "uts"] {
        let of = |name: &str| engine.ask(&["exec", name, "readlink", &format!("/proc/self/ns/{kind}")]);
        assert_eq!(of("one"), of("two"), "{kind}");
    }
    engine.call(&["pod", "pause", "pod"]).assert_ok();
    engine.call(&["pod", "unpause", "pod"]).assert_ok();
    engine.call(&["exec", "one", "true"]).assert_ok();
    engine.call(&["pod", "stop", "--time", "0", "pod"]).assert_ok();
    // It says so when it cannot remove a cgroup in a hierarchy that the machine has not.
    engine.call(&["pod", "rm", "--force", "pod"]);
    engine.call(&["pod", "exists", "pod"]).assert_code(1);
}

fn healthcheck(engine: &Engine) {
    up(
        engine,
        "well",
        &["--health-cmd", "test -e /tmp/well", "--health-interval", "disable", "--health-retries", "1"],
    );
    engine.call(&["healthcheck", "run", "well"]).assert_code(1);
    engine.call(&["exec", "well", "touch", "/tmp/well"]).assert_ok();
    engine.call(&["healthcheck", "run", "well"]).assert_ok();
    down(engine, "well");
}

fn update(engine: &Engine) {
    up(engine, "updated", &["--memory", "64m"]);
    engine.call(&["update", "--memory", "96m", "--memory-swap", "96m", "updated"]).assert_ok();
    let limit = engine.ask(&["exec", "updated", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
    assert_eq!(limit, "100663296");
    down(engine, "updated");
}

fn stats_and_top(engine: &Engine) {
    up(engine, "watched", &["--memory", "64m"]);
    let stats = engine.ask(&["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "watched"]);
    assert!(stats.starts_with("1 ") && stats.ends_with("/ 67.11MB"), "{stats}");
    let top = engine.ask(&["top", "watched", "args"]);
    assert!(top.contains("sleep 1000"), "{top}");
    down(engine, "watched");
}

fn copy(engine: &Engine) {
    up(engine, "copied", &[]);
    let from = engine.file("sent", "by copy\n");
    engine.call(&["cp", &from, "copied:/tmp/received"]).assert_ok();
    assert_eq!(engine.ask(&["exec", "copied", "cat", "/tmp/received"]), "by copy");
    down(engine, "copied");
}

fn what_it_sees(engine: &Engine) {
    engine.record(&shell(engine, &[], MOUNTS).assert_ok());
    engine.record(&shell(engine, &["--read-only", "--tmpfs", "/scratch:size=1m"], MOUNTS).assert_ok());
    engine.record(&shell(
        engine,
        &["--user", "daemon", "--cap-add", "net_admin"],
        "id; grep -E 'Cap|NoNew|Seccomp:' /proc/self/status; ulimit -n",
    ));
    engine.record(&shell(
        engine,
        &["--cap-drop", "all", "--security-opt", "no-new-privileges"],
        "grep -E 'Cap|NoNew' /proc/self/status",
    ));
    engine.record(&shell(engine, &["--pid", "host", "--ipc", "host"], "test $$ != 1").assert_ok());
}

fn limits(engine: &Engine) {
    let files = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us";
    let seen = shell(engine, &["--memory", "64m", "--pids-limit", "50", "--cpus", "0.5"], files).assert_ok();
    assert_eq!(seen.out, "67108864\n50\n50000\n");
    let eat = "x=abcdefgh; while :; do x=$x$x; done";
    run(engine, &["--name", "hungry", "--memory", "16m", "--memory-swap", "16m"], &["sh", "-c", eat])
        .assert_code(137);
    down(engine, "hungry");
}

fn restart_policy(engine: &Engine) {
    run(engine, &["--detach", "--name", "again", "--restart", "on-failure:2"], &["sh", "-c", "exit 3"])
        .assert_ok();
    let state = ["inspect", "--format", "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}", "again"];
    engine.until(&state, "exited 2 3");
    down(engine, "again");
}

fn init(engine: &Engine) {
    let init = ["--init", "--init-path", "/usr/bin/docker-init"];
    let answer = shell(engine, &init, "tr '\\0' ' ' < /proc/1/cmdline").assert_ok();
    assert!(answer.out.starts_with("/run/podman-init"), "{answer}");
}

/// Without a pid namespace of its own, all of a container's processes must be killed with it.
fn no_cgroups_left_by_kill(engine: &Engine) {
    let script = "sleep 1000 & sleep 1001 & wait";
    run(engine, &["--detach", "--name", "crowd", "--pid", "host"], &["sh", "-c", script]).assert_ok();
    down(engine, "crowd");
}
