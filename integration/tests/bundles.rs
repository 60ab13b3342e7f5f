//! Bundles made by the tools people use: `spec` of the runtime and of runc, umoci, mmdebstrap.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use knarr_integration::runtime::installed;
use knarr_integration::{Answer, Value, World, bundle, cases, json};

/// Runs a tool of the machine; its failure is ours.
#[track_caller]
fn tool(name: &str, args: &[&str], folder: &Path) -> Output {
    let program = installed(name).expect("a tool that scripts/setup installs");
    let output = Command::new(program).args(args).current_dir(folder).output().expect("start the tool");
    assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("utf-8")
}

/// Edits the config of a bundle: our cgroup, no terminal, this program. Everything else stays as the tool wrote it.
fn run_bundle(world: &World, bundle: &Path, args: &[&str]) -> Answer {
    let path = bundle.join("config.json");
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(&path).expect("a config")).expect("JSON");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(args);
    config["linux"]["cgroupsPath"] = json!(world.cgroup);
    fs::write(&path, config.to_string()).expect("a config");
    world.call(&["run", "--bundle", utf8(bundle), &world.id])
}

/// A Debian root filesystem, made once and kept beside the tests.
fn debian() -> PathBuf {
    let cache = bundle::cache();
    fs::create_dir_all(&cache).expect("a cache");
    let rootfs = cache.join("debian-minbase");
    let lock = fs::File::create(cache.join("debian-minbase.lock")).expect("a lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    if !rootfs.is_dir() {
        let fresh = cache.join("debian-minbase.new");
        fs::remove_dir_all(&fresh).ok();
        tool("mmdebstrap", &["--variant=minbase", "--mode=root", "bookworm", utf8(&fresh)], &cache);
        fs::rename(fresh, &rootfs).expect("rename");
    }
    rootfs
}

cases! {
    everywhere fn the_spec_of_the_runtime_itself(world) {
        let mut command = world.bare_command();
        command.arg("spec");
        world.finish(command).assert_ok();
        let facts = run_bundle(world, &world.bundle(), &["/bin/probe", "facts"]).assert_ok().facts();
        assert_eq!(facts["pid"], 1);
        assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!([1024, 1024]));
        assert_eq!(facts["no_new_privs"], 1);
        world.assert_nothing_left();
    }

    everywhere fn the_spec_of_runc(world) {
        tool("runc", &["spec"], &world.bundle());
        let facts = run_bundle(world, &world.bundle(), &["/bin/probe", "facts"]).assert_ok().facts();
        assert_eq!((&facts["pid"], &facts["hostname"]), (&json!(1), &json!("runc")));
        world.assert_nothing_left();
    }

    everywhere fn the_spec_of_crun(world) {
        tool("crun", &["spec"], &world.bundle());
        let facts = run_bundle(world, &world.bundle(), &["/bin/probe", "facts"]).assert_ok().facts();
        assert_eq!(facts["pid"], 1);
        world.assert_nothing_left();
    }

    everywhere fn the_rootless_spec_as_root(world) {
        let mut command = world.bare_command();
        command.args(["spec", "--rootless"]);
        world.finish(command).assert_ok();
        let facts = run_bundle(world, &world.bundle(), &["/bin/probe", "facts"]).assert_ok().facts();
        assert_eq!(facts["uid_map"].as_str().map(str::split_whitespace).map(Iterator::collect::<Vec<_>>),
            Some(vec!["0", "0", "1"]));
        world.assert_nothing_left();
    }

    everywhere fn an_image_unpacked_by_umoci(world) {
        let layout = world.dir.join("layout");
        let image = format!("{}:latest", utf8(&layout));
        tool("umoci", &["init", "--layout", utf8(&layout)], &world.dir);
        tool("umoci", &["new", "--image", &image], &world.dir);
        tool("umoci", &["insert", "--image", &image, utf8(&world.rootfs()), "/"], &world.dir);
        tool("umoci", &["config", "--image", &image, "--config.env", "FROM=the-image", "--config.workingdir", "/tmp",
            "--config.cmd", "/bin/probe", "--config.cmd", "facts"], &world.dir);
        // skopeo reads and writes the layout, as a registry client would.
        let copy = world.dir.join("copy");
        tool("skopeo", &["copy", &format!("oci:{image}"), &format!("oci:{}:latest", utf8(&copy))], &world.dir);
        let bundle = world.dir.join("unpacked");
        tool("umoci", &["unpack", "--image", &format!("{}:latest", utf8(&copy)), utf8(&bundle)], &world.dir);
        let facts = run_bundle(world, &bundle, &["/bin/probe", "facts"]).assert_ok().facts();
        assert_eq!(facts["env"]["FROM"], "the-image");
        assert_eq!(facts["cwd"], "/tmp");
        world.assert_nothing_left();
    }

    everywhere fn debian_runs_its_shell(world) {
        let rootfs = debian();
        world.set("/root", json!({"path": utf8(&rootfs), "readonly": true}));
        world.args(&["bash", "-c", "echo from $(. /etc/os-release; echo $ID); cat < <(echo pipe); id -un"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.out, "from debian\npipe\nroot\n", "{answer}");
        world.assert_nothing_left();
    }

    everywhere fn debian_in_a_user_namespace(world) {
        let rootfs = debian();
        world.user_namespace(100_000).set("/root", json!({"path": utf8(&rootfs), "readonly": false}));
        world.args(&["id", "-u"]);
        assert_eq!(world.run().assert_ok().out, "0\n");
        world.assert_nothing_left();
    }
}
