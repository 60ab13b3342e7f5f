//! Denials: one hostile root filesystem, config or neighbour per published hole that a low-level runtime can have.
//! What a runtime may do is fail, or do the harmless thing; what it may not do is touch the host.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use knarr_integration::bundle::copy_program;
use knarr_integration::leftovers::MARK;
use knarr_integration::{Answer, World, cases, json};

/// A folder of the host that no container may reach.
fn outside(world: &World) -> PathBuf {
    world.file("outside/file", "host");
    world.dir.join("outside")
}

/// Nothing was made, changed or removed in it.
#[track_caller]
fn assert_untouched(outside: &Path) {
    let names: Vec<_> = fs::read_dir(outside).expect("outside").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["file"], "the host was written to");
    assert_eq!(fs::read_to_string(outside.join("file")).expect("the file"), "host");
}

/// Replaces `name` of the root filesystem by a symlink to `target`.
fn planted(world: &World, name: &str, target: &Path) {
    let path = world.rootfs().join(name);
    let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    assert!(removed.is_ok() || !path.exists(), "remove {name}: {removed:?}");
    symlink(target, path).expect("a symlink");
}

/// Without mounts in /dev: what the image has there is what there is.
fn dev_of_the_image(world: &mut World) {
    for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        world.without_mount(place);
    }
}

/// Refused, or in a directory of the container: its name leads to it, and its top is the container's.
#[track_caller]
fn assert_inside(world: &mut World) {
    let cwd = world.config["process"]["cwd"].clone();
    world.args(&["/bin/sh", "-c", "cd . && ls /bin/probe && stat -c %i . \"$(/bin/busybox pwd)\" && cd ../../../../.. && stat -c %i . /"]);
    let answer = world.run();
    if answer.status.success() {
        let lines: Vec<&str> = answer.out.lines().collect();
        assert_eq!((lines[1], lines[3]), (lines[2], lines[4]), "{cwd} was a way out: {answer}");
    }
}

#[track_caller]
fn assert_ordinary_directory(answer: Answer) {
    answer.assert_fails_with("must be mounted on ordinary directory");
}

/// The runtime as a copy of its own, so that a successful attack harms nobody.
fn own_copy(world: &World) -> PathBuf {
    let copy = world.dir.join("runtime-copy");
    copy_program(world.program(), &copy).expect("copy the runtime");
    copy
}

fn command_of(world: &World, program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("--root").arg(world.root()).args(args).current_dir(world.bundle());
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env(MARK, &world.id);
    command
}

/// Exchanges two names again and again until told to stop.
fn exchange_in_background(one: PathBuf, other: PathBuf) -> (Arc<AtomicBool>, std::thread::JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        while !told.load(Ordering::Relaxed) {
            renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("exchange");
        }
    });
    (stop, thread)
}

/// What a program with CAP_SYS_PTRACE finds in the runtime's processes while they join.
fn seen_by_a_tracer(world: &mut World) -> Vec<String> {
    world.capabilities(&["bounding", "permitted", "effective"], &["CAP_SYS_PTRACE"]);
    world.probe(&["echo", "ready", "spy", "/tmp/stop"]);
    let created = world.up();
    created.wait_for("ready");
    for _ in 0..100 {
        world.exec(&[], &["/bin/busybox", "true"]).assert_ok();
    }
    fs::write(world.rootfs().join("tmp/stop"), "").expect("stop");
    let shown = created.wait_for("\"spy\"");
    let seen = knarr_integration::answer::answers(&shown).pop().expect("an answer");
    serde_json::from_value(seen["value"].clone()).expect("strings")
}

cases! {
    /// A process that joins must not show its descriptors or executable to those inside before it is the program.
    everywhere fn cve_2016_9962_joiners_cannot_be_looked_into(world) {
        world.probe(&["echo", "ready", "spy", "/tmp/stop"]);
        let created = world.up();
        created.wait_for("ready");
        for _ in 0..20 {
            world.exec(&[], &["/bin/busybox", "true"]).assert_ok();
        }
        fs::write(world.rootfs().join("tmp/stop"), "").expect("stop");
        let shown = created.wait_for("\"spy\"");
        let seen = knarr_integration::answer::answers(&shown).pop().expect("an answer");
        assert_eq!(seen["value"], json!([]), "descriptors or executables of the runtime were visible");
    }

    /// The same where those inside may trace all that enters their user namespace: it must be closed to them before.
    everywhere fn cve_2016_9962_joiners_of_a_user_namespace_cannot_be_traced(world) {
        world.user_namespace(100_000);
        assert_eq!(seen_by_a_tracer(world), [] as [String; 0], "the runtime was visible");
    }

    /// Nothing is closed to CAP_SYS_PTRACE of the host's user namespace: so a process must be there only with nothing
    /// that leads to the host.
    everywhere fn cve_2016_9962_joiners_bring_no_directory_of_the_host(world) {
        let (state, cgroups) = (world.root(), Path::new("/sys/fs/cgroup"));
        let seen = seen_by_a_tracer(world);
        let leads_out = |to: &&String| {
            let path = Path::new(to);
            *to == "another root" || path.starts_with(&state) || path.starts_with(cgroups)
        };
        assert_eq!(seen.iter().filter(leads_out).collect::<Vec<_>>(), [] as [&String; 0]);
    }

    /// The image's files are read when no descriptor of the host is open any more.
    everywhere fn cve_2024_21626_home_is_not_read_through_a_descriptor_of_the_runtime(world) {
        let passwd = world.file("outside-passwd", "root:x:0:0::/home/of/the/host:/bin/sh\n");
        for fd in 3..24 {
            let up = "../".repeat(12);
            planted(world, "etc/passwd", Path::new(&format!("/proc/self/fd/{fd}/{up}{}", passwd.display())));
            assert_eq!(world.run_facts()["env"]["HOME"], "/", "descriptor {fd}");
        }
    }

    /// The container's program is the runtime itself; a neighbour opens its executable to write to it.
    everywhere fn cve_2019_5736_the_runtimes_executable_cannot_be_written(world) {
        let copy = own_copy(world);
        let before = fs::read(&copy).expect("the copy");
        world.probe(&["echo", "ready", "overwrite", "/tmp/stop"]);
        world.write_config();
        let mut running = world.begin(command_of(world, &copy, &["run", &world.id]));
        running.wait_for("ready");
        for _ in 0..10 {
            world.finish(command_of(world, &copy, &["exec", &world.id, "/proc/self/exe", "--version"]));
        }
        fs::write(world.rootfs().join("tmp/stop"), "").expect("stop");
        running.end();
        assert!(fs::read(&copy).expect("the copy") == before, "the runtime was overwritten");
    }

    /// As above, but the program given to `run` is a link to the runtime.
    everywhere fn cve_2019_5736_a_link_to_the_executable_is_harmless(world) {
        let copy = own_copy(world);
        let before = fs::read(&copy).expect("the copy");
        symlink("/proc/self/exe", world.rootfs().join("bin/evil")).expect("a symlink");
        world.args(&["/bin/evil", "--version"]);
        world.write_config();
        world.finish(command_of(world, &copy, &["run", &world.id]));
        assert!(fs::read(&copy).expect("the copy") == before);
        world.assert_nothing_left();
    }

    everywhere fn cve_2019_16884_nothing_is_mounted_over_proc(world) {
        let fake = world.folder("fake-proc");
        world.mount("/proc", "bind", fake.to_str().expect("utf-8"), &["bind"]);
        world.run().assert_fails_with("/proc");
        world.assert_nothing_left();
    }

    everywhere fn cve_2019_16884_nothing_is_mounted_over_the_attributes(world) {
        let fake = world.folder("fake-attr");
        world.mount("/proc/self/attr", "bind", fake.to_str().expect("utf-8"), &["bind"]);
        world.run().assert_fails_with("because it is inside /proc");
        world.assert_nothing_left();
    }

    everywhere fn cve_2019_18837_proc_is_a_symlink(world) {
        planted(world, "proc", Path::new("/tmp"));
        assert_ordinary_directory(world.run());
        world.assert_nothing_left();
    }

    everywhere fn cve_2019_19921_proc_is_a_symlink_to_the_host(world) {
        let outside = outside(world);
        planted(world, "proc", &outside);
        assert_ordinary_directory(world.run());
        assert_untouched(&outside);
        world.assert_nothing_left();
    }

    everywhere fn cve_2023_27561_sys_is_a_symlink(world) {
        planted(world, "sys", Path::new("/tmp"));
        world.without_mount("/sys/fs/cgroup");
        assert_ordinary_directory(world.run());
        world.assert_nothing_left();
    }

    everywhere fn cve_2023_27561_another_spelling_of_proc(world) {
        planted(world, "proc", Path::new("/tmp"));
        world.edit_mount("/proc", |mount| mount["destination"] = json!("/tmp/../proc/."));
        let answer = world.run();
        assert!(!answer.status.success(), "{answer}");
        world.assert_nothing_left();
    }

    everywhere fn cve_2023_28642_proc_below_a_symlink(world) {
        let fake = world.folder("fake");
        planted(world, "mnt", Path::new("/proc"));
        world.mount("/mnt/self/attr", "bind", fake.to_str().expect("utf-8"), &["bind"]);
        let answer = world.run();
        assert!(!answer.status.success(), "mounted over /proc/self/attr: {answer}");
        world.assert_nothing_left();
    }

    /// A neighbour exchanges a folder and a symlink while the runtime mounts below it.
    knarr("runc 1.1 loses this race now and then") fn cve_2021_30465_a_symlink_exchange_does_not_lead_out(world) {
        let outside = outside(world);
        let volume = world.folder("volume");
        fs::create_dir(volume.join("folder")).expect("a folder");
        symlink(&outside, volume.join("link")).expect("a symlink");
        world.mount("/mnt", "bind", volume.to_str().expect("utf-8"), &["bind"]);
        world.mount("/mnt/folder/deep", "tmpfs", "tmpfs", &[]);
        world.probe(&["exit", "0"]);
        let (stop, thread) = exchange_in_background(volume.join("folder"), volume.join("link"));
        for _ in 0..12 {
            // Success and failure are both fine.
            world.run();
        }
        stop.store(true, Ordering::Relaxed);
        thread.join().expect("the neighbour");
        assert_untouched(&outside);
        world.assert_nothing_left();
    }

    /// Making a target must not make folders or files on the host, race or no race.
    everywhere fn cve_2024_45310_targets_are_made_inside(world) {
        let outside = outside(world);
        planted(world, "mnt", &outside);
        let file = world.file("source", "");
        world.mount("/mnt/new/file", "bind", file.to_str().expect("utf-8"), &["bind"]);
        world.mount("/mnt/other/folder", "tmpfs", "tmpfs", &[]);
        world.run();
        assert_untouched(&outside);
        world.assert_nothing_left();
    }

    everywhere fn cve_2022_24769_no_inheritable_capabilities(world) {
        world.up_waiting();
        let caps = world.exec_probe(&["--cap", "CAP_NET_RAW"], &["facts"]).assert_ok().facts()["caps"].clone();
        assert_eq!((&caps["inheritable"], &caps["ambient"]), (&json!([]), &json!([])));
    }

    knarr_v2("runc 1.1 shows the host's hierarchy read-only") fn cve_2023_25809_only_its_own_cgroup_is_visible(world) {
        // A user namespace without a cgroup namespace: the kernel refuses a mount of cgroup2.
        world.user_namespace(100_000);
        world.edit_mount("/sys/fs/cgroup", |mount| mount["options"] = json!(["rw", "nosuid", "noexec", "nodev"]));
        world.probe(&["list", "/sys/fs/cgroup", "mkdir", "/sys/fs/cgroup/mine", "read", "/sys/fs/cgroup/cgroup.procs"]);
        let answer = world.run();
        if answer.status.success() {
            let listed = answer.act(0)["value"].to_string();
            assert!(!listed.contains("knarr-test-"), "cgroups of others are visible: {listed}");
            assert_eq!(answer.act(1)["ok"], false, "{answer}");
        }
        world.assert_nothing_left();
    }

    everywhere fn cve_2024_21626_the_directory_is_not_a_descriptor_of_the_runtime(world) {
        for fd in 3..14 {
            for below in ["", "/../../..", "/etc"] {
                world.set("/process/cwd", format!("/proc/self/fd/{fd}{below}"));
                assert_inside(world);
            }
        }
        world.assert_nothing_left();
    }

    everywhere fn cve_2024_21626_exec_does_not_either(world) {
        world.up_waiting();
        for fd in 3..14 {
            let answer = world.exec_probe(&["--cwd", &format!("/proc/self/fd/{fd}")], &["facts"]);
            assert!(!answer.status.success(), "descriptor {fd} was a way out: {answer}");
        }
    }

    everywhere fn cve_2024_21626_a_link_in_the_image_does_not_either(world) {
        for fd in 3..14 {
            let link = world.rootfs().join(format!("way-{fd}"));
            symlink(format!("/proc/self/fd/{fd}"), link).expect("a symlink");
            world.set("/process/cwd", format!("/way-{fd}"));
            assert_inside(world);
        }
    }

    knarr("runc 1.1 has this hole") fn cve_2025_31133_a_replaced_dev_null_masks_nothing_else(world) {
        dev_of_the_image(world);
        fs::write(world.rootfs().join("bait"), "bait").expect("bait");
        fs::write(world.rootfs().join("secret"), "secret").expect("a secret");
        planted(world, "dev/null", Path::new("/bait"));
        world.push("/linux/maskedPaths", json!("/secret")).probe(&["read", "/secret", "stat", "/secret"]);
        let answer = world.run();
        if answer.status.success() {
            assert_ne!(answer.act(0)["value"], "bait", "the mask is what the image wanted");
            assert_ne!(answer.act(0)["value"], "secret", "there is no mask");
        }
        world.assert_nothing_left();
    }

    knarr("runc 1.1 has this hole") fn cve_2025_31133_a_replaced_dev_null_is_not_opened_for_stdin(world) {
        dev_of_the_image(world);
        fs::write(world.rootfs().join("bait"), "bait").expect("bait");
        fs::remove_file(world.rootfs().join("dev/null")).ok();
        symlink("/bait", world.rootfs().join("dev/null")).expect("a symlink");
        let answer = world.run();
        if answer.status.success() {
            assert_ne!(answer.facts()["fds"]["0"]["target"], "/bait");
        }
    }

    knarr("runc 1.1 has this hole") fn cve_2025_52565_a_planted_console_covers_nothing_else(world) {
        dev_of_the_image(world);
        world.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
        fs::write(world.rootfs().join("bait"), "bait").expect("bait");
        symlink("/bait", world.rootfs().join("dev/console")).expect("a symlink");
        world.set("/process/terminal", true).probe(&["facts", "wait"]);
        let receiver = knarr_integration::console::Receiver::listen(&world.dir.join("console"));
        let created = world.create_with(&["--console-socket", receiver.path.to_str().expect("utf-8")]);
        if created.answer.status.success() {
            let (master, _) = receiver.receive();
            let mut console = knarr_integration::Console::new(master);
            world.start().assert_ok();
            let shown = console.read_until("\"verb\":\"facts\"").to_owned();
            assert!(!shown.contains("\"point\":\"/bait\""), "the terminal was bound over the bait");
        }
    }

    everywhere fn cve_2025_52565_a_planted_console_does_not_lead_to_the_host(world) {
        let outside = outside(world);
        dev_of_the_image(world);
        world.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
        symlink(outside.join("console"), world.rootfs().join("dev/console")).expect("a symlink");
        world.set("/process/terminal", true);
        let receiver = knarr_integration::console::Receiver::listen(&world.dir.join("console"));
        world.create_with(&["--console-socket", receiver.path.to_str().expect("utf-8")]);
        assert_untouched(&outside);
    }

    knarr("runc 1.1 needs /proc inside") fn cve_2025_52881_a_planted_sysctl_file_is_not_written(world) {
        let folder = world.rootfs().join("proc/sys/net/ipv4");
        fs::create_dir_all(&folder).expect("a planted /proc/sys");
        fs::write(folder.join("ip_forward"), "planted").expect("a file");
        world.without_mount("/proc").set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
        world.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
        world.run();
        assert_eq!(fs::read_to_string(folder.join("ip_forward")).expect("the file"), "planted");
        world.assert_nothing_left();
    }

    knarr("runc 1.1 has this hole") fn cve_2026_41579_devices_are_not_made_on_the_host(world) {
        let outside = outside(world);
        dev_of_the_image(world);
        planted(world, "dev", &outside);
        world.push("/linux/devices", json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 5}));
        world.run();
        assert_untouched(&outside);
        world.assert_nothing_left();
    }

    knarr("runc 1.1 has this hole") fn cve_2026_41579_the_mounts_of_dev_stay_inside(world) {
        let outside = outside(world);
        planted(world, "dev", &outside);
        world.run();
        assert_untouched(&outside);
        world.assert_nothing_left();
    }

    everywhere fn a_device_below_a_symlink_is_not_made_on_the_host(world) {
        let outside = outside(world);
        symlink(&outside, world.rootfs().join("devices")).expect("a symlink");
        world.push("/linux/devices", json!({"path": "/devices/mine", "type": "c", "major": 1, "minor": 5}));
        world.run();
        assert_untouched(&outside);
    }

    everywhere fn a_directory_below_a_symlink_is_not_made_on_the_host(world) {
        let outside = outside(world);
        symlink(&outside, world.rootfs().join("site")).expect("a symlink");
        world.set("/process/cwd", "/site/new/folder");
        world.run();
        assert_untouched(&outside);
    }

    everywhere fn home_is_not_read_from_the_host(world) {
        let passwd = world.file("outside-passwd", "root:x:0:0::/home/of/the/host:/bin/sh\n");
        planted(world, "etc/passwd", &passwd);
        let home = world.run_facts()["env"]["HOME"].clone();
        assert_eq!(home, "/");
    }

    /// Opening alone makes some devices act. A fifo tells that it was opened: who opens the other end goes on.
    knarr("runc opens what is there") fn a_passwd_that_is_no_file_is_not_opened(world) {
        use rustix::fs::{CWD, FileType, mknodat};
        let passwd = world.rootfs().join("etc/passwd");
        fs::remove_file(&passwd).or_else(|_| fs::create_dir_all(world.rootfs().join("etc"))).expect("no passwd");
        mknodat(CWD, &passwd, FileType::Fifo, 0o644.into(), 0).expect("mkfifo");
        let opened = Arc::new(AtomicBool::new(false));
        let other_end = std::thread::spawn({
            let (passwd, opened) = (passwd.clone(), Arc::clone(&opened));
            move || {
                let end = fs::File::options().write(true).open(passwd);
                opened.store(true, Ordering::Relaxed);
                drop(end);
            }
        });
        world.unset("/process/env");
        let home = world.run_facts()["env"]["HOME"].clone();
        let opened = opened.load(Ordering::Relaxed);
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
        let let_go = rustix::fs::open(&passwd, flags, rustix::fs::Mode::empty()).expect("let the other end go");
        other_end.join().expect("the other end");
        drop(let_go);
        assert_eq!((home, opened), (json!("/"), false));
    }

    everywhere fn a_bind_over_a_symlink_does_not_cover_the_host(world) {
        let outside = outside(world);
        symlink(outside.join("file"), world.rootfs().join("etc/resolv.conf")).expect("a symlink");
        let source = world.file("resolv.conf", "container");
        world.mount("/etc/resolv.conf", "bind", source.to_str().expect("utf-8"), &["bind"]);
        world.probe(&["read", "/etc/resolv.conf"]);
        let answer = world.run();
        if answer.status.success() {
            assert_eq!(answer.act(0)["value"], "container");
        }
        assert_untouched(&outside);
    }

    everywhere fn tmpcopyup_does_not_follow_links_of_the_image(world) {
        let outside = outside(world);
        symlink(&outside, world.rootfs().join("etc/link")).expect("a symlink");
        symlink(outside.join("file"), world.rootfs().join("etc/file-link")).expect("a symlink");
        world.mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup"]).probe(&["stat", "/etc/link", "stat", "/etc/file-link"]);
        let answer = world.run().assert_ok();
        assert_eq!(answer.act(0)["value"]["kind"], "symlink");
        assert_eq!(answer.act(1)["value"]["kind"], "symlink");
        assert_untouched(&outside);
    }

    everywhere fn the_notify_socket_is_not_made_on_the_host(world) {
        let outside = outside(world);
        symlink(&outside, world.rootfs().join("run")).expect("a symlink");
        let path = world.dir.join("notify");
        let _socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a notify socket");
        world.probe(&["block", "wait"]).write_config();
        let mut command = world.command(&["create", &world.id]);
        command.env("NOTIFY_SOCKET", &path);
        world.finish(command);
        assert_untouched(&outside);
    }

    everywhere fn masks_and_read_only_paths_stay_inside(world) {
        let outside = outside(world);
        symlink(outside.join("file"), world.rootfs().join("mask-me")).expect("a symlink");
        symlink(&outside, world.rootfs().join("protect-me")).expect("a symlink");
        world.push("/linux/maskedPaths", json!("/mask-me")).push("/linux/readonlyPaths", json!("/protect-me"));
        world.run();
        assert_untouched(&outside);
        world.assert_nothing_left();
    }

    everywhere fn the_hosts_root_is_out_of_reach(world) {
        world.capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_CHROOT", "CAP_DAC_READ_SEARCH"]);
        // The classic: a second chroot below the first, then upwards.
        world.args(&["/bin/busybox", "sh", "-c", "cd ..; cd ..; ls; ls ../../../.."]);
        let answer = world.run().assert_ok();
        let mut names: Vec<&str> = answer.out.lines().collect();
        names.sort_unstable();
        names.dedup();
        let mut inside: Vec<String> = fs::read_dir(world.rootfs()).expect("the rootfs").flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        inside.sort();
        assert_eq!(names, inside);
    }
}
