//! The one image of all engines: static busybox with a link for each applet, as a `docker save` archive.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use knarr_integration::json;
use knarr_integration::runtime::busybox;

/// Its name in every engine.
pub(crate) const BOX: &str = "localhost/box:1";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:2:3:daemon:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\ndaemon:x:3:\n";

/// Makes the archive in `dir`; gives its path.
pub(crate) fn archive(dir: &Path) -> PathBuf {
    let image = dir.join("image");
    let root = dir.join("root-of-image");
    fs::create_dir_all(&image).expect("a folder");
    fill(&root);
    tar(&root, &image.join("layer.tar"));
    fs::write(image.join("config.json"), config(&sha256(&image.join("layer.tar")))).expect("a config");
    let manifest = json!([{"Config": "config.json", "RepoTags": [BOX], "Layers": ["layer.tar"]}]);
    fs::write(image.join("manifest.json"), manifest.to_string()).expect("a manifest");
    let archive = dir.join("box.tar");
    tar(&image, &archive);
    archive
}

fn fill(root: &Path) {
    for folder in ["bin", "etc", "tmp", "root", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let busybox = busybox().expect("busybox");
    fs::copy(&busybox, root.join("bin/busybox")).expect("copy busybox");
    let list = Command::new(busybox).arg("--list").output().expect("list the applets");
    for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).expect("link an applet");
    }
    fs::write(root.join("etc/passwd"), PASSWD).expect("passwd");
    fs::write(root.join("etc/group"), GROUP).expect("group");
}

fn config(layer: &str) -> String {
    json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        "history": [{"created": "2026-01-01T00:00:00Z"}],
    })
    .to_string()
}

fn tar(folder: &Path, archive: &Path) {
    let made =
        Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(archive).arg(".").status().expect("tar");
    assert!(made.success(), "make {}", archive.display());
}

fn sha256(file: &Path) -> String {
    let sum = Command::new("sha256sum").arg(file).output().expect("sha256sum");
    String::from_utf8_lossy(&sum.stdout).split(' ').next().unwrap_or_default().to_owned()
}
