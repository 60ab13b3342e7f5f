//! `checkpoint` and `restore`: what a container is before and after, what goes wrong, and images across runtimes.
//!
//! Cases that call criu are ignored unless asked for: `make test-vm` has a criu that suits its kernel. criu is found in
//! the PATH of the tests.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Once;

use knarr_integration::console::{Receiver, begin_on, terminal};
use knarr_integration::world::read;
use knarr_integration::{
    Answer, Console, Holder, Runtime, Value, World, cases, eventually, json, namespace_of,
};

/// Memory, an open file, a working directory and a variable, told again and again.
const COUNTER: &str =
    "cd /tmp; exec 3>>log; i=0; while :; do i=$((i+1)); echo \"$i $PWD $TOLD\" >&3; sleep 0.05; done";
/// Where pages of memory can be had.
const PAGES: &str = "127.0.0.1:27277";
/// In other modes criu changes the options of the cgroup2 superblock; runc 1.1 does not know this one.
fn mode(world: &World) -> &'static [&'static str] {
    if world.is_runc() { &[] } else { &["--manage-cgroups-mode", "ignore"] }
}

/// The runtime where criu can be found.
fn command(world: &World, words: &[&str]) -> Command {
    static WARM: Once = Once::new();
    WARM.call_once(warm_criu);
    let mut command = world.command(&[&["--log", &log(world)], words].concat());
    command.env("PATH", std::env::var_os("PATH").expect("a PATH"));
    command
}

/// At its first run criu finds out what the kernel can do, and has modules loaded: an emulated machine takes a minute.
fn warm_criu() {
    let output = Command::new("criu").arg("check").output().expect("criu");
    assert!(output.status.success(), "criu check: {}", String::from_utf8_lossy(&output.stderr));
}

fn log(world: &World) -> String {
    world.dir.join("log").to_str().expect("utf-8").to_owned()
}

/// Runs a command whose container keeps stdio; what it said is in the log.
#[track_caller]
fn silent(world: &World, words: &[&str]) {
    let mut command = command(world, words);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("start the runtime");
    assert!(status.success(), "{command:?}: {status}: {}", read(&world.dir.join("log")));
}

/// A detached container with `script`, whose stdio is the null device.
#[track_caller]
fn run(world: &mut World, script: &str) {
    world.args(&["/bin/sh", "-c", script]).write_config();
    silent(world, &["run", "--detach", &world.id]);
    world.wait_status("running");
    // Its mount of cgroup2 may have given all of them other options.
    world.accept_mounts();
}

fn image(world: &World) -> String {
    world.dir.join("image").to_str().expect("utf-8").to_owned()
}

/// `checkpoint`, to its end.
fn try_checkpoint(world: &World, flags: &[&str]) -> Answer {
    let image = image(world);
    let words = [&["checkpoint", "--image-path", &image], mode(world), flags, &[&world.id]].concat();
    world.finish(command(world, &words))
}

#[track_caller]
fn checkpoint(world: &World, flags: &[&str]) {
    let answer = try_checkpoint(world, flags);
    assert!(answer.status.success(), "{answer}: {}", read(&world.dir.join("image/dump.log")));
}

fn restore_words<'a>(world: &'a World, image: &'a str, flags: &[&'a str]) -> Vec<&'a str> {
    [&["restore", "--image-path", image], mode(world), flags, &[&world.id]].concat()
}

/// `restore --detach`.
#[track_caller]
fn restore(world: &World, flags: &[&str]) {
    silent(world, &restore_words(world, &image(world), &[&["--detach"], flags].concat()));
    world.wait_status("running");
}

fn told(world: &World) -> Vec<String> {
    read(&world.rootfs().join("tmp/log")).lines().map(str::to_owned).collect()
}

/// Waits until the counter has gone on.
#[track_caller]
fn goes_on(world: &World) {
    let before = told(world).len();
    eventually("the counter to go on", || (told(world).len() > before + 2).then_some(()));
}

/// The counter, up and counting.
#[track_caller]
fn run_counter(world: &mut World) {
    world.push("/process/env", json!("TOLD=a told thing"));
    run(world, COUNTER);
    goes_on(world);
}

/// Every line follows from the one before: nothing began anew.
#[track_caller]
fn assert_counted(world: &World) {
    for (index, line) in told(world).iter().enumerate() {
        assert_eq!(*line, format!("{} /tmp a told thing", index + 1));
    }
}

#[track_caller]
fn assert_gone(world: &World) {
    world.call(&["state", &world.id]).assert_fails_with("container does not exist");
}

/// Listens for the master of a restored or new terminal.
fn receiver(world: &World, name: &str) -> (Receiver, String) {
    let receiver = Receiver::listen(&world.dir.join(name));
    let path = receiver.path.to_str().expect("utf-8").to_owned();
    (receiver, path)
}

cases! {
    machine fn a_container_goes_on_where_it_was(world) {
        run_counter(world);
        let pid = world.pid();
        for _ in 0..2 {
            checkpoint(world, &[]);
            assert_gone(world);
            world.assert_nothing_left();
            restore(world, &[]);
            goes_on(world);
        }
        assert_counted(world);
        assert_ne!(world.pid(), pid);
        assert_eq!(read(&world.cgroup_dir("").join("cgroup.procs")).lines().next(), Some(&*world.pid().to_string()));
        world.stop();
        world.delete().assert_ok();
        world.assert_nothing_left();
    }

    machine fn a_container_may_be_left_running(world) {
        run_counter(world);
        let pid = world.pid();
        checkpoint(world, &["--leave-running"]);
        goes_on(world);
        assert_eq!((world.status(), world.pid()), ("running".into(), pid));
        assert_counted(world);
        world.delete_force().assert_ok();
        fs::remove_file(world.rootfs().join("tmp/log")).expect("remove the log");
        // The file is shorter than criu remembers.
        let answer = world.finish(command(world, &restore_words(world, &image(world), &["--detach"])));
        answer.assert_code(1).assert_fails_with("criu failed: type ");
        // runc 1.1 leaves the cgroup.
        if !world.is_runc() {
            world.assert_nothing_left();
        }
    }

    machine fn memory_is_written_before_the_rest(world) {
        run_counter(world);
        let parent = world.dir.join("parent");
        let words = ["checkpoint", "--pre-dump", "--image-path", parent.to_str().expect("utf-8"), &world.id];
        world.finish(command(world, &words)).assert_ok();
        goes_on(world);
        checkpoint(world, &["--parent-path", "../parent"]);
        assert!(world.dir.join("image/parent").exists());
        restore(world, &[]);
        goes_on(world);
        assert_counted(world);
        world.delete_force().assert_ok();
    }

    machine fn a_parent_path_is_relative_and_a_directory(world) {
        run_counter(world);
        try_checkpoint(world, &["--parent-path", "/tmp"]).assert_fails_with("--parent-path must be relative");
        try_checkpoint(world, &["--parent-path", "none"]).assert_fails_with("invalid --parent-path: ");
        goes_on(world);
        world.delete_force().assert_ok();
    }

    machine fn logs_go_to_the_work_path_and_the_pid_to_its_file(world) {
        run_counter(world);
        let work = world.dir.join("work");
        let work_path = work.to_str().expect("utf-8");
        checkpoint(world, &["--work-path", work_path]);
        let pid_file = world.dir.join("pid");
        restore(world, &["--work-path", work_path, "--pid-file", pid_file.to_str().expect("utf-8")]);
        assert!(work.join("dump.log").exists() && work.join("restore.log").exists());
        assert!(!world.dir.join("image/dump.log").exists());
        assert_eq!(read(&pid_file), world.pid().to_string());
        world.delete_force().assert_ok();
    }

    machine fn a_terminal_is_handed_over_again(world) {
        world.set("/process/terminal", true).args(&["/bin/sh", "-c", "while read x; do echo got $x; done"]);
        world.write_config();
        let (socket, path) = receiver(world, "first");
        silent(world, &["run", "--detach", "--console-socket", &path, &world.id]);
        let mut console = Console::new(socket.receive().0);
        console.type_in("one\n");
        console.read_until("got one");
        checkpoint(world, &[]);
        let (socket, path) = receiver(world, "second");
        restore(world, &["--console-socket", &path]);
        let mut console = Console::new(socket.receive().0);
        console.type_in("two\n");
        console.read_until("got two");
        world.delete_force().assert_ok();
    }

    machine fn pipes_are_replaced_by_those_of_the_caller(world) {
        world.args(&["/bin/sh", "-c", "while read x; do echo got $x; done; exit 9"]).write_config();
        let piped = |words: &[&str]| {
            let mut command = command(world, words);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("start the runtime")
        };
        let mut run = piped(&["run", "--detach", &world.id]);
        // Waiting would close it.
        let mut input = run.stdin.take().expect("stdin");
        assert!(run.wait().expect("its end").success(), "{}", read(&world.dir.join("log")));
        input.write_all(b"one\n").expect("write");
        let mut told = [0; 8];
        run.stdout.take().expect("stdout").read_exact(&mut told).expect("read");
        assert_eq!(&told, b"got one\n");
        checkpoint(world, &[]);
        let descriptors: Value = serde_json::from_str(&read(&world.dir.join("image/descriptors.json"))).expect("JSON");
        assert!(descriptors[2].as_str().is_some_and(|name| name.starts_with("pipe:[")), "{descriptors}");

        let mut restored = piped(&restore_words(world, &image(world), &["--detach"]));
        let mut input = restored.stdin.take().expect("stdin");
        assert!(restored.wait().expect("its end").success(), "{}", read(&world.dir.join("log")));
        input.write_all(b"two\n").expect("write");
        drop(input);
        let mut told = String::new();
        restored.stdout.take().expect("stdout").read_to_string(&mut told).expect("read");
        assert_eq!(told, "got two\n");
        world.wait_status("stopped");
        world.delete().assert_ok();
    }

    machine fn in_the_foreground_the_status_is_the_programs(world) {
        run(world, "while test ! -e /tmp/end; do sleep 0.05; done; exit 7");
        checkpoint(world, &[]);
        let mut running = world.begin(command(world, &restore_words(world, &image(world), &[])));
        eventually("a container", || world.call(&["state", &world.id]).status.success().then_some(()));
        fs::write(world.rootfs().join("tmp/end"), "").expect("end it");
        running.end().assert_code(7);
        assert_gone(world);
        world.assert_nothing_left();
    }

    machine fn binds_are_found_again(world) {
        let outer = world.folder("outer");
        world.file("inner/file", "inside");
        let inner = world.folder("inner");
        symlink("/real/conf", world.rootfs().join("conf")).expect("a link");
        fs::create_dir_all(world.rootfs().join("real/conf")).expect("its target");
        let path = |path: &PathBuf| path.to_str().expect("utf-8").to_owned();
        world.mount("/outer", "bind", &path(&outer), &["rbind", "rw"]);
        world.mount("/outer/for/inner", "bind", &path(&inner), &["bind", "ro"]);
        world.mount("/conf", "bind", &path(&inner), &["bind", "ro"]);
        run_counter(world);
        checkpoint(world, &[]);
        fs::remove_dir_all(outer.join("for")).expect("remove the mount point");
        restore(world, &[]);
        goes_on(world);
        for folder in ["/outer/for/inner", "/conf"] {
            let file = format!("{folder}/file");
            assert_eq!(world.exec(&[], &["/bin/cat", &file]).assert_ok().out, "inside");
            let written = world.exec(&[], &["/bin/touch", &file]);
            // criu forgets it of the second mount of the two, which runc leaves to it.
            if !world.is_runc() {
                written.assert_fails_with("Read-only file system");
            }
        }
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    machine fn masked_and_read_only_paths_stay_so(world) {
        run_counter(world);
        let look = "cat /proc/kcore | wc -c; ls /proc/acpi /sys/firmware; touch /proc/sys/kernel/x; mount";
        let before = world.exec(&[], &["/bin/sh", "-c", look]);
        checkpoint(world, &[]);
        restore(world, &[]);
        let after = world.exec(&[], &["/bin/sh", "-c", look]);
        let points = |answer: &Answer| {
            let point = |line: &str| line.split(' ').nth(2).unwrap_or_default().to_owned();
            let mut points: Vec<_> = answer.out.lines().map(point).collect();
            points.sort_unstable();
            points
        };
        assert_eq!((points(&before), before.err), (points(&after), after.err));
        world.delete_force().assert_ok();
    }

    machine fn a_network_namespace_by_path_is_left_alone(world) {
        let holder = Holder::new(world, &["--net"]);
        world.namespace("network", Some(&holder.path("net")));
        run_counter(world);
        for _ in 0..2 {
            checkpoint(world, &[]);
            restore(world, &[]);
            goes_on(world);
            assert_eq!(namespace_of(world.pid(), "net"), holder.inode("net"));
        }
        world.delete_force().assert_ok();
        drop(holder);
        let answer = world.finish(command(world, &restore_words(world, &image(world), &["--detach"])));
        answer.assert_fails_with("Requested network namespace ");
        world.assert_nothing_left();
    }

    knarr_machine("runc 1.1 does not join the time namespace") fn what_exec_started_is_restored_too(world) {
        run_counter(world);
        let mut pids = Vec::new();
        for _ in 0..2 {
            let script = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!";
            pids.push(world.exec(&[], &["/bin/sh", "-c", script]).assert_ok().out.trim().to_owned());
            checkpoint(world, &[]);
            restore(world, &[]);
            for pid in &pids {
                let comm = format!("/proc/{pid}/comm");
                assert_eq!(world.exec(&[], &["/bin/cat", &comm]).assert_ok().out, "sleep\n");
            }
        }
        world.delete_force().assert_ok();
    }

    machine fn file_locks_have_to_be_asked_for(world) {
        world.push("/process/env", json!("TOLD=a told thing"));
        run(world, &format!("/bin/probe block lock /tmp/lock wait & {COUNTER}"));
        let is_locked = || world.exec_probe(&[], &["lock", "/tmp/lock"]).assert_ok().act(0)["errno"] == libc::EAGAIN;
        eventually("the lock", || is_locked().then_some(()));
        try_checkpoint(world, &[]).assert_fails_with("criu failed: type ");
        assert_eq!(world.status(), "running");
        goes_on(world);
        checkpoint(world, &["--file-locks"]);
        restore(world, &["--file-locks"]);
        assert!(is_locked());
        world.delete_force().assert_ok();
    }

    machine fn a_container_has_a_criu_configuration_of_its_own(world) {
        let file = world.file("criu.conf", "log-file=own.log\n");
        world.config["annotations"] = json!({"org.criu.config": file});
        run_counter(world);
        checkpoint(world, &[]);
        assert!(world.dir.join("image/own.log").exists() && !world.dir.join("image/dump.log").exists());
        fs::remove_file(world.dir.join("image/own.log")).expect("remove it");
        restore(world, &[]);
        assert!(world.dir.join("image/own.log").exists());
        world.delete_force().assert_ok();
    }

    machine fn hooks_run_at_a_restore(world) {
        let file = world.dir.join("hooks");
        let hook = world.script("hook", &format!("cat >>{0}; echo >>{0}", file.display()));
        for stage in ["prestart", "createRuntime", "poststop"] {
            world.push(&format!("/hooks/{stage}"), json!({"path": hook}));
        }
        run_counter(world);
        checkpoint(world, &[]);
        fs::remove_file(&file).expect("what they said before");
        restore(world, &[]);
        let pid = world.pid();
        let states = || -> Vec<Value> {
            read(&file).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
        };
        assert_eq!(states().iter().map(|state| state["pid"].clone()).collect::<Vec<_>>(), [json!(pid), json!(pid)]);
        world.delete_force().assert_ok();
        assert_eq!(states()[2]["status"], "stopped");
    }

    machine fn a_hook_that_fails_leaves_nothing(world) {
        run_counter(world);
        checkpoint(world, &[]);
        let hook = world.script("hook", "exit 3");
        world.push("/hooks/createRuntime", json!({"path": hook})).write_config();
        let answer = world.finish(command(world, &restore_words(world, &image(world), &["--detach"])));
        answer.assert_fails_with("exit status 3");
        world.assert_nothing_left();
    }

    machine fn a_paused_container_can_be_dumped(world) {
        run_counter(world);
        world.call(&["pause", &world.id]).assert_ok();
        checkpoint(world, &["--leave-running"]);
        assert_eq!(world.status(), "paused");
        world.call(&["resume", &world.id]).assert_ok();
        goes_on(world);
        world.delete_force().assert_ok();
    }

    machine fn an_id_in_use_and_a_missing_image_are_refused(world) {
        run_counter(world);
        checkpoint(world, &["--leave-running"]);
        let restoring = |image: &str| world.finish(command(world, &restore_words(world, image, &["--detach"])));
        restoring(&image(world)).assert_fails_with("container with given ID already exists");
        goes_on(world);
        world.delete_force().assert_ok();
        let none = world.dir.join("none");
        restoring(none.to_str().expect("utf-8")).assert_fails_with("no such file or directory");
        world.assert_nothing_left();
    }

    machine fn binds_of_shared_mounts_are_found_again(world) {
        let shared = Command::new("mount").args(["--make-rshared", "/"]).status();
        assert!(shared.is_ok_and(|status| status.success()), "share the mounts");
        for (place, name, option) in [("/one", "a", "ro"), ("/two", "b", "rw"), ("/two/in", "c", "ro")] {
            let folder = world.folder(name);
            world.mount(place, "bind", folder.to_str().expect("utf-8"), &["bind", option]);
        }
        run_counter(world);
        let seen = |world: &World| -> Vec<String> {
            let table = read(&PathBuf::from(format!("/proc/{}/mountinfo", world.pid())));
            let ours = table.lines().filter(|line| line.contains(" /one ") || line.contains(" /two"));
            ours.map(|line| line.split(' ').skip(3).take(4).collect::<Vec<_>>().join(" ")).collect()
        };
        let before = seen(world);
        assert!(before.len() == 3 && before.iter().all(|line| line.contains("master:")), "{before:?}");
        checkpoint(world, &[]);
        restore(world, &[]);
        goes_on(world);
        // See binds_are_found_again.
        if !world.is_runc() {
            assert_eq!(seen(world), before);
        }
        world.delete_force().assert_ok();
    }

    machine fn criu_restores_the_cgroups_if_not_told_otherwise(world) {
        run_counter(world);
        let image = image(world);
        silent(world, &["checkpoint", "--image-path", &image, &world.id]);
        silent(world, &["restore", "--detach", "--image-path", &image, &world.id]);
        goes_on(world);
        world.delete_force().assert_ok();
    }

    machine fn a_terminal_in_the_foreground_is_restored(world) {
        let script = "while read x; do test $x != end || exit 7; echo got $x; done";
        world.set("/process/terminal", true).args(&["/bin/sh", "-c", script]);
        world.write_config();
        let (socket, path) = receiver(world, "first");
        silent(world, &["run", "--detach", "--console-socket", &path, &world.id]);
        world.accept_mounts();
        let mut console = Console::new(socket.receive().0);
        console.type_in("one\n");
        console.read_until("got one");
        checkpoint(world, &[]);
        let (mut console, side) = terminal();
        let mut restored = begin_on(command(world, &restore_words(world, &image(world), &[])), &side);
        eventually("a container", || world.call(&["state", &world.id]).status.success().then_some(()));
        console.type_in("two\r");
        console.read_until("got two");
        console.type_in("end\r");
        let status = knarr_integration::wait::exit_within(&mut restored, knarr_integration::wait::PATIENCE);
        assert_eq!(status.and_then(|status| status.code()), Some(7));
        world.assert_nothing_left();
    }

    machine fn an_established_connection_goes_on(world) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("its address").port();
        world.without_namespace("network");
        run(world, &format!("while :; do echo tick; sleep 0.05; done | nc 127.0.0.1 {port}"));
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut ticks = |count: usize| {
            let mut told = vec![0; 5 * count];
            connection.read_exact(&mut told).expect("read");
            assert_eq!(told, b"tick\n".repeat(count));
        };
        ticks(2);
        try_checkpoint(world, &[]).assert_fails_with("criu failed: type ");
        ticks(2);
        checkpoint(world, &["--tcp-established"]);
        assert_gone(world);
        restore(world, &["--tcp-established"]);
        ticks(20);
        world.delete_force().assert_ok();
    }

    machine fn a_container_with_a_user_namespace_is_dumped(world) {
        // Without the namespace the mount of cgroups is one of the host's, which criu does not know there.
        world.user_namespace(200_000).namespace("cgroup", None);
        run_counter(world);
        checkpoint(world, &["--leave-running"]);
        goes_on(world);
        assert_counted(world);
        world.delete_force().assert_ok();
    }

    knarr_machine("runc 1.1 cannot take another cgroup") fn memory_follows_lazily(world) {
        run_counter(world);
        let (image, fifo) = (image(world), world.dir.join("ready"));
        assert!(Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success()));
        // The shell opens it for writing alone, as runc wants it.
        let words = ["checkpoint", "--image-path", &image, "--lazy-pages", "--status-fd", "3", "--page-server"];
        let dump = command(world, &[&words[..], &[PAGES], mode(world), &[&world.id]].concat());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec \"$0\" \"$@\" 3>{}", fifo.display())]).arg(dump.get_program()).args(dump.get_args());
        shell.env("PATH", std::env::var_os("PATH").expect("a PATH")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut dumping = shell.spawn().expect("start the runtime");
        let mut ready = [7];
        fs::File::open(&fifo).and_then(|mut file| file.read_exact(&mut ready)).expect("that pages can be had");
        assert_eq!(ready, [0]);
        let counted = read(&world.rootfs().join("tmp/log")).lines().count();

        let (host, port) = PAGES.split_once(':').expect("a port");
        let mut daemon = Command::new("criu");
        daemon.args(["lazy-pages", "--page-server", "--address", host, "--port", port, "-D", &image]);
        let mut pages = daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("criu");
        let socket = world.dir.join("image/lazy-pages.socket");
        eventually("the socket of criu lazy-pages", || socket.exists().then_some(()));
        let dumped = world.cgroup.clone();
        world.cgroup = format!("{dumped}-other");
        world.set("/linux/cgroupsPath", world.cgroup.clone()).write_config();
        let second = format!("{}-b", world.id);
        let words = [&["restore", "--detach", "--image-path", &image, "--work-path", &image, "--lazy-pages"], mode(world)].concat();
        silent(world, &[words.as_slice(), &[&second]].concat());
        goes_on(world);
        assert!(told(world).len() > counted);
        for child in [&mut dumping, &mut pages] {
            let status = knarr_integration::wait::exit_within(child, knarr_integration::wait::PATIENCE);
            assert!(status.is_some_and(|status| status.success()), "{status:?}");
        }
        assert_counted(world);
        assert_gone(world);
        world.call(&["delete", "--force", &second]).assert_ok();
        world.assert_nothing_left();
    }

    knarr_machine("takes images of runc") fn images_of_runc_are_restored(world) {
        let inner = world.folder("inner").to_str().expect("utf-8").to_owned();
        world.mount("/inner", "bind", &inner, &["bind"]);
        world.switch_to(Runtime::Runc);
        run_counter(world);
        checkpoint(world, &[]);
        world.switch_to(Runtime::Knarr);
        restore(world, &[]);
        goes_on(world);
        checkpoint(world, &[]);
        world.switch_to(Runtime::Runc);
        restore(world, &[]);
        goes_on(world);
        assert_counted(world);
        world.delete_force().assert_ok();
    }

    knarr_machine("dumps containers of runc") fn a_container_of_runc_is_dumped(world) {
        world.switch_to(Runtime::Runc);
        run_counter(world);
        world.switch_to(Runtime::Knarr);
        checkpoint(world, &[]);
        assert_gone(world);
        restore(world, &[]);
        goes_on(world);
        assert_counted(world);
        world.delete_force().assert_ok();
    }

    knarr_machine("runc 1.1 has no id-mapped mounts") fn id_maps_of_mounts_stay(world) {
        let folder = world.folder("mapped");
        world.mount("/mapped", "bind", folder.to_str().expect("utf-8"), &["bind"]);
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        let last = world.config["mounts"].as_array().map_or(0, Vec::len) - 1;
        world.set(&format!("/mounts/{last}/uidMappings"), map.clone());
        world.set(&format!("/mounts/{last}/gidMappings"), map);
        chown(&folder, Some(0), Some(0)).expect("give it to root");
        run_counter(world);
        let owner = || world.exec(&[], &["/bin/stat", "-c", "%u", "/mapped"]).assert_ok().out;
        assert_eq!(owner(), "1000\n");
        checkpoint(world, &[]);
        restore(world, &[]);
        assert_eq!(owner(), "1000\n");
        world.delete_force().assert_ok();
    }

    machine fn systemd_has_the_container_in_its_scope(world) {
        world.set("/linux/cgroupsPath", format!("system.slice:knarr:{}", world.id));
        world.cgroup = format!("/system.slice/knarr-{}.scope", world.id);
        world.push("/process/env", json!("TOLD=a told thing"));
        world.args(&["/bin/sh", "-c", COUNTER]).write_config();
        silent(world, &["--systemd-cgroup", "run", "--detach", &world.id]);
        world.accept_mounts();
        goes_on(world);
        checkpoint(world, &[]);
        let image = image(world);
        silent(world, &[&["--systemd-cgroup"], &restore_words(world, &image, &["--detach"])[..]].concat());
        goes_on(world);
        let pids = read(&world.cgroup_dir("").join("cgroup.procs"));
        assert_eq!(pids.lines().next(), Some(&*world.pid().to_string()));
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    knarr_machine("runc 1.1 cannot") fn another_cgroup_takes_the_container(world) {
        run_counter(world);
        checkpoint(world, &[]);
        let old = world.cgroup_dir("");
        world.cgroup = format!("{}-other", world.cgroup);
        world.set("/linux/cgroupsPath", world.cgroup.clone()).write_config();
        restore(world, &[]);
        let pids = read(&world.cgroup_dir("").join("cgroup.procs"));
        assert_eq!(pids.lines().next(), Some(&*world.pid().to_string()));
        assert!(!old.exists());
        world.delete_force().assert_ok();
        world.assert_nothing_left();
    }

    knarr_machine("runc opens them in the bundle") fn relative_images_are_those_of_the_caller(world) {
        run_counter(world);
        checkpoint(world, &[]);
        let bundle = world.bundle();
        let words = restore_words(world, "image", &["--detach", "--bundle", bundle.to_str().expect("utf-8")]);
        let mut command = command(world, &words);
        command.current_dir(&world.dir).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().expect("restore").success(), "{}", read(&world.dir.join("log")));
        goes_on(world);
        world.delete_force().assert_ok();
    }

    knarr_machine("what runc lacks") fn the_host_sees_no_mount_of_a_restore(world) {
        run_counter(world);
        checkpoint(world, &[]);
        let mounts = world.dir.join("mounts");
        let hook = world.script("hook", &format!("cat /proc/self/mountinfo >{}", mounts.display()));
        world.push("/hooks/createRuntime", json!({"path": hook})).write_config();
        restore(world, &[]);
        assert!(read(&mounts).lines().all(|line| !line.contains("criu-root")));
        assert!(!world.state_dir().join("criu-root").exists());
        world.delete_force().assert_ok();
    }

    knarr("no criu is called") fn what_cannot_be_dumped_is_refused(world) {
        world.create().assert_ok();
        world.call(&["checkpoint", &world.id]).assert_fails_with("Container cannot be checkpointed in created state");
        world.start().assert_ok();
        world.wait_status("stopped");
        world.call(&["checkpoint", &world.id]).assert_fails_with("Container cannot be checkpointed in stopped state");
        world.delete().assert_ok();
        world.call(&["checkpoint", &world.id]).assert_fails_with("container does not exist");
    }

    knarr("no criu is called") fn flags_are_checked_before_criu(world) {
        world.up_waiting();
        for (flags, text) in [
            (["--manage-cgroups-mode", "hard"], "invalid manage-cgroups-mode value"),
            (["--page-server", "here"], "Use --page-server ADDRESS:PORT to specify page server"),
            (["--page-server", "here:x"], "Invalid port number"),
            (["--empty-ns", "pid"], "namespace \"pid\" is not supported"),
            (["--parent-path", "/tmp"], "--parent-path must be relative"),
        ] {
            let image = image(world);
            let words = [&["checkpoint", "--image-path", &image], &flags[..], &[&world.id]].concat();
            world.call(&words).assert_code(1).assert_fails_with(text);
        }
        assert_eq!(world.status(), "running");
        world.delete_force().assert_ok();
    }

    knarr("no criu is called") fn a_missing_criu_is_named_and_harms_nobody(world) {
        world.up_waiting();
        let mut without = world.command(&["checkpoint", "--image-path", &image(world), &world.id]);
        without.env("PATH", "/nowhere");
        let text = "CRIU version check failed: exec: \"criu\": executable file not found in $PATH";
        world.finish(without).assert_code(1).assert_fails_with(text);
        assert_eq!(world.status(), "running");
        world.delete_force().assert_ok();
        let mut without = world.command(&["restore", "--detach", "--image-path", &image(world), &world.id]);
        without.env("PATH", "/nowhere");
        world.finish(without).assert_code(1).assert_fails_with(text);
        world.assert_nothing_left();
    }
}
