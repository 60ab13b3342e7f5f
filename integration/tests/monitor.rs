//! `knarr-monitor` over a runtime: streams, log, attached clients, exit status, and what becomes of them when whoever
//! started it is gone.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use knarr_integration::wait::{PATIENCE, exit_within};
use knarr_integration::{Value, World, cases, eventually, json, runtime};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const CONTROL: u8 = 3;

/// A monitor at work. Dropped, it is killed: by then it should have ended.
struct Monitor {
    child: Child,
    dir: PathBuf,
    /// What it said when its process was made, or was not.
    said: Value,
}

/// One connection to a monitor.
struct Client(UnixStream);

fn task(world: &World, act: &Value, more: &Value) -> Value {
    let program = world.program().to_string_lossy().into_owned();
    let mut task = json!({"runtime": [program, "--root", world.root()], "act": act});
    let fields = more.as_object().cloned().unwrap_or_default();
    task.as_object_mut().expect("an object").extend(fields);
    task
}

/// A task that creates the world's container and keeps a json-file log.
fn creation(world: &World, more: &Value) -> Value {
    world.write_config();
    let log = json!({"json_file": {"path": world.dir.join("log")}});
    let act = json!({"create": {"id": world.id, "bundle": world.bundle()}});
    let mut task = task(world, &act, &json!({"log": log}));
    task.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    task
}

fn command(world: &World, name: &str, task: &Value) -> (Command, PathBuf) {
    let dir = world.folder(name);
    fs::write(dir.join("task.json"), task.to_string()).expect("write the task");
    let program = runtime::ours("knarr-monitor").expect("the monitor");
    let mut command = Command::new(program);
    command.arg(&dir).stdin(Stdio::null());
    (command, dir)
}

impl Monitor {
    fn start(world: &World, name: &str, task: &Value) -> Self {
        let (mut command, dir) = command(world, name, task);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start the monitor");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("what it says");
        let said = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { child, dir, said }
    }

    fn create(world: &World, more: &Value) -> Self {
        let monitor = Self::start(world, "monitor", &creation(world, more));
        assert_eq!(monitor.said["pid"], world.pid(), "{}", monitor.said);
        monitor
    }

    fn client(&self) -> Client {
        let stream = UnixStream::connect(self.dir.join("monitor.sock")).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        Client(stream)
    }

    /// Waits for its end, and gives what it has put on record.
    fn end(&mut self) -> Value {
        let status = exit_within(&mut self.child, PATIENCE).expect("the monitor ends with its process");
        assert!(status.success(), "{status}");
        self.record()
    }

    fn record(&self) -> Value {
        let text = fs::read_to_string(self.dir.join("exit.json")).expect("the exit record");
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // It has ended, or the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    fn attached(monitor: &Monitor) -> Self {
        let mut client = monitor.client();
        client.request(
            &json!({"attach": {"stdin": true, "stdout": true, "stderr": true}}),
            &json!({"done": true}),
        );
        client
    }

    fn send(&mut self, kind: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
        let frame = [&[kind, 0, 0, 0], &length[..], payload].concat();
        self.0.write_all(&frame).expect("send a frame");
    }

    fn request(&mut self, request: &Value, answer: &Value) {
        self.send(CONTROL, request.to_string().as_bytes());
        let (kind, payload) = self.receive().expect("an answer");
        assert_eq!(kind, CONTROL);
        let got: Value = serde_json::from_slice(&payload).expect("JSON");
        assert_eq!(got, *answer, "to {request}");
    }

    fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 8];
        self.0.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).expect("a whole frame");
        Some((header[0], payload))
    }

    /// Reads until `text` has come.
    fn wait_for(&mut self, text: &str) {
        let mut seen = String::new();
        while !seen.contains(text) {
            let (kind, payload) = self.receive().unwrap_or_else(|| panic!("{text:?} in {seen:?}"));
            assert_eq!(kind, STDOUT);
            seen.push_str(&String::from_utf8_lossy(&payload));
        }
    }

    /// Everything up to the news of the end: what came on each output, and the news.
    fn rest(&mut self) -> (Vec<u8>, Vec<u8>, Value) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match self.receive().expect("the news of the end") {
                (STDOUT, payload) => out.extend(payload),
                (STDERR, payload) => err.extend(payload),
                (_, news) => return (out, err, serde_json::from_slice(&news).expect("JSON")),
            }
        }
    }
}

fn entries(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
}

fn log_of(world: &World, stream: &str) -> String {
    let text = fs::read_to_string(world.dir.join("log")).expect("the log");
    let of_stream = entries(&text).into_iter().filter(|entry| entry["stream"] == stream);
    of_stream.map(|entry| entry["log"].as_str().expect("text").to_owned()).collect()
}

/// The files of the world's log, the oldest first, and what is in them.
fn aside(world: &World) -> Vec<(String, String)> {
    let listing = fs::read_dir(&world.dir).expect("the world").flatten().map(|entry| entry.path());
    let name = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    let mut paths: Vec<PathBuf> = listing.filter(|path| name(path).starts_with("log")).collect();
    let number = |path: &PathBuf| name(path).split('.').nth(1).and_then(|number| number.parse::<u32>().ok());
    paths.sort_by_key(|path| std::cmp::Reverse(number(path)));
    let text = |path: &PathBuf| {
        let program =
            if path.extension().is_some_and(|extension| extension == "gz") { "zcat" } else { "cat" };
        let output = Command::new(program).arg(path).output().expect("read a log");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    paths.iter().map(|path| (name(path), text(path))).collect()
}

cases! {
    v1 fn output_is_logged_and_the_status_recorded(world) {
        world.args(&["sh", "-c", "echo out; printf err >&2; exit 3"]);
        let mut monitor = Monitor::create(world, &json!({}));
        world.start().assert_ok();
        assert_eq!(monitor.end()["code"], 3);
        assert_eq!((log_of(world, "stdout").as_str(), log_of(world, "stderr").as_str()), ("out\n", "err"));
        world.delete().assert_ok();
    }

    v1 fn waiting_takes_little_memory(world) {
        world.args(&["sleep", "1000"]);
        let mut monitor = Monitor::create(world, &json!({}));
        world.start().assert_ok();
        let status = fs::read_to_string(format!("/proc/{}/status", monitor.child.id())).expect("its status");
        let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
        let kib: u32 = own.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(kib < 300, "{kib} KiB that it shares with no other monitor");
        world.kill("KILL").assert_ok();
        monitor.end();
        world.delete().assert_ok();
    }

    v1 fn a_signal_counts_as_a_shell_counts_it(world) {
        world.args(&["sleep", "1000"]);
        let mut monitor = Monitor::create(world, &json!({}));
        world.start().assert_ok();
        world.kill("KILL").assert_ok();
        assert_eq!(monitor.end()["code"], 137);
        world.delete().assert_ok();
    }

    v1 fn the_runtimes_error_is_the_answer(world) {
        world.args(&["/no/such/program"]);
        let mut monitor = Monitor::start(world, "monitor", &creation(world, &json!({})));
        let error = monitor.said["error"].as_str().expect("an error").to_owned();
        assert!(error.contains("no such file or directory"), "{error}");
        let status = exit_within(&mut monitor.child, PATIENCE).expect("it ends");
        assert_eq!(status.code(), Some(1));
        assert!(!monitor.dir.join("exit.json").exists());
        assert_eq!(fs::read(world.dir.join("log")).expect("the log"), b"", "the runtime's words are no output");
    }

    v1 fn a_client_reads_writes_and_is_told_of_the_end(world) {
        world.args(&["cat"]);
        let mut monitor = Monitor::create(world, &json!({"stdin": "once"}));
        let mut client = Client::attached(&monitor);
        world.start().assert_ok();
        client.send(STDIN, b"hello");
        client.wait_for("hello");
        client.send(STDIN, b"");
        let (out, err, news) = client.rest();
        assert_eq!((out.as_slice(), err.as_slice(), &news["exit"]["code"]), (&b""[..], &b""[..], &json!(0)));
        assert_eq!(monitor.end(), news["exit"]);
        world.delete().assert_ok();
    }

    v1 fn input_sent_before_a_client_hangs_up_arrives(world) {
        world.args(&["sh", "-c", "wc -c; echo done >&2"]);
        let mut monitor = Monitor::create(world, &json!({"stdin": "once"}));
        let mut client = Client::attached(&monitor);
        // More than a pipe holds, and nobody reads yet.
        let sender = std::thread::spawn(move || {
            (0..64).for_each(|_| client.send(STDIN, &[b'x'; 4096]));
            client.0.shutdown(Shutdown::Both).expect("hang up");
        });
        world.start().assert_ok();
        sender.join().expect("all is sent");
        assert_eq!(monitor.end()["code"], 0);
        assert_eq!(log_of(world, "stdout").trim(), (64 * 4096).to_string());
        world.delete().assert_ok();
    }

    v1 fn open_input_outlives_its_clients(world) {
        world.args(&["cat"]);
        let mut monitor = Monitor::create(world, &json!({"stdin": "open"}));
        world.start().assert_ok();
        for word in ["one", "two"] {
            let mut client = Client::attached(&monitor);
            client.send(STDIN, word.as_bytes());
            client.wait_for(word);
            client.send(STDIN, b"");
        }
        monitor.client().request(&json!({"close_stdin": {}}), &json!({"done": true}));
        assert_eq!(monitor.end()["code"], 0);
        assert_eq!(log_of(world, "stdout"), "onetwo");
        world.delete().assert_ok();
    }

    v1 fn a_terminal_has_the_size_it_is_given(world) {
        world.args(&["sh", "-c", "read line; stty size; echo got $line"]).set("/process/terminal", true);
        let mut monitor = Monitor::create(world, &json!({"terminal": true, "stdin": "open"}));
        let mut client = Client::attached(&monitor);
        world.start().assert_ok();
        monitor.client().request(&json!({"resize": {"rows": 31, "columns": 77}}), &json!({"done": true}));
        client.send(STDIN, b"word\n");
        client.wait_for("31 77\r\ngot word\r\n");
        assert_eq!(client.rest().2["exit"]["code"], 0);
        assert_eq!(monitor.end()["code"], 0);
        world.delete().assert_ok();
    }

    v1 fn a_bad_request_is_answered_and_no_frames_end_the_connection(world) {
        world.args(&["sleep", "1000"]);
        let mut monitor = Monitor::create(world, &json!({}));
        world.start().assert_ok();
        let mut client = monitor.client();
        client.request(&json!({"resize": {"rows": 1, "columns": 1}}), &json!({"error": "the process has no terminal"}));
        client.send(CONTROL, b"{\"sing\":{}}");
        let (_, answer) = client.receive().expect("an answer");
        assert!(String::from_utf8_lossy(&answer).contains("unknown variant `sing`"));
        client.send(STDOUT, b"what a client may not send");
        assert_eq!(client.receive(), None);
        assert_eq!(monitor.client().receive_after(world), json!({"exit": monitor.end()}));
        world.delete().assert_ok();
    }

    v1 fn a_slow_client_loses_nothing_and_neither_does_the_log(world) {
        let script = "i=0; while [ $i -lt 60000 ]; do echo line $i of output that fills buffers; i=$((i+1)); done";
        world.args(&["sh", "-c", script]);
        let mut monitor = Monitor::create(world, &json!({}));
        let mut slow = Client::attached(&monitor);
        world.start().assert_ok();
        let log = world.dir.join("log");
        // The process is made to wait for the client: its log stands still, far from the end.
        let mut last = 0;
        eventually("the output stops", || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let size = fs::metadata(&log).map_or(0, |log| log.len());
            let stopped = size > 0 && size == last;
            last = size;
            stopped.then_some(())
        });
        let want = (0..60_000).map(|i| format!("line {i} of output that fills buffers\n")).collect::<Vec<_>>().concat();
        assert!(last < want.len() as u64, "{last} bytes of log although nobody read");
        let (out, _, _) = slow.rest();
        assert!(out == want.as_bytes(), "{} bytes instead of {}", out.len(), want.len());
        monitor.end();
        assert!(log_of(world, "stdout") == want, "the log");
        world.delete().assert_ok();
    }

    v1 fn full_logs_are_put_aside_compressed_and_whole(world) {
        let script = "for r in 1 2 3; do i=0; while [ $i -lt 5000 ]; do echo $r $i; i=$((i+1)); done; read line; done";
        world.args(&["sh", "-c", script]);
        let log = json!({"json_file": {"path": world.dir.join("log"), "max_size": 100_000, "keep": 99, "compress": true}});
        let mut monitor = Monitor::create(world, &json!({"log": log, "stdin": "open"}));
        world.start().assert_ok();
        let mut client = Client::attached(&monitor);
        for round in 1..=3 {
            eventually("all lines of a round, and what is full compressed", || {
                let all = aside(world).iter().map(|(_, text)| text.as_str()).collect::<String>();
                let settled = aside(world).iter().all(|(name, _)| name == "log" || name.rsplit('.').next() == Some("gz"));
                (all.contains(&format!("\"{round} 4999\\n\"")) && settled).then_some(())
            });
            client.send(STDIN, b"\n");
        }
        monitor.end();
        let files = aside(world);
        assert!(files.len() > 3, "each round fills one file at least: {}", files.len());
        let text: String = files.into_iter().map(|(_, text)| text).collect();
        let lines: String = entries(&text).iter().map(|entry| entry["log"].as_str().expect("text").to_owned()).collect();
        let want = (1..=3).flat_map(|r| (0..5000).map(move |i| format!("{r} {i}\n"))).collect::<Vec<_>>().concat();
        assert!(lines == want, "nothing is missing, nothing is there twice");
        world.delete().assert_ok();
    }

    v1 fn a_log_that_cannot_be_written_ends_no_container(world) {
        world.args(&["sh", "-c", "echo lost; exit 5"]);
        let mut monitor = Monitor::create(world, &json!({"log": {"local": {"path": "/dev/full"}}}));
        let mut client = Client::attached(&monitor);
        world.start().assert_ok();
        let (out, _, news) = client.rest();
        assert_eq!((out.as_slice(), &news["exit"]["code"]), (&b"lost\n"[..], &json!(5)));
        let error = monitor.end()["log_error"].as_str().expect("the log's error").to_owned();
        assert!(error.contains("/dev/full") && error.contains("No space left"), "{error}");
        world.delete().assert_ok();
    }

    v1 fn one_more_process_has_a_monitor_of_its_own(world) {
        let container = world.up_waiting();
        let process = world.file("process.json", &json!({
            "args": ["sh", "-c", "cat; exit 4"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        }).to_string());
        let act = json!({"exec": {"id": world.id, "process": process}});
        let mut monitor = Monitor::start(world, "exec", &task(world, &act, &json!({"stdin": "once"})));
        assert!(monitor.said["pid"].as_i64().is_some_and(|pid| pid > 0), "{}", monitor.said);
        let mut client = Client::attached(&monitor);
        client.send(STDIN, b"text");
        client.send(STDIN, b"");
        let (out, _, news) = client.rest();
        assert_eq!((out.as_slice(), &news["exit"]["code"]), (&b"text"[..], &json!(4)));
        assert_eq!(monitor.end()["code"], 4);
        drop(container);
    }

    v1 fn a_client_that_was_there_first_gets_the_first_byte(world) {
        let container = world.up_waiting();
        let process = world.file("process.json", &json!({
            "args": ["sh", "-c", "echo at once; exit 4"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        }).to_string());
        let act = json!({"exec": {"id": world.id, "process": process}});
        for turn in 0..20 {
            let (mut command, dir) = command(world, &format!("early-{turn}"), &task(world, &act, &json!({})));
            let listener = UnixListener::bind(dir.join("monitor.sock")).expect("listen");
            let stream = UnixStream::connect(dir.join("monitor.sock")).expect("connect");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
            let mut client = Client(stream);
            let attach = json!({"attach": {"stdin": false, "stdout": true, "stderr": true}});
            client.send(CONTROL, attach.to_string().as_bytes());
            command.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null());
            let mut child = command.spawn().expect("start the monitor");
            drop(command);
            assert_eq!(client.receive().expect("an answer"), (CONTROL, br#"{"done":true}"#.to_vec()));
            let (out, _, news) = client.rest();
            assert_eq!((out.as_slice(), &news["exit"]["code"]), (&b"at once\n"[..], &json!(4)));
            assert!(exit_within(&mut child, PATIENCE).expect("it ends").success());
        }
        drop(container);
    }

    v1 fn a_process_that_ends_at_once_is_not_missed(world) {
        let container = world.up_waiting();
        let process = world.file("process.json", &json!({
            "args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        }).to_string());
        let act = json!({"exec": {"id": world.id, "process": process}});
        for turn in 0..20 {
            let mut monitor = Monitor::start(world, &format!("exec-{turn}"), &task(world, &act, &json!({})));
            assert_eq!(monitor.end()["code"], 0);
        }
        drop(container);
    }

    v1 fn whoever_started_it_may_die_at_any_moment(world) {
        world.args(&["sh", "-c", "read line; echo heard $line; exit 6"]);
        let (command, dir) = command(world, "monitor", &creation(world, &json!({"stdin": "open"})));
        // A shell starts it, is killed before it has said anything, and takes the reader of its pipe along.
        let program = command.get_program().to_owned();
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$0\" \"$1\" & kill -9 $$"]).arg(program).arg(&dir).stdout(Stdio::piped());
        let mut starter = shell.spawn().expect("start a shell");
        drop(starter.stdout.take());
        starter.wait().expect("it ends");
        eventually("the container is there", || (world.state_dir().exists() && dir.join("pid").exists()).then_some(()));
        world.wait_status("created");
        world.start().assert_ok();
        let stream = UnixStream::connect(dir.join("monitor.sock")).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let mut client = Client(stream);
        client.request(&json!({"attach": {"stdin": true, "stdout": true, "stderr": true}}), &json!({"done": true}));
        client.send(STDIN, b"you\n");
        let (out, _, news) = client.rest();
        assert_eq!((out.as_slice(), &news["exit"]["code"]), (&b"heard you\n"[..], &json!(6)));
        assert_eq!(log_of(world, "stdout"), "heard you\n");
        assert!(dir.join("exit.json").exists());
        world.delete().assert_ok();
    }
}

impl Client {
    /// Kills the container, and gives the last thing that this client is told.
    fn receive_after(&mut self, world: &World) -> Value {
        world.kill("KILL").assert_ok();
        self.rest().2
    }
}
