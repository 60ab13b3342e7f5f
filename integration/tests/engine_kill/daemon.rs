//! `knarrd` with roots of its own: started, killed, started again; and what it may leave.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use knarr_integration::{Value, eventually, json, runtime, wait};

use crate::client::{Client, Reply, unframe};
use crate::image;
use crate::nest::{self, Site};

pub(crate) struct Daemon {
    pub(crate) dir: PathBuf,
    pub(crate) client: Client,
    cgroup: String,
    mark: String,
    child: Option<Child>,
    /// More flags, from the next start on.
    pub(crate) flags: Vec<&'static str>,
    /// What the image store has without containers.
    images: BTreeSet<PathBuf>,
}

impl Daemon {
    /// Starts it and loads the image.
    pub(crate) fn new(site: &Site) -> Self {
        write_gate(&site.dir);
        let client = Client::at(&site.dir.join("sock"));
        let mut daemon = Self {
            dir: site.dir.clone(),
            client,
            cgroup: site.cgroup(),
            mark: site.mark.clone(),
            child: None,
            flags: Vec::new(),
            images: BTreeSet::new(),
        };
        daemon.start();
        let archive = fs::read(image::archive(&site.dir)).expect("the image");
        daemon.client.ask("POST", "/images/load", &archive).expect("load the image").assert(200);
        daemon.images = daemon.image_files();
        daemon
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(runtime::ours("knarrd").expect("knarrd"));
        let at = |name: &str| self.dir.join(name).into_os_string();
        command
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("run"))
            .arg("--pidfile")
            .arg(at("pid"));
        command.arg("--host").arg(format!("unix://{}", self.dir.join("sock").display()));
        command.args(["--cgroup-parent", &self.cgroup]).args(&self.flags);
        command.arg("--add-runtime").arg(format!("gate={}", self.dir.join("gate").display()));
        command
    }

    /// Starts it and waits until it answers. Gives the time that took.
    pub(crate) fn start(&mut self) -> Duration {
        let began = Instant::now();
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).expect("a log");
        self.child = Some(self.command().stderr(log).spawn().expect("start knarrd"));
        eventually("knarrd answers", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "knarrd has ended: {}", self.log());
            self.client.ask("GET", "/_ping", b"").ok()
        });
        began.elapsed()
    }

    /// Asks it to end, and waits.
    pub(crate) fn end(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("end knarrd");
        let ended = wait::exit_within(&mut child, wait::PATIENCE);
        assert!(ended.is_some_and(|status| status.success()), "knarrd has not ended well: {}", self.log());
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().and_then(|()| child.wait()).expect("kill knarrd");
    }

    /// Kills it and starts it again.
    pub(crate) fn replace(&mut self) -> Duration {
        self.kill();
        self.start()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    // ---- requests -------------------------------------------------------------------------------------------------

    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.client.ask(method, path, body.as_bytes()).expect("an answer")
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str) -> Reply {
        self.ask("POST", path, &Value::Null)
    }

    /// Creates a container; gives its ID.
    #[track_caller]
    pub(crate) fn create(&self, name: &str, command: &[&str], host: &Value) -> String {
        self.create_as(name, &json!({"Cmd": command, "HostConfig": host}))
    }

    #[track_caller]
    pub(crate) fn create_as(&self, name: &str, body: &Value) -> String {
        let mut body = body.clone();
        body["Image"] = image::BOX.into();
        let made = self.ask("POST", &format!("/containers/create?name={name}"), &body).assert(201).json();
        made["Id"].as_str().expect("an ID").to_owned()
    }

    #[track_caller]
    pub(crate) fn run(&self, name: &str, command: &[&str], host: &Value) -> String {
        let id = self.create(name, command, host);
        self.post(&format!("/containers/{name}/start")).assert(204);
        id
    }

    #[track_caller]
    pub(crate) fn inspect(&self, name: &str) -> Value {
        self.ask("GET", &format!("/containers/{name}/json"), &Value::Null).assert(200).json()
    }

    /// By the list: one that is being removed is in it until it is gone.
    pub(crate) fn exists(&self, name: &str) -> bool {
        let list = self.ask("GET", "/containers/json?all=1", &Value::Null).assert(200).json();
        let is = |one: &Value| one["Names"][0].as_str() == Some(&format!("/{name}"));
        list.as_array().expect("a list").iter().any(is)
    }

    #[track_caller]
    pub(crate) fn status(&self, name: &str) -> String {
        self.inspect(name)["State"]["Status"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub(crate) fn pid(&self, name: &str) -> i32 {
        let pid = self.inspect(name)["State"]["Pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.filter(|pid| *pid > 0).expect("a process")
    }

    #[track_caller]
    pub(crate) fn remove(&self, name: &str) {
        self.ask("DELETE", &format!("/containers/{name}?force=1&v=1"), &Value::Null).assert(204);
    }

    pub(crate) fn logs(&self, name: &str) -> String {
        let reply = self.ask("GET", &format!("/containers/{name}/logs?stdout=1"), &Value::Null).assert(200);
        String::from_utf8(unframe(&reply.body)).expect("text")
    }

    // ---- places ---------------------------------------------------------------------------------------------------

    pub(crate) fn record(&self, id: &str) -> PathBuf {
        self.dir.join("data/containers").join(id).join("container.json")
    }

    pub(crate) fn run_folder(&self, id: &str) -> PathBuf {
        self.dir.join("run/c").join(&id[..16])
    }

    // ---- the gate -------------------------------------------------------------------------------------------------

    /// Lets the runtime `gate` wait where `place` says: `before-start`, `after-create` ...
    pub(crate) fn close_gate(&self, place: &str) {
        fs::write(self.dir.join(format!("closed-{place}")), "").expect("close the gate");
    }

    pub(crate) fn wait_at_gate(&self, place: &str) {
        let reached = self.dir.join(format!("reached-{place}"));
        eventually(&format!("the runtime is {place}"), || reached.exists().then_some(()));
    }

    pub(crate) fn open_gate(&self, place: &str) {
        fs::remove_file(self.dir.join(format!("closed-{place}"))).expect("open the gate");
        // Nobody waits there any more who could do harm later.
        eventually("the gate is passed", || processes_with("/gate\0--root").is_empty().then_some(()));
    }

    // ---- the end --------------------------------------------------------------------------------------------------

    /// Removes every container, ends the engine, and finds nothing left.
    pub(crate) fn finish(mut self) {
        for container in
            self.ask("GET", "/containers/json?all=1", &Value::Null).json().as_array().expect("a list")
        {
            self.remove(container["Id"].as_str().expect("an ID"));
        }
        let rules = Command::new("nft").args(["list", "table", "ip", "knarr"]).output().expect("run nft");
        let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
        assert!(rules.contains("published"), "the table is there: {rules}");
        assert!(
            !rules.contains("elements = { tcp") && !rules.contains(" . tcp . "),
            "ports are published: {rules}"
        );
        // The kernel takes its time with them, and nobody waits for it.
        eventually("no link is left", || {
            let links = Command::new("ip").args(["-o", "link"]).output().expect("run ip");
            (!String::from_utf8_lossy(&links.stdout).contains("veth")).then_some(())
        });
        self.end();
        self.assert_nothing_left();
    }

    fn assert_nothing_left(&self) {
        let left = || {
            let commands = processes().into_iter().map(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                format!("{pid} {}", String::from_utf8_lossy(&line).replace('\0', " "))
            });
            commands.collect::<Vec<_>>()
        };
        let until = Instant::now() + Duration::from_secs(5);
        while !left().is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(left(), Vec::<String>::new(), "processes; the engine says: {}", self.log());
        let table = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let mounts: Vec<&str> = table.lines().filter(|line| line.contains(&self.mark)).collect();
        assert_eq!(mounts, Vec::<&str>::new(), "mounts");
        for folder in ["data/containers", "data/volumes", "run/c", "run/runtime"] {
            let folder = self.dir.join(folder);
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            let entries: Vec<PathBuf> = entries.filter(|path| !path.ends_with(".mounts")).collect();
            assert_eq!(entries, Vec::<PathBuf>::new(), "the engine says: {}", self.log());
        }
        let new: Vec<PathBuf> = self.image_files().difference(&self.images).cloned().collect();
        assert_eq!(new, Vec::<PathBuf>::new(), "in the image store");
        for cgroup in nest::layout().directories(&self.cgroup) {
            let children = fs::read_dir(&cgroup).into_iter().flatten().flatten();
            let children: Vec<PathBuf> =
                children.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
            assert_eq!(children, Vec::<PathBuf>::new(), "cgroups");
        }
    }

    fn image_files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![(self.dir.join("data/images"), 0)];
        while let Some((folder, depth)) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if depth < 3 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push((entry.path(), depth + 1));
                }
                found.insert(entry.path());
            }
        }
        found
    }
}

/// A failed test leaves no engine.
impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the engine says:\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().and_then(|()| child.wait()); // it may have ended
        }
    }
}

/// Processes with the text in their command line.
pub(crate) fn processes_with(text: &str) -> Vec<i32> {
    let is = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    processes().into_iter().filter(is).collect()
}

/// All in this namespace that live, but us and the one that reaps.
fn processes() -> Vec<i32> {
    let us = i32::try_from(std::process::id()).expect("a process ID");
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()));
    pids.filter(|pid: &i32| *pid != us && *pid != 1 && lives(*pid)).collect()
}

pub(crate) fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

/// A runtime that waits before and after a command as long as a file says so.
fn write_gate(dir: &Path) {
    let knarr = runtime::ours("knarr").expect("knarr");
    let script = format!(
        r#"#!/bin/sh
hold() {{
    [ -e {dir}/closed-$1 ] || return 0
    : > {dir}/reached-$1
    while [ -e {dir}/closed-$1 ]; do sleep 0.01; done
}}
command=
for word; do
    case $word in create|start|delete|kill|exec) command=${{command:-$word}} ;; esac
done
hold before-$command
{knarr} "$@"
code=$?
[ $code -ne 0 ] || hold after-$command
exit $code
"#,
        dir = dir.display(),
        knarr = knarr.display(),
    );
    let path = dir.join("gate");
    fs::write(&path, script).expect("write the gate");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod the gate");
}
