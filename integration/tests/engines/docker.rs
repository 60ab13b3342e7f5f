//! dockerd: the life of a container, as people drive it.

use std::process::Stdio;

use knarr_integration::{Runtime, eventually};

use crate::engine::Engine;
use crate::image::{BOX, archive};
use crate::named;
use crate::nest::Site;
use crate::suite::{Case, Group};
use crate::{docker_limits, docker_sees, images};

/// One daemon for all of them; each daemon takes a second to come and go.
pub(crate) fn group() -> Group {
    let cases = [life(), docker_sees::cases(), docker_limits::cases()].concat();
    Group { name: "docker", start, cases }
}

/// Our own engine over our runtime, beside dockerd over runc: unchanged clients cannot tell them apart.
pub(crate) fn companion() -> Group {
    let cases = [life(), docker_sees::cases(), docker_limits::cases()].concat();
    let there = |(name, _): &Case| !NOT_YET.contains(name);
    Group { name: "knarrd", start: start_companion, cases: cases.into_iter().filter(there).collect() }
}

/// Cases of what our engine answers with 501 so far; and one that Debian's runc cannot do on every machine.
const NOT_YET: [&str; 2] = ["build", "privileged"];

/// What dockerd 20.10 says and does, and what 28, which our engine is like, does instead.
pub(crate) const SINCE_THEN: [(&str, &str); 7] = [
    ("killed: Container ", "killed: container "),
    ("daemon: Container ", "daemon: container "),
    ("Cannot kill container", "cannot kill container"),
    ("failed to create task for container: ", ""),
    (
        "exit 126: OCI runtime exec failed: exec failed: unable to start container process: exec: \"no-such",
        "exit 127: OCI runtime exec failed: exec failed: unable to start container process: exec: \"no-such",
    ),
    (
        "exit 126: OCI runtime exec failed: exec failed: unable to start container process: chdir",
        "exit 127: OCI runtime exec failed: exec failed: unable to start container process: chdir",
    ),
    ("/proc/interrupts rw,nosuid tmpfs\n", ""),
];

fn life() -> Vec<Case> {
    named![
        exit_codes_and_texts,
        attached_with_input,
        detached_logs_stop,
        kill_by_signal,
        terminal,
        exec_codes,
        exec_as_somebody,
        exec_on_terminal,
        exec_where_it_cannot,
        pause,
        update,
        refusals,
        stats_and_top,
        copy,
        restart_policy,
        restart_by_hand,
        init,
        healthcheck,
        build,
        created_but_never_started,
        wait_and_rename,
        images_there_and_back,
        search_and_import,
    ]
}

/// A daemon with the runtime as its default.
pub(crate) fn start(site: &Site, runtime: Runtime) -> Engine {
    start_with(site, "docker", runtime, Engine::program, &[])
}

pub(crate) fn start_with(
    site: &Site,
    name: &str,
    runtime: Runtime,
    program: fn(&Engine) -> String,
    flags: &[&str],
) -> Engine {
    let engine = Engine::new(site, name, runtime);
    let parent = engine.cgroup.clone();
    start_daemon(engine, program, &[&["--cgroup-parent", &parent], flags].concat())
}

/// The daemon with what it has whatever the cgroups are, and the image in it.
pub(crate) fn start_daemon(mut engine: Engine, program: fn(&Engine) -> String, flags: &[&str]) -> Engine {
    let host = format!("unix://{}", engine.path("docker.sock"));
    let (data, exec, pid) = (engine.path("data"), engine.path("exec"), engine.path("docker.pid"));
    let added = format!("under-test={}", program(&engine));
    engine.client(&["docker", "--host", &host]);
    engine.states(engine.dir.join("exec/runtime-under-test/moby"));
    let base = [
        "dockerd",
        "--host",
        &host,
        "--data-root",
        &data,
        "--exec-root",
        &exec,
        "--pidfile",
        &pid,
        "--add-runtime",
        &added,
        "--default-runtime",
        "under-test",
        "--shutdown-timeout",
        "1",
    ];
    engine.daemon(&[&base, flags].concat(), &["version"]);
    let image = archive(&engine.dir).display().to_string();
    engine.call(&["load", "--input", &image]).assert_ok();
    engine
}

fn start_companion(site: &Site, runtime: Runtime) -> Engine {
    if runtime == Runtime::Runc {
        let mut engine = start_with(site, "beside-knarrd", runtime, Engine::program, &[]);
        engine.rewrite(&SINCE_THEN);
        return engine;
    }
    let mut engine = Engine::new(site, "knarrd", runtime);
    engine.rewrite(&SINCE_THEN);
    let host = format!("unix://{}", engine.path("docker.sock"));
    let program = knarr_integration::runtime::ours("knarrd").expect("our engine").display().to_string();
    engine.client(&["docker", "--host", &host]);
    engine.states(engine.dir.join("exec/runtime"));
    let (data, exec, pid) = (engine.path("data"), engine.path("exec"), engine.path("knarrd.pid"));
    let words = [
        &program,
        "--host",
        &host,
        "--data-root",
        &data,
        "--exec-root",
        &exec,
        "--pidfile",
        &pid,
        "--cgroup-parent",
        &engine.cgroup,
    ];
    engine.daemon(&words, &["version"]);
    let image = archive(&engine.dir).display().to_string();
    engine.call(&["load", "--input", &image]).assert_ok();
    engine
}

/// Starts a container that stays.
pub(crate) fn up(engine: &Engine, name: &str, flags: &[&str]) {
    let words = [&["run", "--detach", "--name", name], flags, &[BOX, "sleep", "1000"]].concat();
    engine.call(&words).assert_ok();
}

pub(crate) fn down(engine: &Engine, name: &str) {
    engine.call(&["rm", "--force", name]).assert_ok();
}

/// `run --rm` of a shell script.
pub(crate) fn shell(engine: &Engine, flags: &[&str], script: &str) -> knarr_integration::Answer {
    engine.call(&[&["run", "--rm"], flags, &[BOX, "sh", "-c", script]].concat())
}

fn images_there_and_back(engine: &Engine) {
    images::there_and_back(engine, &[]);
}

fn search_and_import(engine: &Engine) {
    images::from_a_server(engine);
}

fn exit_codes_and_texts(engine: &Engine) {
    let run = |flags: &[&str], args: &[&str]| engine.call(&[&["run", "--rm"], flags, &[BOX], args].concat());
    let failing_twice: [(&[&str], &[&str], i32); 4] = [
        (&[], &["true"], 0),
        (&[], &["sh", "-c", "exit 42"], 42),
        (&[], &["no-such-program"], 127),
        (&[], &["/no/such/program"], 127),
    ];
    for (flags, args, code) in failing_twice {
        engine.record(&run(flags, args).assert_code(code));
    }
    engine.record(&run(&[], &["/etc/passwd"]).assert_code(126));
    // Later runcs say `is a directory`, 1.1 says `permission denied`.
    run(&[], &["/etc"]).assert_code(126).assert_fails_with_any(&["is a directory", "permission denied"]);
    let over_a_folder = run(&["--volume", "/etc/hostname:/etc"], &["true"]).assert_code(125);
    over_a_folder.assert_fails_with("Are you trying to mount a directory onto a file");
    engine.record(&run(&["--user", "nobody-here"], &["true"]).assert_code(125));
    run(&["--init"], &["sh", "-c", "kill -TERM $$"]).assert_code(143);
    run(&["--init"], &["sh", "-c", "kill -KILL $$"]).assert_code(137);
}

fn attached_with_input(engine: &Engine) {
    let answer = engine
        .call_with_input(&["run", "--rm", "--interactive", BOX, "sh"], "echo one; echo two >&2; exit 3");
    assert_eq!((answer.out.as_str(), answer.err.as_str(), answer.code()), ("one\n", "two\n", 3), "{answer}");
}

fn detached_logs_stop(engine: &Engine) {
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done";
    engine.call(&["run", "--detach", "--name", "stopped", BOX, "sh", "-c", script]).assert_ok();
    engine.until(&["logs", "stopped"], "up");
    engine.call(&["stop", "--time", "20", "stopped"]).assert_ok();
    assert_eq!(
        engine.ask(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "stopped"]),
        "exited 7"
    );
    assert_eq!(engine.ask(&["logs", "stopped"]), "up\nbye");
    down(engine, "stopped");
}

fn kill_by_signal(engine: &Engine) {
    up(engine, "killed", &[]);
    engine.call(&["kill", "killed"]).assert_ok();
    assert_eq!(engine.ask(&["wait", "killed"]), "137");
    engine.record(&engine.call(&["kill", "killed"]).assert_code(1));
    down(engine, "killed");
    let script = "trap 'exit 9' USR1; echo up; while :; do sleep 0.1; done";
    engine.call(&["run", "--detach", "--name", "told", BOX, "sh", "-c", script]).assert_ok();
    engine.until(&["logs", "told"], "up");
    engine.call(&["kill", "--signal", "USR1", "told"]).assert_ok();
    assert_eq!(engine.ask(&["wait", "told"]), "9");
    down(engine, "told");
}

fn terminal(engine: &Engine) {
    let script = "tty; test -t 0 && echo a terminal; read word; echo \"heard $word\"; exit 5";
    let answer =
        engine.on_terminal(&["run", "--rm", "-it", BOX, "sh", "-c", script], "knock\n").assert_code(5);
    for text in ["/dev/pts/0", "a terminal", "heard knock"] {
        assert!(answer.out.contains(text), "{text}: {answer}");
    }
    engine.record(&engine.call(&["run", "--rm", "--tty", BOX, "stty", "-a"]));
}

fn exec_codes(engine: &Engine) {
    up(engine, "host", &[]);
    for (args, code) in
        [(&["true"][..], 0), (&["sh", "-c", "exit 5"], 5), (&["sh", "-c", "kill -KILL $$"], 137)]
    {
        engine.call(&[&["exec", "host"], args].concat()).assert_code(code);
    }
    for args in [&["no-such-program"][..], &["/etc/passwd"]] {
        engine.record(&engine.call(&[&["exec", "host"], args].concat()));
    }
    engine.record(&engine.call(&["exec", "--workdir", "/not/there", "host", "true"]));
    let piped = engine.call_with_input(&["exec", "--interactive", "host", "cat"], "through").assert_ok();
    assert_eq!(piped.out, "through");
    engine.call(&["exec", "--detach", "host", "touch", "/tmp/made"]).assert_ok();
    eventually("a detached exec", || {
        engine.call(&["exec", "host", "test", "-e", "/tmp/made"]).status.success().then_some(())
    });
    down(engine, "host");
}

fn exec_as_somebody(engine: &Engine) {
    up(engine, "host", &[]);
    let words = ["exec", "--user", "daemon", "--env", "WORD=here", "--workdir", "/tmp", "host", "sh", "-c"];
    let answer = engine.ask(
        &[&words[..], &["id; pwd; echo $WORD; grep -E 'Cap|NoNew|Seccomp:' /proc/self/status"]].concat(),
    );
    assert!(answer.starts_with("uid=2(daemon) gid=3(daemon)"), "{answer}");
    assert!(answer.contains("\n/tmp\nhere\n"), "{answer}");
    engine.record_text(&answer);
    down(engine, "host");
}

fn exec_on_terminal(engine: &Engine) {
    up(engine, "host", &[]);
    let words = ["exec", "-it", "host", "sh", "-c", "tty; read word; echo \"heard $word\"; exit 6"];
    let answer = engine.on_terminal(&words, "knock\n").assert_code(6);
    assert!(answer.out.contains("/dev/pts/") && answer.out.contains("heard knock"), "{answer}");
    down(engine, "host");
}

fn exec_where_it_cannot(engine: &Engine) {
    up(engine, "host", &[]);
    engine.call(&["pause", "host"]).assert_ok();
    engine.record(&engine.call(&["exec", "host", "true"]).assert_code(1));
    engine.call(&["unpause", "host"]).assert_ok();
    engine.call(&["kill", "host"]).assert_ok();
    engine.ask(&["wait", "host"]);
    engine.record(&engine.call(&["exec", "host", "true"]).assert_code(1));
    down(engine, "host");
}

fn pause(engine: &Engine) {
    let script = "while :; do echo tick; sleep 0.05; done";
    engine.call(&["run", "--detach", "--name", "paused", BOX, "sh", "-c", script]).assert_ok();
    eventually("a first line", || engine.ask(&["logs", "paused"]).contains("tick").then_some(()));
    engine.call(&["pause", "paused"]).assert_ok();
    assert_eq!(engine.ask(&["inspect", "--format", "{{.State.Status}}", "paused"]), "paused");
    let before = engine.ask(&["logs", "paused"]).len();
    assert_eq!(engine.ask(&["logs", "paused"]).len(), before, "a paused container goes on writing");
    engine.record(&engine.call(&["pause", "paused"]).assert_code(1));
    engine.call(&["unpause", "paused"]).assert_ok();
    eventually("a line after the pause", || (engine.ask(&["logs", "paused"]).len() > before).then_some(()));
    engine.record(&engine.call(&["unpause", "paused"]).assert_code(1));
    down(engine, "paused");
}

fn update(engine: &Engine) {
    up(engine, "updated", &["--memory", "64m", "--memory-swap", "64m"]);
    engine
        .call(&["update", "--memory", "96m", "--memory-swap", "96m", "--cpu-shares", "512", "updated"])
        .assert_ok();
    let read = |file: &str| engine.ask(&["exec", "updated", "cat", &format!("/sys/fs/cgroup/{file}")]);
    assert_eq!(read("memory/memory.limit_in_bytes"), "100663296");
    assert_eq!(read("cpu/cpu.shares"), "512");
    engine.call(&["update", "--pids-limit", "33", "updated"]).assert_ok();
    assert_eq!(read("pids/pids.max"), "33");
    assert_eq!(read("memory/memory.limit_in_bytes"), "100663296", "another limit went away");
    engine.call(&["update", "--pids-limit", "-1", "updated"]).assert_ok();
    assert_eq!(read("pids/pids.max"), "max");
    engine.record_text(&engine.ask(&["inspect", "--format", "{{.HostConfig.PidsLimit}}", "updated"]));
    engine.record(&engine.call(&["update", "--cpu-period", "5", "updated"]).assert_code(1));
    engine.call(&["update", "--cpus", "0.5", "updated"]).assert_ok();
    engine.record(&engine.call(&["update", "--cpu-quota", "2000", "updated"]).assert_code(1));
    for policy in ["sometimes", "always:3"] {
        engine.call(&["update", "--restart", policy, "updated"]).assert_code(1);
    }
    down(engine, "updated");
}

/// Nothing that is not there is taken for an image that has to be pulled.
fn refusals(engine: &Engine) {
    for flags in [
        ["--ipc", "container:nobody"],
        ["--network", "container:nobody"],
        ["--cpuset-cpus", "x"],
        ["--cpuset-mems", "0-"],
    ] {
        let words = [&["run", "--rm"], flags.as_slice(), &[BOX, "true"]].concat();
        engine.record(&engine.call(&words).assert_code(125));
    }
    let device = ["run", "--rm", "--device-read-bps", "/dev/nobody:1mb", BOX, "true"];
    engine.call(&device).assert_fails_with("stat /dev/nobody: no such file or directory");
    up(engine, "refuses", &[]);
    engine.record(&engine.call(&["exec", "--detach-keys", "no-key", "refuses", "true"]).assert_code(1));
    engine.record(&engine.call(&["rename", "refuses", "x y"]).assert_code(1));
    // Older engines say so on the stream, with code 126.
    let nobody = engine.call(&["exec", "--user", "nobody-here", "refuses", "true"]);
    assert!(!nobody.status.success(), "{}{}", nobody.out, nobody.err);
    assert!(
        format!("{}{}", nobody.out, nobody.err)
            .contains("unable to find user nobody-here: no matching entries")
    );
    engine.record_text(&engine.ask(&["inspect", "--format", "{{json .Config.Volumes}}", "refuses"]));
    down(engine, "refuses");
}

fn stats_and_top(engine: &Engine) {
    up(engine, "watched", &["--memory", "64m"]);
    let stats = engine.ask(&["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "watched"]);
    assert!(stats.starts_with("1 ") && stats.ends_with("/ 64MiB"), "{stats}");
    let top = engine.ask(&["top", "watched", "-o", "pid,args"]);
    assert!(top.contains("sleep 1000"), "{top}");
    assert_eq!(top.lines().count(), 2, "{top}");
    down(engine, "watched");
}

fn copy(engine: &Engine) {
    up(engine, "copied", &[]);
    let from = engine.file("sent", "by copy\n");
    engine.call(&["cp", &from, "copied:/tmp/received"]).assert_ok();
    assert_eq!(engine.ask(&["exec", "copied", "cat", "/tmp/received"]), "by copy");
    let back = engine.path("back");
    engine.call(&["cp", "copied:/tmp/received", &back]).assert_ok();
    assert_eq!(std::fs::read_to_string(back).expect("the copy"), "by copy\n");
    down(engine, "copied");
    // Not where it is read-only, whatever leads there.
    let words = ["run", "--name", "linked", "--volume", "kept:/kept:ro", BOX, "ln", "-s", "/kept", "/way"];
    engine.call(&words).assert_ok();
    for way in ["/kept/x", "/way/x"] {
        engine.call(&["cp", &from, &format!("linked:{way}")]).assert_code(1);
    }
    down(engine, "linked");
    engine.call(&["volume", "rm", "kept"]).assert_ok();
}

fn restart_policy(engine: &Engine) {
    let flags = ["run", "--detach", "--name", "again", "--restart", "on-failure:2"];
    engine.call(&[&flags[..], &[BOX, "sh", "-c", "echo round; exit 3"]].concat()).assert_ok();
    let state = ["inspect", "--format", "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}", "again"];
    engine.until(&state, "exited 2 3");
    assert_eq!(engine.ask(&["logs", "again"]), "round\nround\nround");
    down(engine, "again");
}

fn restart_by_hand(engine: &Engine) {
    up(engine, "anew", &[]);
    engine.call(&["exec", "anew", "touch", "/tmp/kept"]).assert_ok();
    engine.call(&["restart", "--time", "0", "anew"]).assert_ok();
    engine.call(&["exec", "anew", "test", "-e", "/tmp/kept"]).assert_ok();
    engine.call(&["stop", "--time", "0", "anew"]).assert_ok();
    engine.call(&["start", "anew"]).assert_ok();
    engine.call(&["exec", "anew", "true"]).assert_ok();
    down(engine, "anew");
}

fn init(engine: &Engine) {
    let first = shell(engine, &["--init"], "cat /proc/1/comm").assert_ok();
    assert!(["docker-init\n", "tini\n"].contains(&first.out.as_str()), "{first}");
}

fn healthcheck(engine: &Engine) {
    up(
        engine,
        "well",
        &["--health-cmd", "test -e /tmp/well", "--health-interval", "300ms", "--health-retries", "1"],
    );
    let health = ["inspect", "--format", "{{.State.Health.Status}}", "well"];
    engine.until(&health, "unhealthy");
    engine.call(&["exec", "well", "touch", "/tmp/well"]).assert_ok();
    engine.until(&health, "healthy");
    down(engine, "well");
    // It writes without end, and is ended all the same.
    up(
        engine,
        "loud",
        &[
            "--health-cmd",
            "yes",
            "--health-interval",
            "200ms",
            "--health-timeout",
            "300ms",
            "--health-retries",
            "1",
        ],
    );
    engine.until(&["inspect", "--format", "{{.State.Health.Status}}", "loud"], "unhealthy");
    let said = engine.ask(&["inspect", "--format", "{{(index .State.Health.Log 0).Output}}", "loud"]);
    assert!(said.starts_with("Health check exceeded timeout (300ms)"), "{said}");
    down(engine, "loud");
}

fn build(engine: &Engine) {
    let recipe = format!(
        "FROM {BOX}\nRUN echo built > /made && chown daemon /made\nUSER daemon\nRUN test $(id -u) = 2\nCMD [\"cat\", \"/made\"]\n"
    );
    engine.file("Dockerfile", &recipe);
    let context = engine.path("context");
    std::fs::create_dir_all(&context).expect("a folder");
    let recipe = engine.path("Dockerfile");
    engine.call(&["build", "--tag", "localhost/built", "--file", &recipe, &context]).assert_ok();
    assert_eq!(engine.ask(&["run", "--rm", "localhost/built"]), "built");
    engine.file("Dockerfile", &format!("FROM {BOX}\nRUN exit 9\n"));
    engine.call(&["build", "--file", &recipe, &context]).assert_fails_with("returned a non-zero code: 9");
}

fn created_but_never_started(engine: &Engine) {
    engine.call(&["create", "--name", "idle", BOX, "true"]).assert_ok();
    assert_eq!(engine.ask(&["inspect", "--format", "{{.State.Status}}", "idle"]), "created");
    engine.call(&["start", "--attach", "idle"]).assert_ok();
    down(engine, "idle");
}

fn wait_and_rename(engine: &Engine) {
    up(engine, "old", &[]);
    engine.call(&["rename", "old", "new"]).assert_ok();
    let (child, out, err) = engine.begin(&["wait", "new"], Stdio::null());
    engine.call(&["stop", "--time", "0", "new"]).assert_ok();
    let answer = engine.end_of(&["wait", "new"], child, &out, &err).assert_ok();
    assert_eq!(answer.out, "137\n");
    down(engine, "new");
}
