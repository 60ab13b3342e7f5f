//! `mounts`, `maskedPaths`, `readonlyPaths`, `rootfsPropagation` and a read-only root.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use knarr_integration::{Value, World, cases, json};

/// The last mount at `point` in the probe's facts.
#[track_caller]
fn mount_at(facts: &Value, point: &str) -> Value {
    let mounts = facts["mounts"].as_array().expect("mounts");
    let found = mounts.iter().rev().find(|mount| mount["point"] == point);
    found.unwrap_or_else(|| panic!("nothing is mounted at {point}: {mounts:#?}")).clone()
}

fn has(list: &Value, word: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|entry| entry == word))
}

/// Binds a folder with a file `inside` to /mnt with these options; gives the mount as the program sees it.
#[track_caller]
fn bound(world: &mut World, options: &[&str]) -> Value {
    world.file("source/inside", "content");
    let source = world.dir.join("source");
    world.mount("/mnt", "bind", source.to_str().expect("utf-8"), options);
    mount_at(&world.run_facts(), "/mnt")
}

/// A tmpfs on /mnt with these options; gives the mount as the program sees it.
#[track_caller]
fn tmpfs(world: &mut World, options: &[&str]) -> Value {
    world.mount("/mnt", "tmpfs", "tmpfs", options);
    mount_at(&world.run_facts(), "/mnt")
}

/// The rootfs with a tmpfs below a folder that is bound: what recursive options have to reach.
fn nested_source(world: &mut World) -> String {
    let outer = world.folder("outer");
    let inner = world.folder("outer/inner");
    rustix::mount::mount("tmpfs", &inner, "tmpfs", rustix::mount::MountFlags::empty(), None)
        .expect("a tmpfs");
    world.accept_mounts();
    outer.to_str().expect("utf-8").to_owned()
}

cases! {
    everywhere fn the_default_mounts(world) {
        let facts = world.run_facts();
        let kinds = [("/proc", "proc"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs"),
            ("/dev/mqueue", "mqueue"), ("/sys", "sysfs")];
        for (point, kind) in kinds {
            assert_eq!(mount_at(&facts, point)["fs"], kind, "{point}");
        }
        let dev = mount_at(&facts, "/dev");
        assert!(has(&dev["options"], "nosuid"), "{dev}");
        assert!(has(&dev["super"], "mode=755") && has(&dev["super"], "size=65536k"), "{dev}");
        let sys = mount_at(&facts, "/sys");
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(has(&sys["options"], option), "{option}: {sys}");
        }
    }

    everywhere fn nothing_of_the_host_is_mounted(world) {
        let facts = world.run_facts();
        let mounts = facts["mounts"].as_array().expect("mounts");
        let at_root = mounts.iter().filter(|mount| mount["point"] == "/").count();
        assert_eq!(at_root, 1, "{mounts:#?}");
        let allowed = ["/", "/proc", "/dev", "/sys"];
        for mount in mounts {
            let point = mount["point"].as_str().expect("a path");
            assert!(allowed.iter().any(|a| point == *a || (*a != "/" && point.starts_with(a))), "{mount}");
        }
    }

    everywhere fn the_root_has_only_what_the_rootfs_has(world) {
        let facts = world.run_facts();
        let names: Vec<Value> = fs::read_dir(world.rootfs()).expect("the rootfs").flatten()
            .map(|entry| json!(entry.file_name().to_string_lossy())).collect();
        let inside = facts["root_entries"].as_array().expect("entries");
        assert_eq!(inside.len(), names.len());
        assert!(inside.iter().all(|name| names.contains(name)), "{inside:?}");
    }

    everywhere fn a_bind_of_a_folder(world) {
        world.file("source/inside", "content");
        let source = world.dir.join("source");
        world.mount("/mnt", "bind", source.to_str().expect("utf-8"), &["bind"]);
        world.probe(&["read", "/mnt/inside", "create", "/mnt/new"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"], "content");
        assert!(source.join("new").exists());
    }

    everywhere fn a_bind_of_a_file_makes_its_target(world) {
        let source = world.file("file", "content");
        world.mount("/etc/of/the/bundle.conf", "bind", source.to_str().expect("utf-8"), &["bind", "ro"]);
        world.probe(&["read", "/etc/of/the/bundle.conf", "write", "/etc/of/the/bundle.conf", "x"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"], "content");
        assert_eq!(answer.act(1)["errno"], libc::EROFS);
        let target = fs::metadata(world.rootfs().join("etc/of/the/bundle.conf")).expect("the target");
        assert!(target.is_file() && target.len() == 0);
        let folder = fs::metadata(world.rootfs().join("etc/of")).expect("its folder");
        assert_eq!(folder.mode() & 0o777, 0o755);
    }

    knarr("runc 1.1 wants the option") fn a_bind_by_type_alone(world) {
        world.file("source/inside", "content");
        let source = world.dir.join("source");
        world.mount("/mnt", "bind", source.to_str().expect("utf-8"), &[]);
        world.probe(&["read", "/mnt/inside"]);
        assert_eq!(world.run().assert_ok().act(0)["value"], "content");
    }

    everywhere fn a_bind_by_option_alone(world) {
        world.file("source/inside", "content");
        let source = world.dir.join("source");
        world.mount("/mnt", "none", source.to_str().expect("utf-8"), &["rbind"]);
        world.probe(&["read", "/mnt/inside"]);
        assert_eq!(world.run().assert_ok().act(0)["value"], "content");
    }

    everywhere fn a_relative_bind_source_starts_at_the_bundle(world) {
        world.file("bundle/beside/inside", "content");
        world.mount("/mnt", "bind", "beside", &["bind"]).probe(&["read", "/mnt/inside"]);
        assert_eq!(world.run().assert_ok().act(0)["value"], "content");
    }

    everywhere fn a_missing_bind_source_fails(world) {
        world.mount("/mnt", "bind", "/no/such/source", &["bind"]);
        world.run().assert_fails_with("/no/such/source").assert_fails_with("no such file or directory");
        world.assert_nothing_left();
    }

    everywhere fn a_folder_over_a_file_fails(world) {
        let source = world.folder("source");
        world.mount("/etc/passwd", "bind", source.to_str().expect("utf-8"), &["bind"]);
        world.run().assert_fails_with("not a directory");
        world.assert_nothing_left();
    }

    everywhere fn a_file_over_a_folder_fails(world) {
        let source = world.file("file", "");
        world.mount("/mnt", "bind", source.to_str().expect("utf-8"), &["bind"]);
        world.run().assert_fails_with("directory");
        world.assert_nothing_left();
    }

    everywhere fn a_bind_is_read_only_on_demand(world) {
        let mount = bound(world, &["bind", "ro"]);
        assert!(has(&mount["options"], "ro"), "{mount}");
    }

    everywhere fn a_bind_takes_flags(world) {
        let mount = bound(world, &["bind", "nosuid", "nodev", "noexec", "noatime"]);
        for option in ["nosuid", "nodev", "noexec", "noatime", "rw"] {
            assert!(has(&mount["options"], option), "{option}: {mount}");
        }
    }

    everywhere fn the_last_of_opposite_flags_wins(world) {
        let mount = bound(world, &["bind", "ro", "noexec", "rw", "exec", "nosuid"]);
        assert!(has(&mount["options"], "rw") && !has(&mount["options"], "noexec"), "{mount}");
        assert!(has(&mount["options"], "nosuid"), "{mount}");
    }

    everywhere fn tmpfs_flags(world) {
        let mount = tmpfs(world, &["nosuid", "nodev", "noexec", "nodiratime", "noatime", "ro"]);
        for option in ["nosuid", "nodev", "noexec", "nodiratime", "noatime", "ro"] {
            assert!(has(&mount["options"], option), "{option}: {mount}");
        }
    }

    everywhere fn access_time_flags(world) {
        let mount = tmpfs(world, &["strictatime"]);
        assert!(!has(&mount["options"], "relatime") && !has(&mount["options"], "noatime"), "{mount}");
        let mount = tmpfs(world, &["relatime"]);
        assert!(has(&mount["options"], "relatime"), "{mount}");
    }

    everywhere fn super_block_flags(world) {
        let mount = tmpfs(world, &["sync", "dirsync"]);
        assert!(has(&mount["super"], "sync") && has(&mount["super"], "dirsync"), "{mount}");
    }

    knarr("runc 1.1 does not know nosymfollow") fn nosymfollow(world) {
        let mount = tmpfs(world, &["nosymfollow"]);
        assert!(has(&mount["options"], "nosymfollow"), "{mount}");
    }

    everywhere fn data_goes_to_the_file_system(world) {
        let mount = tmpfs(world, &["size=4096k", "nr_inodes=100"]);
        for option in ["size=4096k", "nr_inodes=100"] {
            assert!(has(&mount["super"], option), "{option}: {mount}");
        }
    }

    everywhere fn an_option_the_file_system_refuses_fails(world) {
        world.mount("/mnt", "tmpfs", "tmpfs", &["no_such_option=1"]);
        world.run().assert_fails_with("/mnt").assert_fails_with("invalid argument");
        world.assert_nothing_left();
    }

    everywhere fn an_unknown_file_system_fails(world) {
        world.mount("/mnt", "nosuchfs", "x", &[]);
        world.run().assert_fails_with("no such device");
        world.assert_nothing_left();
    }

    everywhere fn a_tmpfs_inherits_the_mode_of_its_folder(world) {
        fs::set_permissions(world.rootfs().join("mnt"), fs::Permissions::from_mode(0o1700)).expect("a mode");
        world.mount("/mnt", "tmpfs", "tmpfs", &[]).probe(&["stat", "/mnt"]);
        assert_eq!(world.run().assert_ok().act(0)["value"]["mode"], 0o1700);
    }

    knarr("runc 1.1 sets that of the folder") fn a_mode_of_the_options_wins(world) {
        fs::set_permissions(world.rootfs().join("mnt"), fs::Permissions::from_mode(0o1700)).expect("a mode");
        world.mount("/mnt", "tmpfs", "tmpfs", &["mode=0711"]).probe(&["stat", "/mnt"]);
        assert_eq!(world.run().assert_ok().act(0)["value"]["mode"], 0o711);
    }

    everywhere fn the_mode_of_proc_and_sys_is_their_own(world) {
        fs::set_permissions(world.rootfs().join("proc"), fs::Permissions::from_mode(0o700)).expect("a mode");
        world.probe(&["stat", "/proc", "stat", "/sys"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"]["mode"], 0o555);
        assert_eq!(answer.act(1)["value"]["mode"], 0o555);
    }

    everywhere fn tmpcopyup_copies_the_content(world) {
        let folder = world.rootfs().join("etc/deep");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("file"), "content").expect("a file");
        fs::set_permissions(folder.join("file"), fs::Permissions::from_mode(0o640)).expect("a mode");
        std::os::unix::fs::chown(folder.join("file"), Some(0), Some(34)).expect("an owner");
        symlink("file", folder.join("link")).expect("a symlink");
        world.mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup"]);
        world.probe(&["facts", "read", "/etc/deep/link", "stat", "/etc/deep/file", "stat", "/etc/deep/link",
            "create", "/etc/new"]);
        let answer = world.run().assert_ok();
        assert_eq!(mount_at(&answer.facts(), "/etc")["fs"], "tmpfs");
        assert_eq!(answer.act(1)["value"], "content");
        let stat = &answer.act(2)["value"];
        assert_eq!((&stat["mode"], &stat["uid"], &stat["gid"]), (&json!(0o640), &json!(0), &json!(34)));
        assert_eq!(answer.act(3)["value"]["target"], "file");
        assert_eq!(answer.act(4)["ok"], true);
        assert!(!world.rootfs().join("etc/new").exists(), "it went through the tmpfs");
        assert!(world.rootfs().join("etc/passwd").exists(), "the original moved");
    }

    everywhere fn a_read_only_tmpcopyup(world) {
        world.mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
        world.probe(&["read", "/etc/group", "create", "/etc/new"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["ok"], true);
        assert_eq!(answer.act(1)["errno"], libc::EROFS);
    }

    everywhere fn the_order_of_mounts_counts(world) {
        let source = world.file("source/inside", "content").parent().expect("a folder").to_owned();
        world.mount("/mnt", "tmpfs", "tmpfs", &[]);
        world.mount("/mnt/below", "bind", source.to_str().expect("utf-8"), &["bind"]);
        world.probe(&["read", "/mnt/below/inside"]);
        assert_eq!(world.run().assert_ok().act(0)["value"], "content");
        assert!(!world.rootfs().join("mnt/below").exists(), "made in the tmpfs, not below it");
    }

    everywhere fn two_mounts_at_one_place(world) {
        world.mount("/mnt", "tmpfs", "first", &[]).mount("/mnt", "tmpfs", "second", &[]);
        assert_eq!(mount_at(&world.run_facts(), "/mnt")["source"], "second");
    }

    everywhere fn a_missing_target_is_made(world) {
        world.mount("/not/yet/there", "tmpfs", "tmpfs", &[]);
        mount_at(&world.run_facts(), "/not/yet/there");
        let made = fs::metadata(world.rootfs().join("not/yet/there")).expect("the target");
        assert_eq!(made.mode() & 0o777, 0o755);
    }

    everywhere fn a_relative_target_starts_at_the_root(world) {
        world.mount("mnt", "tmpfs", "tmpfs", &[]);
        mount_at(&world.run_facts(), "/mnt");
    }

    everywhere fn an_absolute_symlink_in_the_target_stays_inside(world) {
        let outside = world.folder("outside");
        fs::create_dir_all(world.rootfs().join(outside.strip_prefix("/").expect("absolute"))).expect("a copy");
        symlink(&outside, world.rootfs().join("link")).expect("a symlink");
        world.mount("/link", "tmpfs", "tmpfs", &[]);
        mount_at(&world.run_facts(), outside.to_str().expect("utf-8"));
        world.assert_nothing_left();
    }

    everywhere fn dot_dots_in_the_target_stay_inside(world) {
        symlink("../../../../../../mnt", world.rootfs().join("up")).expect("a symlink");
        world.mount("/up", "tmpfs", "tmpfs", &[]).mount("/../../../tmp", "tmpfs", "tmpfs", &[]);
        let facts = world.run_facts();
        mount_at(&facts, "/mnt");
        mount_at(&facts, "/tmp");
    }

    everywhere fn a_dangling_symlink_is_made_inside(world) {
        symlink("/not/there/yet", world.rootfs().join("dangling")).expect("a symlink");
        world.mount("/dangling", "tmpfs", "tmpfs", &[]);
        mount_at(&world.run_facts(), "/not/there/yet");
        assert!(!std::path::Path::new("/not").exists());
    }

    everywhere fn a_read_only_root(world) {
        world.set("/root/readonly", true).probe(&["facts", "create", "/new", "create", "/dev/shm/new"]);
        let answer = world.run().assert_ok();
        assert!(has(&mount_at(&answer.facts(), "/")["options"], "ro"));
        assert_eq!(answer.act(1)["errno"], libc::EROFS);
        assert_eq!(answer.act(2)["ok"], true);
    }

    everywhere fn a_writable_root(world) {
        world.probe(&["create", "/new"]);
        assert_eq!(world.run().assert_ok().act(0)["ok"], true);
        assert!(world.rootfs().join("new").exists());
    }

    everywhere fn a_read_only_root_makes_targets_all_the_same(world) {
        world.set("/root/readonly", true).mount("/not/there", "tmpfs", "tmpfs", &[]);
        mount_at(&world.run_facts(), "/not/there");
    }

    everywhere fn a_read_only_dev_has_its_devices(world) {
        world.edit_mount("/dev", |mount| mount["options"] = json!(["nosuid", "ro", "mode=755"]));
        world.probe(&["facts", "write", "/dev/null", "x", "create", "/dev/new"]);
        let answer = world.run().assert_ok();
        assert!(has(&mount_at(&answer.facts(), "/dev")["options"], "ro"));
        assert_eq!(answer.act(1)["ok"], true);
        assert_eq!(answer.act(2)["errno"], libc::EROFS);
    }

    everywhere fn masked_files_and_folders(world) {
        fs::create_dir(world.rootfs().join("secrets")).expect("a folder");
        fs::write(world.rootfs().join("secrets/key"), "key").expect("a file");
        fs::write(world.rootfs().join("secret"), "key").expect("a file");
        for path in ["/secrets", "/secret", "/not/there", "/secret"] {
            world.push("/linux/maskedPaths", json!(path));
        }
        world.probe(&["read", "/secret", "list", "/secrets", "create", "/secrets/new", "stat", "/not", "stat",
            "/secret"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"], "");
        assert_eq!(answer.act(1)["value"], json!([]));
        assert_eq!(answer.act(2)["errno"], libc::EROFS);
        assert_eq!(answer.act(3)["errno"], libc::ENOENT);
        assert_eq!(answer.act(4)["value"]["minor"], 3, "/dev/null covers it");
    }

    everywhere fn masked_proc_files(world) {
        world.probe(&["read", "/proc/kcore", "list", "/proc/scsi", "read", "/proc/keys"]);
        let answer = world.run().assert_ok();
        for act in answer.answers() {
            let hidden = act["value"] == "" || act["value"] == json!([]) || act["value"] == json!(null) || act["errno"] == libc::ENOENT;
            assert!(hidden, "{act}");
        }
    }

    everywhere fn a_masked_symlink_masks_its_target_inside(world) {
        fs::write(world.rootfs().join("real"), "key").expect("a file");
        symlink("/real", world.rootfs().join("link")).expect("a symlink");
        world.push("/linux/maskedPaths", json!("/link")).probe(&["read", "/real", "read", "/link"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(1)["value"], "", "{answer}");
    }

    everywhere fn read_only_paths(world) {
        world.capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
        world.push("/linux/readonlyPaths", json!("/etc")).push("/linux/readonlyPaths", json!("/not/there"));
        world.probe(&["write", "/proc/sys/net/ipv4/ip_forward", "1", "create", "/etc/new", "facts"]);
        let answer = world.run().assert_ok();
        for index in 0..2 {
            assert_eq!(answer.act(index)["errno"], libc::EROFS, "{}", answer.act(index));
        }
        // What protected /proc before still does.
        let sys = mount_at(&answer.facts(), "/proc/sys");
        assert!(has(&sys["options"], "ro"), "{sys}");
    }

    everywhere fn read_only_paths_keep_other_flags(world) {
        world.mount("/mnt", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
        world.push("/linux/readonlyPaths", json!("/mnt"));
        let mount = mount_at(&world.run_facts(), "/mnt");
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(has(&mount["options"], option), "{option}: {mount}");
        }
    }

    everywhere fn a_bind_without_flags_keeps_those_of_its_source(world) {
        let source = world.folder("source");
        let flags = rustix::mount::MountFlags::NOSUID | rustix::mount::MountFlags::NOEXEC;
        rustix::mount::mount("tmpfs", &source, "tmpfs", flags, None).expect("a tmpfs");
        world.accept_mounts();
        world.mount("/mnt", "bind", source.to_str().expect("utf-8"), &["bind"]);
        let mount = mount_at(&world.run_facts(), "/mnt");
        assert!(has(&mount["options"], "nosuid") && has(&mount["options"], "noexec"), "{mount}");
        world.assert_nothing_left();
    }

    everywhere fn rbind_brings_what_is_mounted_below(world) {
        let outer = nested_source(world);
        world.mount("/mnt", "bind", &outer, &["rbind"]);
        assert_eq!(mount_at(&world.run_facts(), "/mnt/inner")["fs"], "tmpfs");
        world.assert_nothing_left();
    }

    everywhere fn bind_leaves_it_behind(world) {
        let outer = nested_source(world);
        world.mount("/mnt", "bind", &outer, &["bind"]);
        let facts = world.run_facts();
        let mounts = facts["mounts"].as_array().expect("mounts");
        assert!(!mounts.iter().any(|mount| mount["point"] == "/mnt/inner"), "{mounts:#?}");
    }

    everywhere fn ro_is_not_recursive(world) {
        let outer = nested_source(world);
        world.mount("/mnt", "bind", &outer, &["rbind", "ro"]);
        let facts = world.run_facts();
        assert!(has(&mount_at(&facts, "/mnt")["options"], "ro"));
        assert!(has(&mount_at(&facts, "/mnt/inner")["options"], "rw"));
    }

    everywhere fn rro_is_recursive(world) {
        let outer = nested_source(world);
        world.mount("/mnt", "bind", &outer, &["rbind", "rro"]);
        let facts = world.run_facts();
        assert!(has(&mount_at(&facts, "/mnt")["options"], "ro"));
        assert!(has(&mount_at(&facts, "/mnt/inner")["options"], "ro"));
    }

    everywhere fn other_recursive_attributes(world) {
        let outer = nested_source(world);
        world.mount("/mnt", "bind", &outer, &["rbind", "rnosuid", "rnodev", "rnoexec", "rnoatime"]);
        let facts = world.run_facts();
        for point in ["/mnt", "/mnt/inner"] {
            let mount = mount_at(&facts, point);
            for option in ["nosuid", "nodev", "noexec", "noatime"] {
                assert!(has(&mount["options"], option), "{option} at {point}: {mount}");
            }
        }
    }

    everywhere fn recursive_attributes_can_be_taken_away(world) {
        let outer = nested_source(world);
        let inner = format!("{outer}/inner");
        let flags = rustix::mount::MountFlags::RDONLY | rustix::mount::MountFlags::BIND;
        rustix::mount::mount_remount(&inner, flags, "").expect("read-only");
        world.accept_mounts();
        world.mount("/mnt", "bind", &outer, &["rbind", "rrw"]);
        assert!(has(&mount_at(&world.run_facts(), "/mnt/inner")["options"], "rw"));
    }

    everywhere fn a_bind_with_data_is_refused(world) {
        let source = world.folder("source");
        world.mount("/mnt", "bind", source.to_str().expect("utf-8"), &["bind", "size=10k"]);
        let answer = world.run();
        assert!(!answer.status.success() || world.is_runc(), "{answer}");
    }

    knarr("runc 1.1 lets it pass") fn a_bind_with_data_says_why(world) {
        let source = world.folder("source");
        world.mount("/mnt", "bind", source.to_str().expect("utf-8"), &["bind", "size=10k"]);
        world.run().assert_fails_with("bind mounts cannot have any filesystem-specific options applied");
        world.assert_nothing_left();
    }

    everywhere fn mounts_are_private_by_default(world) {
        let facts = world.run_facts();
        for mount in facts["mounts"].as_array().expect("mounts") {
            let shared = mount["propagation"].to_string();
            assert!(!shared.contains("shared:"), "{mount}");
        }
    }

    everywhere fn a_shared_mount(world) {
        let mount = tmpfs(world, &["shared"]);
        assert!(mount["propagation"].to_string().contains("shared:"), "{mount}");
    }

    everywhere fn an_unbindable_mount(world) {
        let mount = tmpfs(world, &["unbindable"]);
        assert!(has(&mount["propagation"], "unbindable"), "{mount}");
    }

    everywhere fn a_slave_of_the_host(world) {
        let source = world.folder("source");
        rustix::mount::mount("tmpfs", &source, "tmpfs", rustix::mount::MountFlags::empty(), None).expect("a tmpfs");
        rustix::mount::mount_change(&source, rustix::mount::MountPropagationFlags::SHARED).expect("shared");
        world.accept_mounts();
        world.mount("/mnt", "bind", source.to_str().expect("utf-8"), &["rbind", "rslave"]);
        world.probe(&["block", "echo", "ready", "wait", "facts", "exit", "0"]);
        let created = world.up();
        created.wait_for("ready");
        let below = world.folder("source/later");
        rustix::mount::mount("tmpfs", &below, "tmpfs", rustix::mount::MountFlags::empty(), None).expect("a tmpfs");
        world.kill("TERM").assert_ok();
        let facts = created.facts();
        assert_eq!(mount_at(&facts, "/mnt/later")["fs"], "tmpfs", "the host's mount did not arrive");
        assert!(mount_at(&facts, "/mnt")["propagation"].to_string().contains("master:"));
    }

    knarr("runc 1.1 leaves it private") fn the_propagation_of_the_root(world) {
        for (value, shown) in [("shared", "shared:"), ("private", "[]"), ("unbindable", "unbindable")] {
            world.set("/linux/rootfsPropagation", value);
            let root = mount_at(&world.run_facts(), "/");
            assert!(root["propagation"].to_string().contains(shown), "{value}: {root}");
        }
    }

    everywhere fn an_unknown_propagation_of_the_root_is_refused(world) {
        world.set("/linux/rootfsPropagation", "viral");
        world.run().assert_fails_with("rootfsPropagation=viral is not supported");
        world.assert_nothing_left();
    }

    everywhere fn nothing_propagates_to_a_shared_host(world) {
        let everything = rustix::mount::MountPropagationFlags::SHARED | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", everything).expect("shared");
        world.accept_mounts();
        world.mount("/mnt", "tmpfs", "tmpfs", &[]).probe(&["block", "echo", "ready", "wait"]);
        let created = world.up();
        created.wait_for("ready");
        let ours = knarr_integration::leftovers::mounts();
        let leaked: Vec<_> = ours.iter().filter(|line| line.contains(&world.id)).collect();
        assert!(leaked.is_empty(), "{leaked:?}");
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn a_mount_inside_proc_is_refused(world) {
        let source = world.file("file", "");
        world.mount("/proc/version", "bind", source.to_str().expect("utf-8"), &["bind"]);
        world.run().assert_fails_with("cannot be mounted because it is inside /proc");
        world.assert_nothing_left();
    }

    everywhere fn a_mount_over_a_file_of_lxcfs(world) {
        let source = world.file("file", "of lxcfs");
        world.mount("/proc/uptime", "bind", source.to_str().expect("utf-8"), &["bind"]);
        world.probe(&["read", "/proc/uptime"]);
        assert_eq!(world.run().assert_ok().act(0)["value"], "of lxcfs");
    }

    everywhere fn a_tmpfs_over_proc_is_refused(world) {
        world.mount("/proc", "tmpfs", "tmpfs", &[]);
        world.run().assert_fails_with("/proc");
        world.assert_nothing_left();
    }

    everywhere fn without_pivot_root(world) {
        world.probe(&["facts", "read", "/etc/passwd"]);
        let answer = world.run_with(&["--no-pivot"]).assert_ok();
        assert_eq!(answer.act(1)["ok"], true);
        assert_eq!(answer.facts()["root_entries"].as_array().map(|e| e.contains(&json!("bin"))), Some(true));
    }

    v1 fn the_cgroup_mount_of_v1(world) {
        world.probe(&["list", "/sys/fs/cgroup", "read", "/sys/fs/cgroup/pids/cgroup.procs", "create",
            "/sys/fs/cgroup/pids/new", "facts"]);
        let answer = world.run().assert_ok();
        let listed = answer.act(0)["value"].clone();
        for name in ["pids", "memory", "devices", "freezer", "cpu", "systemd"] {
            assert!(has(&listed, name), "{name}: {listed}");
        }
        assert_eq!(answer.act(1)["value"], "1\n", "its own cgroup");
        assert_eq!(answer.act(2)["ok"], false, "it is read-only");
        assert!(has(&mount_at(&answer.facts(), "/sys/fs/cgroup/pids")["options"], "ro"));
    }

    v1 fn the_cgroup_mount_of_v1_in_a_cgroup_namespace(world) {
        world.namespace("cgroup", None);
        world.probe(&["read", "/sys/fs/cgroup/pids/cgroup.procs", "facts"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"], "1\n");
        let cgroup = answer.facts()["cgroup"].as_str().expect("cgroups").to_owned();
        assert!(cgroup.contains(":pids:/\n"), "{cgroup}");
        assert_eq!(mount_at(&answer.facts(), "/sys/fs/cgroup/pids")["fs"], "cgroup");
    }

    v2 fn the_cgroup_mount_of_v2(world) {
        world.namespace("cgroup", None);
        world.probe(&["read", "/sys/fs/cgroup/cgroup.procs", "create", "/sys/fs/cgroup/x", "facts"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"], "1\n");
        assert_eq!(answer.act(1)["errno"], libc::EROFS);
        let mount = mount_at(&answer.facts(), "/sys/fs/cgroup");
        assert_eq!(mount["fs"], "cgroup2");
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(has(&mount["options"], option), "{option}: {mount}");
        }
    }

    v2 fn a_writable_cgroup_mount_of_v2(world) {
        world.namespace("cgroup", None);
        world.edit_mount("/sys/fs/cgroup", |mount| mount["options"] = json!(["rw", "nosuid", "noexec", "nodev"]));
        world.probe(&["mkdir", "/sys/fs/cgroup/sub", "list", "/sys/fs/cgroup/sub"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["ok"], true, "{answer}");
        world.assert_nothing_left();
    }

    everywhere fn dev_of_the_host(world) {
        world.without_mount("/dev").without_mount("/dev/pts").without_mount("/dev/shm").without_mount("/dev/mqueue");
        world.mount("/dev", "bind", "/dev", &["rbind", "rprivate"]);
        let before: Vec<_> = fs::read_dir("/dev").expect("/dev").flatten().map(|e| e.file_name()).collect();
        world.probe(&["stat", "/dev/null", "write", "/dev/null", "x"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(1)["ok"], true);
        let after: Vec<_> = fs::read_dir("/dev").expect("/dev").flatten().map(|e| e.file_name()).collect();
        assert_eq!(before, after, "the host's /dev was changed");
    }

    everywhere fn no_dev_at_all(world) {
        for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            world.without_mount(place);
        }
        world.probe(&["write", "/dev/null", "x"]);
        assert_eq!(world.run().assert_ok().act(0)["ok"], true, "nodes in the rootfs itself");
    }

    knarr("runc 1.1 needs /proc inside") fn no_proc_at_all(world) {
        world.without_mount("/proc").set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
        world.probe(&["list", "/proc"]);
        assert_eq!(world.run().assert_ok().act(0)["value"], json!([]));
    }

    everywhere fn a_mount_label_without_selinux_is_refused(world) {
        if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
            world.skip("SELinux is on here");
        }
        world.set("/linux/mountLabel", "system_u:object_r:container_file_t:s0");
        world.run().assert_fails_with_any(&["selinux", "invalid argument"]);
        world.assert_nothing_left();
    }
}
