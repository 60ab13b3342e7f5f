//! dockerd: what the container sees, and what it is kept from.

use knarr_integration::{Runtime, eventually};

use crate::docker::{down, shell, start_with, up};
use crate::engine::Engine;
use crate::image::BOX;
use crate::named;
use crate::nest::Site;
use crate::suite::{Case, Group};

pub(crate) fn cases() -> Vec<Case> {
    named![
        mounts_of_a_plain_container,
        identity_of_a_plain_container,
        volumes,
        tmpfs,
        read_only,
        user,
        capabilities,
        privileged,
        namespaces_of_the_host,
        namespaces_of_a_peer,
        seccomp,
        no_new_privileges,
        devices,
        ports,
        sysctls,
    ]
}

/// A second daemon, with user namespaces.
pub(crate) fn remapped() -> Group {
    Group { name: "docker-remapped", start: start_remapped, cases: named![remapped_ids, remapped_exec] }
}

/// Mount points without what differs from container to container: ids, devices, the sources of the root. And
/// without two that knarr has otherwise than runc 1.1, see docs/conformance.md: the cgroup folder is as read-only as
/// its mount says, and a hybrid machine's cgroup2 is in it.
pub(crate) const MOUNTS: &str = "awk '{ for (i = 7; $i != \"-\"; i++); print $5, $6, $(i+1) }' /proc/self/mountinfo | sort | \
    grep -v -e '^/sys/fs/cgroup ' -e '^/sys/fs/cgroup/unified '";

fn mounts_of_a_plain_container(engine: &Engine) {
    let seen = shell(engine, &[], MOUNTS).assert_ok();
    assert!(seen.out.contains("/proc/sys ro,"), "{seen}");
    engine.record(&seen);
    engine.record(
        &shell(engine, &[], "ls -l /dev /dev/pts | awk '{ print $1, $3, $4, $5, $6, $10, $11, $12 }'")
            .assert_ok(),
    );
}

fn identity_of_a_plain_container(engine: &Engine) {
    let script = "cat /proc/self/limits; grep -vE 'ctxt|FDSize|Vm|Rss|Hugetlb|Cpus|Mems|PPid|SigQ|Speculation' /proc/self/status";
    engine.record(&shell(engine, &["--hostname", "box"], script).assert_ok());
    engine.record(
        &shell(engine, &["--hostname", "box"], "env; hostname; pwd; umask; cat /proc/self/oom_score_adj")
            .assert_ok(),
    );
    engine.record(
        &shell(engine, &[], "ls -l /proc/self/fd | awk '{ print $9, $10 }' | grep -v pipe").assert_ok(),
    );
    engine.record(
        &shell(
            engine,
            &["--ulimit", "nofile=77:99", "--oom-score-adj", "300"],
            "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj",
        )
        .assert_ok(),
    );
}

fn volumes(engine: &Engine) {
    let host = engine.path("shared");
    std::fs::create_dir_all(&host).expect("a folder");
    let (writable, readable) = (format!("{host}:/shared"), format!("{host}:/shared:ro"));
    shell(engine, &["--volume", &writable], "echo from inside > /shared/file").assert_ok();
    assert_eq!(std::fs::read_to_string(format!("{host}/file")).expect("the file"), "from inside\n");
    engine.record(
        &shell(engine, &["--volume", &readable], "cat /shared/file; echo more > /shared/file").assert_code(1),
    );
    shell(engine, &["--volume", "named:/data"], "echo kept > /data/file").assert_ok();
    assert_eq!(shell(engine, &["--volume", "named:/data"], "cat /data/file").out, "kept\n");
    engine.record(
        &shell(
            engine,
            &["--volume", &format!("{host}:/shared:rslave")],
            "grep ' /shared ' /proc/self/mountinfo | grep -c master",
        )
        .assert_ok(),
    );
    engine.call(&["volume", "rm", "named"]).assert_ok();
}

fn tmpfs(engine: &Engine) {
    let script = "grep ' /scratch ' /proc/mounts; stat -c %a /scratch; touch /scratch/file";
    engine.record(&shell(engine, &["--tmpfs", "/scratch:size=1m,mode=1770,noexec"], script).assert_ok());
    shell(engine, &["--shm-size", "2m"], "df -k /dev/shm | grep ' 2048 '").assert_ok();
}

fn read_only(engine: &Engine) {
    engine.record(&shell(engine, &["--read-only"], "touch /file").assert_code(1));
    shell(engine, &["--read-only", "--tmpfs", "/tmp"], "touch /tmp/file && echo > /dev/null").assert_ok();
}

fn user(engine: &Engine) {
    for who in ["daemon", "1234:5678", "1234"] {
        engine.record(
            &shell(
                engine,
                &["--user", who, "--group-add", "99"],
                "id; grep Cap /proc/self/status; echo $HOME",
            )
            .assert_ok(),
        );
    }
}

fn capabilities(engine: &Engine) {
    let seen = "grep Cap /proc/self/status";
    for flags in [
        &["--cap-drop", "ALL"][..],
        &["--cap-add", "NET_ADMIN"],
        &["--cap-drop", "ALL", "--cap-add", "CHOWN"],
    ] {
        engine.record(&shell(engine, flags, seen).assert_ok());
    }
    shell(engine, &["--cap-drop", "CHOWN"], "chown 1 /tmp").assert_fails_with("Operation not permitted");
    shell(engine, &["--cap-add", "NO_SUCH"], "true").assert_code(125);
}

/// Where root lacks a capability, neither runtime can give it; the answers must still be of a kind.
fn privileged(engine: &Engine) {
    let script = format!("grep -E 'Cap|Seccomp:' /proc/self/status; {MOUNTS}; ls /dev | sort");
    let answer = shell(engine, &["--privileged"], &script);
    if answer.status.success() {
        engine.record(&answer);
    } else {
        answer.assert_code(125).assert_fails_with("unable to apply caps");
        engine.record_text("no privileged container here");
    }
}

fn namespace(engine: &Engine, flags: &[&str], kind: &str) -> String {
    shell(engine, flags, &format!("readlink /proc/self/ns/{kind}")).assert_ok().out.trim().to_owned()
}

fn namespaces_of_the_host(engine: &Engine) {
    for (flag, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--network", "net"), ("--uts", "uts")] {
        let ours =
            std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("our namespace").display().to_string();
        assert_eq!(namespace(engine, &[flag, "host"], kind), ours, "{kind}");
        assert_ne!(namespace(engine, &[], kind), ours, "{kind}");
    }
    shell(engine, &["--pid", "host"], "test $$ != 1").assert_ok();
    engine
        .record(&shell(engine, &["--network", "host", "--pid", "host", "--ipc", "host"], MOUNTS).assert_ok());
    engine.record(&shell(engine, &["--network", "none"], "ls /sys/class/net").assert_ok());
}

fn namespaces_of_a_peer(engine: &Engine) {
    up(engine, "peer", &["--ipc", "shareable"]);
    for (flag, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--network", "net")] {
        let theirs = engine.ask(&["exec", "peer", "readlink", &format!("/proc/self/ns/{kind}")]);
        assert_eq!(namespace(engine, &[flag, "container:peer"], kind), theirs, "{kind}");
    }
    // The first process of a pid namespace is safe from the others in it.
    let still = "kill -KILL 1; tr '\\0' ' ' < /proc/1/cmdline";
    let seen = shell(engine, &["--pid", "container:peer"], still).assert_ok();
    assert_eq!(seen.out.trim(), "sleep 1000", "{seen}");
    down(engine, "peer");
}

fn seccomp(engine: &Engine) {
    let rule = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}"#;
    let profile = format!("seccomp={}", engine.file("seccomp.json", rule));
    engine.record(
        &shell(engine, &["--security-opt", &profile], "mkdir /tmp/folder")
            .assert_fails_with("No space left on device"),
    );
    let mode = "grep Seccomp: /proc/self/status";
    assert_eq!(shell(engine, &[], mode).assert_ok().out, "Seccomp:\t2\n");
    assert_eq!(
        shell(engine, &["--security-opt", "seccomp=unconfined"], mode).assert_ok().out,
        "Seccomp:\t0\n"
    );
    engine.record(&shell(engine, &[], "unshare -U true").assert_fails_with("Operation not permitted"));
}

fn no_new_privileges(engine: &Engine) {
    let answer = shell(engine, &["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status");
    assert_eq!(answer.assert_ok().out, "NoNewPrivs:\t1\n");
}

fn devices(engine: &Engine) {
    let list = "ls -l /dev/again | awk '{ print $1, $3, $4, $5, $6 }'; echo > /dev/again && head -c 1 /dev/again | wc -c";
    engine.record(&shell(engine, &["--device", "/dev/null:/dev/again:rw"], list).assert_ok());
    let make = "mknod /tmp/node c 1 7 && head -c 1 /tmp/node | wc -c";
    shell(engine, &[], "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem")
        .assert_fails_with("Operation not permitted");
    engine.record(&shell(engine, &["--device-cgroup-rule", "c 1:7 rmw"], make).assert_ok());
}

fn ports(engine: &Engine) {
    let serve = [
        "run",
        "--detach",
        "--name",
        "server",
        "--publish",
        "127.0.0.1:18080:80",
        BOX,
        "httpd",
        "-f",
        "-h",
        "/etc",
    ];
    engine.call(&serve).assert_ok();
    let page = eventually("the published port", || {
        let page = std::process::Command::new("busybox")
            .args(["wget", "-qO-", "http://127.0.0.1:18080/group"])
            .output();
        page.ok().filter(|page| page.status.success())
    });
    assert_eq!(String::from_utf8_lossy(&page.stdout), "root:x:0:\ndaemon:x:3:\n");
    down(engine, "server");
}

fn sysctls(engine: &Engine) {
    let answer = shell(
        engine,
        &["--sysctl", "net.ipv4.ip_forward=0", "--sysctl", "kernel.msgmax=4096"],
        "sysctl -n net.ipv4.ip_forward kernel.msgmax",
    );
    assert_eq!(answer.assert_ok().out, "0\n4096\n");
}

fn start_remapped(site: &Site, runtime: Runtime) -> Engine {
    for file in ["/etc/subuid", "/etc/subgid"] {
        let ours = site.dir.join("subordinate");
        std::fs::write(&ours, "daemon:200000:65536\n").expect("subordinate ids");
        rustix::mount::mount_bind(&ours, file).expect("own subordinate ids");
    }
    start_with(site, "remapped", runtime, Engine::program, &["--userns-remap", "daemon"])
}

fn remapped_ids(engine: &Engine) {
    let seen = shell(
        engine,
        &[],
        "cat /proc/self/uid_map; id; touch /file; stat -c '%u %g' /file /proc/1/status /dev/null",
    );
    let seen = seen.assert_ok();
    assert!(seen.out.contains("200000"), "{seen}");
    engine.record(&seen);
    engine.record(&shell(engine, &[], MOUNTS).assert_ok());
    engine.record(&shell(engine, &["--userns", "host"], "cat /proc/self/uid_map").assert_ok());
    engine.record(&engine.call(&["run", "--rm", BOX, "no-such-program"]).assert_code(127));
}

fn remapped_exec(engine: &Engine) {
    up(engine, "remapped", &[]);
    engine.record(&engine.call(&["exec", "remapped", "sh", "-c", "cat /proc/self/uid_map; id"]).assert_ok());
    let on_terminal = engine.on_terminal(&["exec", "-it", "remapped", "sh", "-c", "tty; id -u; exit 4"], "");
    assert!(on_terminal.assert_code(4).out.contains("/dev/pts/"));
    down(engine, "remapped");
}
