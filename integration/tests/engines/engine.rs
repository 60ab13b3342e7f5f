//! A started engine: its client's command line, the daemon behind it, and what a case records of its answers.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use knarr_integration::leftovers::{self, MARK};
use knarr_integration::{Answer, Layout, Runtime, eventually, sys, wait};

use crate::nest::Site;

/// No single command of an engine takes longer, on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Engine {
    pub(crate) runtime: Runtime,
    /// This engine's own directory.
    pub(crate) dir: PathBuf,
    pub(crate) cgroup: String,
    mark: String,
    client: Vec<String>,
    /// What the names of its containers' cgroups begin with.
    prefix: &'static str,
    /// Finds those that are there.
    find_cgroups: fn(&Engine) -> Vec<PathBuf>,
    /// Where the runtime keeps the states of this engine's containers.
    states: PathBuf,
    daemon: RefCell<Option<Child>>,
    commands: Cell<u32>,
    record: RefCell<Vec<String>>,
    /// Texts that stand for others in what is compared.
    rewritten: Vec<(&'static str, &'static str)>,
}

impl Engine {
    /// A directory for engine `name` with `runtime` below it, named for both.
    pub(crate) fn new(site: &Site, name: &str, runtime: Runtime) -> Self {
        let dir = site.dir.join(format!("{name}-{}", runtime.name()));
        fs::create_dir(&dir).expect("the engine's directory");
        let cgroup = format!("{}/{name}-{}", site.cgroup(), runtime.name());
        Self {
            runtime,
            states: dir.join("states"),
            dir,
            cgroup,
            mark: site.mark.clone(),
            prefix: "",
            find_cgroups: Engine::cgroups_below,
            client: Vec::new(),
            daemon: RefCell::new(None),
            commands: Cell::new(0),
            record: RefCell::new(Vec::new()),
            rewritten: Vec::new(),
        }
    }

    /// The client's program and leading arguments.
    pub(crate) fn client(&mut self, words: &[&str]) {
        self.client = words.iter().map(ToString::to_string).collect();
    }

    pub(crate) fn states(&mut self, below: PathBuf) {
        self.states = below;
    }

    /// In what is compared these texts are those.
    pub(crate) fn rewrite(&mut self, texts: &[(&'static str, &'static str)]) {
        self.rewritten = texts.to_vec();
    }

    /// Only cgroups with such names are containers'; the others are the engine's own.
    pub(crate) fn prefix(&mut self, prefix: &'static str) {
        self.prefix = prefix;
    }

    /// Its containers' cgroups are not below the engine's.
    pub(crate) fn find_cgroups(&mut self, find: fn(&Engine) -> Vec<PathBuf>) {
        self.find_cgroups = find;
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Writes a file into the engine's directory; gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.dir.join(name), text).expect("write a file");
        self.path(name)
    }

    /// The runtime's program.
    pub(crate) fn program(&self) -> String {
        let program = self.runtime.program().expect("the runtime");
        program.canonicalize().expect("the runtime's path").display().to_string()
    }

    /// A link in the engine's directory, made or moved, as an administrator puts another runtime in a name's place.
    pub(crate) fn link(&self, name: &str, program: &str) -> String {
        fs::create_dir_all(self.dir.join("bin")).expect("a folder");
        let (fresh, path) = (self.path("bin/fresh"), self.path(&format!("bin/{name}")));
        std::os::unix::fs::symlink(program, &fresh).expect("a link");
        fs::rename(&fresh, &path).expect("put it in place");
        path
    }

    /// Starts the daemon with its output in a file, and waits until `ready` answers.
    pub(crate) fn daemon(&self, words: &[&str], ready: &[&str]) {
        let log = File::create(self.dir.join("daemon.log")).expect("the daemon's log");
        let copy = log.try_clone().expect("the daemon's log");
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env(MARK, &self.mark).stdin(Stdio::null()).stdout(log).stderr(copy);
        *self.daemon.borrow_mut() = Some(command.spawn().expect("start the daemon"));
        // An emulated machine takes half a minute for it.
        wait::eventually_within(2 * LIMIT, &format!("{} answers", words[0]), || {
            self.call(ready).status.success().then_some(())
        });
    }

    pub(crate) fn daemon_pid(&self) -> u32 {
        self.daemon.borrow().as_ref().map(Child::id).expect("a daemon")
    }

    // ---- commands ----

    /// Runs the client with `words`.
    pub(crate) fn call(&self, words: &[&str]) -> Answer {
        self.call_with_input(words, "")
    }

    pub(crate) fn call_with_input(&self, words: &[&str], input: &str) -> Answer {
        let client: Vec<&str> = self.client.iter().map(String::as_str).collect();
        self.finish(&[client.as_slice(), words].concat(), input)
    }

    /// Runs the client on a terminal, with `input` typed.
    pub(crate) fn on_terminal(&self, words: &[&str], input: &str) -> Answer {
        let quoted = self.client.iter().map(String::as_str).chain(words.iter().copied()).map(quote);
        let line: Vec<String> = quoted.collect();
        self.finish(&["script", "--quiet", "--return", "--command", &line.join(" "), "/dev/null"], input)
    }

    /// Starts the client with `words`; the caller waits for it.
    pub(crate) fn begin(&self, words: &[&str], input: Stdio) -> (Child, PathBuf, PathBuf) {
        let client: Vec<&str> = self.client.iter().map(String::as_str).collect();
        self.spawn(&[client.as_slice(), words].concat(), input)
    }

    fn spawn(&self, words: &[&str], input: Stdio) -> (Child, PathBuf, PathBuf) {
        let number = self.commands.replace(self.commands.get() + 1);
        let out = self.dir.join(format!("{number}.out"));
        let err = self.dir.join(format!("{number}.err"));
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env(MARK, &self.mark).env("DOCKER_BUILDKIT", "0").env("TERM", "xterm");
        command.env("CONTAINERS_CONF", self.dir.join("containers.conf"));
        // conmon leaves a file where it was started when memory runs out.
        command.current_dir(&self.dir);
        command
            .stdin(input)
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&err).expect("a file"));
        let child = command.spawn().unwrap_or_else(|error| panic!("start {words:?}: {error}"));
        (child, out, err)
    }

    fn finish(&self, words: &[&str], input: &str) -> Answer {
        let (mut child, out, err) = self.spawn(words, Stdio::piped());
        if let Some(mut pipe) = child.stdin.take() {
            // A program that ends without reading is no failure of ours.
            let _ = pipe.write_all(input.as_bytes());
        }
        self.end_of(words, child, &out, &err)
    }

    /// The answer of a command that `begin` started.
    pub(crate) fn end_of(&self, words: &[&str], mut child: Child, out: &Path, err: &Path) -> Answer {
        let command = words.join(" ");
        let status = wait::exit_within(&mut child, LIMIT);
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let (out, err) = (text(out), text(err));
        let status = status.unwrap_or_else(|| panic!("{command} does not end\n  out: {out}\n  err: {err}"));
        Answer { command, status, out, err }
    }

    /// The trimmed output of a command that must succeed.
    #[track_caller]
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        self.call(words).assert_ok().out.trim().to_owned()
    }

    /// Waits until `words` print `text`.
    #[track_caller]
    pub(crate) fn until(&self, words: &[&str], text: &str) {
        let what = format!("`{text}` from {words:?}");
        eventually(&what, || (self.call(words).out.trim() == text).then_some(()));
    }

    // ---- comparing ----

    /// What must be the same with both runtimes: exit code and texts, ids put aside.
    pub(crate) fn record(&self, answer: &Answer) {
        self.record_text(&format!("exit {}: {}{}", answer.code(), answer.out.trim(), answer.said().trim()));
    }

    pub(crate) fn record_text(&self, text: &str) {
        let text = text.replace(&self.dir.display().to_string(), "DIR").replace(&self.cgroup, "CGROUP");
        // The command of 20.10 says so or not, as it happens.
        let kept: Vec<&str> = text
            .lines()
            .filter(|line| !line.ends_with("error waiting for container: context canceled\""))
            .collect();
        let text = if self.rewritten.is_empty() { text } else { kept.join("\n") };
        let rewritten = self.rewritten.iter().fold(text, |text, (old, new)| text.replace(old, new));
        self.record.borrow_mut().push(without_ids(&rewritten));
    }

    pub(crate) fn take_record(&self) -> Vec<String> {
        self.record.take()
    }

    // ---- the end ----

    /// Ends the daemon and asserts that nothing is left of the containers.
    pub(crate) fn end(&self) {
        let left = eventually_nothing(|| self.left());
        if let Some(mut daemon) = self.daemon.take() {
            let pid = i32::try_from(daemon.id()).expect("a pid");
            sys::kill(pid, libc::SIGTERM).expect("end the daemon");
            assert!(wait::exit_within(&mut daemon, LIMIT).is_some(), "the daemon had to be killed");
        }
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    /// What the containers left: processes in their cgroups, cgroups, states, mounts of their roots.
    pub(crate) fn left(&self) -> Vec<String> {
        let cgroups = (self.find_cgroups)(self);
        let mut left: Vec<String> = cgroups.iter().map(|path| path.display().to_string()).collect();
        left.extend(entries(&self.states).map(|path| path.display().to_string()));
        left.extend(self.shims().iter().map(|pid| format!("shim {pid}")));
        let dir = self.dir.display().to_string();
        let of_containers = |line: &String| line.contains(&dir) && line.contains(" - overlay ");
        left.extend(leftovers::mounts().into_iter().filter(of_containers));
        left
    }

    fn cgroups_below(&self) -> Vec<PathBuf> {
        let folders = Layout::Hybrid.directories(&self.cgroup);
        let children = folders.iter().flat_map(|cgroup| entries(cgroup)).filter(|path| path.is_dir());
        let ours = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(self.prefix))
        };
        children.filter(ours).collect()
    }

    /// Processes that attend a container of this engine.
    pub(crate) fn shims(&self) -> Vec<i32> {
        let dir = self.dir.display().to_string();
        let attends = |pid: &i32| {
            let line = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default())
                .replace('\0', " ");
            let names = ["containerd-shim", "conmon", "knarr-monitor"];
            line.contains(&dir) && names.iter().any(|name| line.contains(name))
        };
        leftovers::processes(&self.mark).into_iter().filter(attends).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // The namespace's end kills whatever this misses.
            let _ = daemon.kill().and_then(|()| daemon.wait());
        }
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// What is still there when patience ends; engines clean up a moment after they answer.
fn eventually_nothing(left: impl Fn() -> Vec<String>) -> Vec<String> {
    for _ in 0..100 {
        if left().is_empty() {
            return Vec::new();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    left()
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `text` with container ids, which are long hexadecimal words, as `ID`; and without the stage at which the error
/// was found, which runc 1.1 does not name and later ones do.
fn without_ids(text: &str) -> String {
    let text = text.replace("error during container init: ", "");
    let mut plain = String::new();
    for part in text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let is_id = word.len() >= 12 && word.chars().all(|letter| letter.is_ascii_hexdigit());
        plain.push_str(if is_id { "ID" } else { word });
        plain.push_str(&part[word.len()..]);
    }
    plain
}
