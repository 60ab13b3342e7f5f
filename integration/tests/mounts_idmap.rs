//! Id-mapped bind mounts, `mount_setattr(2)` `MOUNT_ATTR_IDMAP`. runc 1.1 does not know them.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::os::unix::fs::MetadataExt;

use knarr_integration::{Value, World, cases, json};

const WHY: &str = "the files of the source belong to 0 and 1000";

/// A source with a file of root and one of 1000, bound to /mnt with these options and maps.
fn source(world: &mut World, options: &[&str], maps: Option<&Value>) {
    let root = world.file("source/of-root", WHY);
    let user = world.file("source/of-user", WHY);
    std::os::unix::fs::chown(&user, Some(1000), Some(1000)).expect("an owner");
    let folder = root.parent().expect("a folder").to_owned();
    world.mount("/mnt", "bind", folder.to_str().expect("utf-8"), options);
    if let Some(maps) = maps {
        world.edit_mount("/mnt", |mount| {
            mount["uidMappings"] = maps.clone();
            mount["gidMappings"] = maps.clone();
        });
    }
    world.probe(&["stat", "/mnt/of-root", "stat", "/mnt/of-user", "create", "/mnt/new"]);
}

fn map(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

#[track_caller]
fn owners(world: &World) -> (Value, Value) {
    let answer = world.run().assert_ok();
    (answer.act(0)["value"]["uid"].clone(), answer.act(1)["value"]["uid"].clone())
}

cases! {
    knarr("runc 1.1 has none") fn ids_are_mapped(world) {
        source(world, &["bind", "idmap"], Some(&map(0, 5000, 2000)));
        assert_eq!(owners(world), (json!(5000), json!(6000)));
    }

    knarr("runc 1.1 has none") fn mappings_without_the_option(world) {
        source(world, &["bind"], Some(&map(0, 5000, 2000)));
        assert_eq!(owners(world), (json!(5000), json!(6000)));
    }

    knarr("runc 1.1 has none") fn recursive(world) {
        source(world, &["rbind", "ridmap"], Some(&map(0, 5000, 2000)));
        assert_eq!(owners(world), (json!(5000), json!(6000)));
    }

    knarr("runc 1.1 has none") fn read_only_too(world) {
        source(world, &["bind", "idmap", "ro"], Some(&map(0, 5000, 2000)));
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(2)["errno"], libc::EROFS);
    }

    knarr("runc 1.1 has none") fn ids_outside_belong_to_nobody(world) {
        source(world, &["bind", "idmap"], Some(&map(1000, 1000, 1)));
        assert_eq!(owners(world), (json!(65534), json!(1000)));
    }

    knarr("runc 1.1 has none") fn in_a_user_namespace_with_its_maps(world) {
        world.user_namespace(100_000);
        source(world, &["bind", "idmap"], None);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"]["uid"], 0, "root of the host is root inside");
        assert_eq!(answer.act(1)["value"]["uid"], 1000);
        assert_eq!(answer.act(2)["ok"], true, "{answer}");
        let new = std::fs::metadata(world.dir.join("source/new")).expect("the new file");
        assert_eq!(new.uid(), 0, "what it makes belongs to root outside");
    }

    knarr("runc 1.1 has none") fn in_a_user_namespace_with_other_maps(world) {
        world.user_namespace(100_000);
        source(world, &["bind", "idmap"], Some(&map(1000, 100_000, 1)));
        assert_eq!(owners(world), (json!(65534), json!(0)));
    }

    knarr("runc 1.1 has none") fn two_mounts_with_two_maps(world) {
        source(world, &["bind", "idmap"], Some(&map(0, 5000, 2000)));
        let folder = world.dir.join("source");
        world.mount("/tmp", "bind", folder.to_str().expect("utf-8"), &["bind", "idmap"]);
        world.edit_mount("/tmp", |mount| {
            mount["uidMappings"] = map(0, 7000, 2000);
            mount["gidMappings"] = map(0, 7000, 2000);
        });
        world.probe(&["stat", "/mnt/of-root", "stat", "/tmp/of-root"]);
        assert_eq!(owners(world), (json!(5000), json!(7000)));
    }

    knarr("runc 1.1 has none") fn a_file(world) {
        let file = world.file("file", "x");
        world.mount("/etc/mapped", "bind", file.to_str().expect("utf-8"), &["bind", "idmap"]);
        world.edit_mount("/etc/mapped", |mount| {
            mount["uidMappings"] = map(0, 5000, 1);
            mount["gidMappings"] = map(0, 5000, 1);
        });
        world.probe(&["stat", "/etc/mapped"]);
        assert_eq!(world.run().assert_ok().act(0)["value"]["uid"], 5000);
    }

    knarr("runc 1.1 has none") fn only_one_of_the_mappings_is_refused(world) {
        source(world, &["bind", "idmap"], Some(&map(0, 5000, 2000)));
        world.edit_mount("/mnt", |mount| mount["gidMappings"] = json!([]));
        world.run().assert_fails_with("id-mapped mounts must have both uid and gid mappings specified");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 has none") fn only_binds_can_be_mapped(world) {
        world.mount("/mnt", "tmpfs", "tmpfs", &["idmap"]);
        world.edit_mount("/mnt", |mount| {
            mount["uidMappings"] = map(0, 5000, 1);
            mount["gidMappings"] = map(0, 5000, 1);
        });
        world.run().assert_fails_with("id-mapped mounts are only supported for bind-mounts");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 has none") fn a_file_system_that_cannot_fails(world) {
        world.mount("/mnt", "bind", "/sys", &["bind", "idmap"]);
        world.edit_mount("/mnt", |mount| {
            mount["uidMappings"] = map(0, 5000, 1);
            mount["gidMappings"] = map(0, 5000, 1);
        });
        world.run().assert_fails_with("/sys").assert_fails_with("invalid argument");
        world.assert_nothing_left();
    }
}
