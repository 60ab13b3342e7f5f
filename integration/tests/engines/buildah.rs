//! buildah, which calls the runtime's create, start, state and delete for each step.

use knarr_integration::Runtime;

use crate::engine::Engine;
use crate::image::{BOX, archive};
use crate::named;
use crate::nest::Site;
use crate::suite::Group;

pub(crate) fn group() -> Group {
    Group { name: "buildah", start, cases: named![run, build] }
}

fn start(site: &Site, runtime: Runtime) -> Engine {
    let mut engine = Engine::new(site, "buildah", runtime);
    engine.file("containers.conf", "[engine]\nevents_logger = \"none\"\n");
    let policy = engine.file("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    let (root, run) = (engine.path("root"), engine.path("run"));
    engine.client(&["buildah", "--root", &root, "--runroot", &run, "--storage-driver", "overlay"]);
    let image = format!("docker-archive:{}", archive(&engine.dir).display());
    engine.call(&["pull", "--signature-policy", &policy, &image]).assert_ok();
    engine
}

fn step(engine: &Engine, flags: &[&str], args: &[&str]) -> knarr_integration::Answer {
    let program = engine.program();
    let base = ["run", "--runtime", &program, "--isolation", "oci", "--network", "none"];
    engine.call(&[&base, flags, &["work", "--"], args].concat())
}

fn run(engine: &Engine) {
    engine.call(&["from", "--pull-never", "--name", "work", BOX]).assert_ok();
    // Standard error is not compared: later runcs warn of ambient capabilities, 1.1 does not.
    let made = step(engine, &[], &["sh", "-c", "echo made > /made; id; exit 3"]).assert_code(3);
    engine.record_text(&made.out);
    let script = "cat /made; id; grep -E 'Cap|NoNew' /proc/self/status";
    engine.record_text(&step(engine, &["--user", "daemon"], &["sh", "-c", script]).assert_ok().out);
    let missing = step(engine, &[], &["no-such-program"]);
    assert!(
        !missing.status.success() && missing.said().contains("executable file not found in $PATH"),
        "{missing}"
    );
    engine.call(&["rm", "work"]).assert_ok();
}

fn build(engine: &Engine) {
    let recipe = engine.file(
        "Containerfile",
        &format!("FROM {BOX}\nRUN echo built > /made\nRUN test \"$(cat /made)\" = built\n"),
    );
    let program = engine.program();
    let context = engine.path("context");
    std::fs::create_dir_all(&context).expect("a folder");
    let base = ["build", "--pull-never", "--runtime", &program, "--isolation", "oci", "--network", "none"];
    let cgroup = ["--cgroup-parent", &engine.cgroup];
    engine
        .call(&[&base[..], &cgroup, &["--tag", "localhost/built", "--file", &recipe, &context]].concat())
        .assert_ok();
}
