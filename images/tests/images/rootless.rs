//! A store of somebody who is not root: uid 65534, alone or as root of a user namespace.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Command, Output};

use knarr_images::archive::{Entry, Kind, Writer};

use crate::archives::tar;
use crate::world::World;

const NOBODY: u32 = 65_534;

/// A folder of nobody's with the program in it.
struct Nobody {
    world: World,
}

impl Nobody {
    fn new() -> Self {
        let world = World::new();
        let home = world.path("home");
        fs::create_dir(&home).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_knarr-image"), home.join("knarr-image")).unwrap();
        for path in [world.path("."), home] {
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self { world }
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.world.path("home").join(name);
        fs::write(&path, bytes).unwrap();
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }

    /// A shell of nobody's in that folder; `before` is what runs it.
    fn shell(&self, before: &[&str], script: &str) -> Output {
        let identity = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
        let mut command = Command::new("setpriv");
        command.args(identity).args(before).args(["sh", "-ec", script]);
        command.current_dir(self.world.path("home")).output().unwrap()
    }
}

const NAMESPACE: [&str; 5] = ["unshare", "--user", "--map-root-user", "--mount", "--"];

fn layer() -> Vec<u8> {
    tar(&[
        ("dir/", b""),
        ("dir/file", b"content"),
        ("dir/link -> file", b""),
        ("closed/", b""),
        ("closed/x", b""),
    ])
}

#[test]
fn root_of_a_user_namespace_has_a_store() {
    let nobody = Nobody::new();
    nobody.file("layer.tar", &layer());
    let script = "
        images() { ./knarr-image --root store \"$@\"; }
        images import layer.tar one:1 >/dev/null
        images unpack one:1 bundle
        test \"$(cat bundle/rootfs/dir/file)\" = content
        test \"$(stat -c %u bundle/rootfs/dir/file)\" = 0
        rm bundle/rootfs/dir/file; rm -r bundle/rootfs/closed; mkdir bundle/rootfs/closed
        echo new >bundle/rootfs/new
        images commit bundle two:1 >/dev/null
        images release bundle
        images unpack two:1 again
        find again/rootfs | sort
        images release again
        images rm one:1 two:1 >/dev/null
        ls store/layers store/snapshots store/blobs/sha256";
    let output = nobody.shell(&NAMESPACE, script);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let expected = "again/rootfs\nagain/rootfs/closed\nagain/rootfs/dir\nagain/rootfs/dir/link\nagain/rootfs/new\n\
                    store/blobs/sha256:\n\nstore/layers:\n\nstore/snapshots:\n";
    assert_eq!(out, expected, "{err}");
}

#[test]
fn what_a_user_namespace_lacks_is_told_once() {
    let nobody = Nobody::new();
    let mut writer = Writer::new(Vec::new());
    writer.entry(&Entry { uid: 7, ..Entry::new("theirs", Kind::Fifo, 0o644) }).unwrap();
    nobody.file("owner.tar", &writer.finish().unwrap());
    let output = nobody.shell(&NAMESPACE, "./knarr-image --root store import owner.tar a:1");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        complaint.contains("archive entry \"theirs\": its owner is not mapped in this user namespace"),
        "{complaint}"
    );
    assert_eq!(complaint.lines().count(), 1, "{complaint}");

    // A device that cannot be made is passed over.
    let mut writer = Writer::new(Vec::new());
    writer.entry(&Entry { device: (1, 3), ..Entry::new("null", Kind::CharDevice, 0o666) }).unwrap();
    nobody.file("device.tar", &writer.finish().unwrap());
    let output = nobody.shell(&NAMESPACE, "./knarr-image --root store import device.tar b:1");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nobody_without_a_namespace_is_told_what_it_takes() {
    let nobody = Nobody::new();
    nobody.file("layer.tar", &layer());
    let output = nobody.shell(&["env"], "./knarr-image --root store import layer.tar a:1");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(complaint.contains("this takes root, of the machine or of a user namespace"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    // What needs no unpacking works.
    let output = nobody.shell(&["env"], "./knarr-image --root store ls");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
