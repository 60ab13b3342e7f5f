//! Images between an engine and our store: what one saves the other loads, under the same ID, and a container of it runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::engine::Engine;
use crate::image::BOX;

/// The name under which the image comes back.
const OURS: &str = "localhost/ours:1";

/// `load` are more flags of the engine's command of that name.
pub(crate) fn there_and_back(engine: &Engine, load: &[&str]) {
    let (theirs, ours) = (engine.path("theirs.tar"), engine.path("ours.tar"));
    let id = engine.ask(&["image", "inspect", "--format", "{{.Id}}", BOX]);
    engine.call(&["save", "--output", &theirs, BOX]).assert_ok();
    let store = engine.path("store-of-ours");
    let program = program();
    let image = |args: &[&str]| {
        let output =
            Command::new(&program).args(["--root", &store]).args(args).output().expect("knarr-image starts");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(image(&["load", "--input", &theirs]), format!("Loaded image: {BOX}\n"));
    image(&["tag", &id, OURS]);
    image(&["save", OURS, "--output", &ours]);
    engine.call(&[&["load"], load, &["--input", &ours]].concat()).assert_ok();
    assert_eq!(engine.ask(&["image", "inspect", "--format", "{{.Id}}", OURS]), id);
    let ran = engine.call(&["run", "--rm", "--network", "none", OURS, "echo", "from ours"]).assert_ok();
    assert_eq!(ran.out, "from ours\n");
    engine.call(&["rmi", OURS]).assert_ok();
    // The next run of this case, with the other runtime, begins anew.
    std::fs::remove_dir_all(&store).expect("remove the store");
}

/// The program beside the runtime under test.
fn program() -> PathBuf {
    let runtime = std::env::var_os("KNARR").expect("KNARR is the runtime's path");
    Path::new(&runtime).with_file_name("knarr-image")
}
