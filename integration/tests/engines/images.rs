//! Images between an engine and our store: what one saves the other loads, under the same ID, and a container of it runs.
//! And images of servers: searched for, and imported.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use knarr_integration::runtime::busybox;
use knarr_integration::{eventually, json};

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

/// Of the server, which is in this run's network namespace.
const ADDRESS: &str = "127.0.0.1:18080";

/// `docker search` of a registry's index, and `docker import` of what a server has.
pub(crate) fn from_a_server(engine: &Engine) {
    let site = engine.path("site");
    std::fs::create_dir_all(format!("{site}/v1")).expect("a folder");
    let found = json!([
        {"name": "one/box", "description": "a box", "star_count": 5, "is_official": true},
        {"name": "two/box", "description": "another", "star_count": 1},
    ]);
    for (name, body) in [("_ping", json!(true)), ("search", json!({"results": found}))] {
        std::fs::write(format!("{site}/v1/{name}"), body.to_string()).expect("a page");
    }
    std::fs::copy(engine.path("site/v1/_ping"), engine.path("site/file")).expect("a file");
    let tar = Command::new("tar").args(["-C", &site, "-cf", &format!("{site}/root.tar"), "file"]).status();
    assert!(tar.expect("start tar").success());
    let mut server = Command::new(busybox().expect("busybox"))
        .args(["httpd", "-f", "-p", ADDRESS, "-h", &site])
        .spawn()
        .expect("start a server");
    eventually("the server listens", || TcpStream::connect(ADDRESS).ok());

    let term = format!("{ADDRESS}/box");
    let row = "{{.Name}} {{.StarCount}} {{.IsOfficial}}";
    assert_eq!(engine.ask(&["search", "--format", row, &term]), "one/box 5 [OK]\ntwo/box 1");
    let stars = ["search", "--format", row, "--filter", "stars=3", &term];
    assert_eq!(engine.ask(&stars), "one/box 5 [OK]");
    let imported = engine.call(&["import", &format!("http://{ADDRESS}/root.tar"), "imported:1"]).assert_ok();
    let id = engine.ask(&["image", "inspect", "--format", "{{.Id}}", "imported:1"]);
    assert!(imported.out.trim_end().ends_with(&id), "{imported}");
    let missing = engine.call(&["import", &format!("http://{ADDRESS}/none.tar"), "imported:2"]);
    assert!(!missing.status.success() && missing.err.contains("404 Not Found"), "{missing}");
    assert!(!engine.call(&["image", "inspect", "imported:2"]).status.success());
    engine.call(&["rmi", "imported:1"]).assert_ok();
    server.kill().and_then(|()| server.wait()).expect("end the server");
    std::fs::remove_dir_all(&site).expect("remove the pages");
}

/// The program beside the runtime under test.
fn program() -> PathBuf {
    let runtime = std::env::var_os("KNARR").expect("KNARR is the runtime's path");
    Path::new(&runtime).with_file_name("knarr-image")
}
