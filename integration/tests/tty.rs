//! Terminals: in the foreground, over `--console-socket`, their size, and the rules about who needs which.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use knarr_integration::console::{Receiver, begin_on, terminal};
use knarr_integration::{Answer, Console, World, answer, cases, eventually, json, sys};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcgetwinsize, tcsetwinsize};

/// Creates the container with a console socket and gives the master.
fn create_with_console(world: &World) -> (Console, String) {
    let receiver = Receiver::listen(&world.dir.join("console"));
    let socket = receiver.path.to_str().expect("utf-8").to_owned();
    world.create_with(&["--console-socket", &socket]).assert_ok();
    let (master, text) = receiver.receive();
    (Console::new(master), text)
}

fn facts_on(console: &mut Console) -> knarr_integration::Value {
    let shown = console.read_until("\"verb\":\"facts\"").to_owned();
    let line = if shown.ends_with('\n') { shown } else { console.read_until("\n").to_owned() };
    let found = answer::answers(&line).into_iter().find(|answer| answer["verb"] == "facts");
    found.expect("facts")["facts"].clone()
}

fn exec_with_console(world: &World, flags: &[&str], verbs: &[&str]) -> (Answer, Console) {
    let receiver = Receiver::listen(&world.dir.join("exec-console"));
    let socket = receiver.path.to_str().expect("utf-8").to_owned();
    let all = [&["--tty", "--detach", "--console-socket", socket.as_str()], flags].concat();
    let answer = world.exec_probe(&all, verbs).assert_ok();
    let (master, _) = receiver.receive();
    (answer, Console::new(master))
}

cases! {
    everywhere fn the_master_arrives_at_the_console_socket(world) {
        world.set("/process/terminal", true).probe(&["facts", "wait"]);
        let (mut console, text) = create_with_console(world);
        assert!(text.starts_with("/dev/p"), "{text}");
        world.start().assert_ok();
        let facts = facts_on(&mut console);
        assert_eq!((&facts["tty"]["stdin"], &facts["tty"]["stdout"]), (&json!(true), &json!(true)));
        assert_eq!(facts["tty"]["controlling"], true);
        assert_eq!(facts["tty"]["foreground"], facts["pgid"]);
        let same = ["0", "1", "2"].map(|fd| facts["fds"][fd]["target"].clone());
        assert!(same.iter().all(|target| target == &same[0]), "{same:?}");
        assert_eq!(same[0], "/dev/pts/0");
        assert_eq!(facts["fds"].as_object().map(serde_json::Map::len), Some(3));
    }

    everywhere fn dev_console_is_the_terminal(world) {
        world.set("/process/terminal", true);
        world.probe(&["stat", "/dev/console", "write", "/dev/console", "by the console\n", "facts", "wait"]);
        let (mut console, _) = create_with_console(world);
        world.start().assert_ok();
        let facts = facts_on(&mut console);
        let shown = console.read_until("by the console").to_owned();
        let stat = answer::answers(&shown).remove(0);
        assert_eq!((&stat["value"]["kind"], &stat["value"]["major"]), (&json!("char"), &json!(136)), "{stat}");
        let mounts = facts["mounts"].as_array().expect("mounts");
        assert!(mounts.iter().any(|mount| mount["point"] == "/dev/console"), "{mounts:?}");
    }

    everywhere fn the_console_size_is_set(world) {
        world.set("/process/terminal", true).set("/process/consoleSize", json!({"height": 41, "width": 123}));
        world.probe(&["facts", "wait"]);
        let (mut console, _) = create_with_console(world);
        world.start().assert_ok();
        let facts = facts_on(&mut console);
        assert_eq!((&facts["tty"]["rows"], &facts["tty"]["columns"]), (&json!(41), &json!(123)));
    }

    everywhere fn a_resize_of_the_master_reaches_the_program(world) {
        world.set("/process/terminal", true).probe(&["block", "echo", "ready", "wait", "facts", "wait"]);
        let (mut console, _) = create_with_console(world);
        world.start().assert_ok();
        console.read_until("ready");
        let size = Winsize { ws_row: 13, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(console.master(), size).expect("resize");
        console.read_until("\"value\":28");
        let facts = facts_on(&mut console);
        assert_eq!((&facts["tty"]["rows"], &facts["tty"]["columns"]), (&json!(13), &json!(77)));
    }

    everywhere fn what_is_typed_arrives(world) {
        world.set("/process/terminal", true).probe(&["echo", "ready", "line"]);
        let (mut console, _) = create_with_console(world);
        world.start().assert_ok();
        console.read_until("ready");
        console.type_in("a word\n");
        assert!(console.read_all().contains("\"value\":\"a word\\n\""));
    }

    everywhere fn control_c_is_a_signal(world) {
        world.set("/process/terminal", true).probe(&["block", "echo", "ready", "wait"]);
        let (mut console, _) = create_with_console(world);
        world.start().assert_ok();
        console.read_until("ready");
        console.type_in("\u{3}");
        console.read_until("\"value\":2");
    }

    everywhere fn the_terminal_belongs_to_the_user(world) {
        world.set("/process/terminal", true).set("/process/user", json!({"uid": 1000, "gid": 1000}));
        world.probe(&["stat", "/dev/pts/0", "write", "/dev/tty", "again\n", "facts", "wait"]);
        let (mut console, _) = create_with_console(world);
        world.start().assert_ok();
        facts_on(&mut console);
        let answers = answer::answers(console.read_until("facts"));
        assert_eq!(answers[0]["value"]["uid"], 1000);
        assert_eq!(answers[1]["ok"], true, "{}", answers[1]);
    }

    everywhere fn a_terminal_in_a_user_namespace(world) {
        world.user_namespace(100_000).set("/process/terminal", true).probe(&["facts", "wait"]);
        let (mut console, _) = create_with_console(world);
        world.start().assert_ok();
        assert_eq!(facts_on(&mut console)["tty"]["controlling"], true);
    }

    everywhere fn run_in_a_terminal_passes_everything_through(world) {
        let script = "echo ready; read x; echo got-$x; while ! stty size | grep -q '31 91'; do :; done; exit 6";
        world.set("/process/terminal", true).args(&["/bin/sh", "-c", script]);
        world.write_config();
        let (mut console, side) = terminal();
        let size = Winsize { ws_row: 30, ws_col: 90, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&side, size).expect("a size");
        let mut run = begin_on(world.command(&["run", &world.id]), &side);
        console.read_until("ready");
        let raw = tcgetattr(&side).expect("attributes");
        assert!(!raw.local_modes.contains(LocalModes::ICANON), "the outer terminal is not raw");
        console.type_in("typed\r");
        console.read_until("got-typed");
        let size = Winsize { ws_row: 31, ws_col: 91, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(console.master(), size).expect("resize");
        let status = knarr_integration::wait::exit_within(&mut run, knarr_integration::wait::PATIENCE);
        assert_eq!(status.and_then(|status| status.code()), Some(6));
        let restored = tcgetattr(&side).expect("attributes");
        assert!(restored.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO), "it stays raw");
        world.assert_nothing_left();
    }

    everywhere fn run_starts_with_the_size_of_the_outer_terminal(world) {
        world.set("/process/terminal", true).probe(&["wait"]);
        // The size is copied while the program already runs.
        let script = "while ! stty size | grep -q '33 99'; do :; done; echo seen";
        world.args(&["/bin/sh", "-c", script]);
        world.write_config();
        let (mut console, side) = terminal();
        let size = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&side, size).expect("a size");
        let mut run = begin_on(world.command(&["run", &world.id]), &side);
        console.read_until("seen");
        assert!(knarr_integration::wait::exit_within(&mut run, knarr_integration::wait::PATIENCE).is_some());
        assert_eq!(tcgetwinsize(&side).expect("a size").ws_row, 33);
    }

    everywhere fn all_output_arrives_before_the_end(world) {
        world.set("/process/terminal", true);
        world.args(&["/bin/sh", "-c", "i=0; while test $i -lt 2000; do echo line-$i; i=$((i+1)); done"]);
        world.write_config();
        let (mut console, side) = terminal();
        let mut run = begin_on(world.command(&["run", &world.id]), &side);
        drop(side);
        assert!(console.read_all().contains("line-1999"), "the last line is missing");
        assert!(knarr_integration::wait::exit_within(&mut run, knarr_integration::wait::PATIENCE).is_some());
    }

    everywhere fn a_terminal_without_a_console_socket_is_refused_for_create(world) {
        world.set("/process/terminal", true);
        world.create().assert_fails_with("cannot allocate tty if runc will detach without setting console socket");
        world.assert_nothing_left();
    }

    everywhere fn a_terminal_without_a_console_socket_is_refused_detached(world) {
        world.set("/process/terminal", true);
        world.run_with(&["--detach"])
            .assert_fails_with("cannot allocate tty if runc will detach without setting console socket");
        world.assert_nothing_left();
    }

    everywhere fn a_console_socket_without_a_terminal_is_refused(world) {
        let receiver = Receiver::listen(&world.dir.join("console"));
        world.create_with(&["--console-socket", receiver.path.to_str().expect("utf-8")])
            .assert_fails_with("cannot use console socket if runc will not detach or allocate tty");
        world.assert_nothing_left();
    }

    everywhere fn a_console_socket_in_the_foreground_is_refused(world) {
        world.set("/process/terminal", true);
        let receiver = Receiver::listen(&world.dir.join("console"));
        world.run_with(&["--console-socket", receiver.path.to_str().expect("utf-8")])
            .assert_fails_with("cannot use console socket if runc will not detach or allocate tty");
        world.assert_nothing_left();
    }

    everywhere fn a_console_socket_nobody_listens_on_fails(world) {
        world.set("/process/terminal", true);
        let path = world.dir.join("nobody");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        world.create_with(&["--console-socket", path.to_str().expect("utf-8")])
            .assert_fails_with("connection refused");
        world.assert_nothing_left();
    }

    everywhere fn a_missing_console_socket_fails(world) {
        world.set("/process/terminal", true);
        world.create_with(&["--console-socket", "/nonexistent/console"])
            .assert_fails_with("no such file or directory");
        world.assert_nothing_left();
    }

    everywhere fn exec_gets_a_terminal_of_its_own(world) {
        world.up_waiting();
        let (_, mut console) = exec_with_console(world, &[], &["facts", "wait"]);
        let facts = facts_on(&mut console);
        assert_eq!(facts["tty"]["controlling"], true);
        assert_eq!(facts["sid"], facts["pid"]);
    }

    everywhere fn exec_in_a_terminal_passes_through(world) {
        world.up_waiting();
        let (mut console, side) = terminal();
        let command = world.command(&["exec", "--tty", &world.id, "/bin/probe", "echo", "ready", "line", "exit", "9"]);
        let mut exec = begin_on(command, &side);
        console.read_until("ready");
        console.type_in("typed\r");
        console.read_until("typed\\n");
        let status = knarr_integration::wait::exit_within(&mut exec, knarr_integration::wait::PATIENCE);
        assert_eq!(status.and_then(|status| status.code()), Some(9));
    }

    everywhere fn exec_without_a_flag_has_none_even_if_the_container_has(world) {
        world.set("/process/terminal", true).probe(&["block", "echo", "ready", "wait"]);
        let (mut console, _) = create_with_console(world);
        world.start().assert_ok();
        console.read_until("ready");
        let facts = world.exec_probe(&[], &["facts"]).assert_ok().facts();
        assert_eq!(facts["tty"]["stdin"], false);
    }

    everywhere fn a_hangup_of_the_master_reaches_the_program(world) {
        world.set("/process/terminal", true).probe(&["block", "echo", "ready", "wait", "create", "/tmp/hung-up"]);
        let (mut console, _) = create_with_console(world);
        world.start().assert_ok();
        console.read_until("ready");
        drop(console);
        let file = world.rootfs().join("tmp/hung-up");
        eventually("SIGHUP", || file.exists().then_some(()).or_else(|| (world.status() == "stopped").then_some(())));
    }

    knarr("runc 1.1 has no --pidfd-socket") fn a_pidfd_arrives_at_the_pidfd_socket(world) {
        world.probe(&["block", "wait"]);
        let receiver = Receiver::listen(&world.dir.join("pidfd"));
        let socket = receiver.path.to_str().expect("utf-8").to_owned();
        world.create_with(&["--pidfd-socket", &socket]).assert_ok();
        let (pidfd, text) = receiver.receive();
        assert_eq!(text.trim_end_matches('\0'), "standard");
        assert_eq!(sys::pid_of(std::os::fd::AsFd::as_fd(&pidfd)), Some(world.pid()));
    }

    knarr("runc 1.1 has no --pidfd-socket") fn a_pidfd_of_exec_arrives_too(world) {
        world.up_waiting();
        let receiver = Receiver::listen(&world.dir.join("pidfd"));
        let socket = receiver.path.to_str().expect("utf-8").to_owned();
        let file = world.dir.join("pid");
        let flags = ["--detach", "--pidfd-socket", &socket, "--pid-file", file.to_str().expect("utf-8")];
        world.exec_probe(&flags, &["wait"]).assert_ok();
        let (pidfd, text) = receiver.receive();
        assert_eq!(text.trim_end_matches('\0'), "setns");
        let pid = std::fs::read_to_string(&file).expect("a pid file");
        assert_eq!(sys::pid_of(std::os::fd::AsFd::as_fd(&pidfd)).map(|pid| pid.to_string()), Some(pid));
    }
}
