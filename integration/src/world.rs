//! One test's world: a directory with a bundle and a state root, a cgroup and an id of its own, and the runtime's
//! commands over them. Dropping it removes everything, also after a panic.
#![allow(clippy::return_self_not_must_use)] // assertions chain, and stand alone as well

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::answer::{Answer, answers};
use crate::bundle::{default_config, fill_rootfs};
use crate::layout::{SESSION, USER};
use crate::leftovers::{self, MARK};
use crate::play::Skip;
use crate::wait::{PATIENCE, eventually, exit_within, gone_within};
use crate::{Layout, Runtime};

pub struct World {
    pub runtime: Runtime,
    pub layout: Layout,
    /// Everything of this test lives below; its name is in every process it starts.
    pub dir: PathBuf,
    /// The container's id.
    pub id: String,
    /// The container's cgroup, `/name`.
    pub cgroup: String,
    /// What `config.json` will be: written at the next create or run.
    pub config: Value,
    program: PathBuf,
    commands: AtomicU32,
    mounts: Vec<String>,
}

impl World {
    pub fn new(name: &str, runtime: Runtime, layout: Layout) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("knarr-test-{}-{number}", std::process::id());
        let program = runtime.program().unwrap_or_else(|missing| panic!("{name}: {missing}"));
        let dir = std::env::temp_dir().join(&mark);
        let (cgroups_path, cgroup) = layout.place(&mark);
        let mut world = Self {
            runtime,
            layout,
            id: mark,
            config: default_config(&cgroups_path),
            cgroup,
            program,
            commands: AtomicU32::new(0),
            mounts: leftovers::mounts(),
            dir,
        };
        let made = fs::create_dir(&world.dir).and_then(|()| fill_rootfs(&world.rootfs()));
        assert!(made.is_ok(), "make {}: {made:?}", world.dir.display());
        if layout == Layout::User {
            world.rootless();
        }
        world.hand_over();
        world
    }

    /// Ends the test as skipped, for `reason`.
    pub fn skip(&self, reason: &str) -> ! {
        std::panic::panic_any(Skip(reason.to_owned()))
    }

    pub fn is_runc(&self) -> bool {
        self.runtime == Runtime::Runc
    }

    /// From now on commands are those of another runtime, over the same state root.
    pub fn switch_to(&mut self, runtime: Runtime) -> &mut Self {
        self.program = runtime.program().unwrap_or_else(|missing| panic!("{missing}"));
        self.runtime = runtime;
        self
    }

    /// A text that differs between runc 1.1, which is what Debian has, and the runc that knarr follows.
    pub fn pick<'t>(&self, current: &'t str, runc_1_1: &'t str) -> &'t str {
        if self.is_runc() { runc_1_1 } else { current }
    }

    pub fn is_v1(&self) -> bool {
        self.layout == Layout::Hybrid
    }

    pub fn bundle(&self) -> PathBuf {
        self.dir.join("bundle")
    }

    pub fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// The state root given as `--root`.
    pub fn root(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.root().join(&self.id)
    }

    /// The container's cgroup in the hierarchy of `controller`.
    pub fn cgroup_dir(&self, controller: &str) -> PathBuf {
        self.layout.directory(controller, &self.cgroup)
    }

    // ---- config ----

    /// The program and its arguments.
    pub fn args<S: AsRef<str>>(&mut self, args: &[S]) -> &mut Self {
        let args: Vec<Value> = args.iter().map(|arg| Value::from(arg.as_ref())).collect();
        self.set("/process/args", Value::from(args))
    }

    /// `probe` with these verbs.
    pub fn probe(&mut self, verbs: &[&str]) -> &mut Self {
        let args: Vec<&str> = std::iter::once("/bin/probe").chain(verbs.iter().copied()).collect();
        self.args(&args)
    }

    /// Sets the field at a JSON pointer; the objects on the way are made.
    pub fn set(&mut self, pointer: &str, value: impl Into<Value>) -> &mut Self {
        let mut place = &mut self.config;
        for key in pointer.trim_start_matches('/').split('/') {
            place = match key.parse::<usize>() {
                Ok(index) if place.is_array() => &mut place[index],
                _ => &mut place[key],
            };
        }
        *place = value.into();
        self
    }

    /// Removes the field at a JSON pointer.
    pub fn unset(&mut self, pointer: &str) -> &mut Self {
        let Some((parent, key)) = pointer.rsplit_once('/') else {
            return self;
        };
        if let Some(parent) = self.config.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.remove(key);
        }
        self
    }

    /// Appends to the array at a JSON pointer, which is made when missing.
    pub fn push(&mut self, pointer: &str, value: Value) -> &mut Self {
        let mut list = self.config.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        list.push(value);
        self.set(pointer, list)
    }

    /// Adds a mount.
    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) -> &mut Self {
        let mount = serde_json::json!({
            "destination": destination, "type": kind, "source": source, "options": options,
        });
        self.push("/mounts", mount)
    }

    /// Changes the mount at `destination`.
    pub fn edit_mount(&mut self, destination: &str, edit: impl FnOnce(&mut Value)) -> &mut Self {
        let mounts = self.config["mounts"].as_array_mut().into_iter().flatten();
        let found = mounts.into_iter().find(|mount| mount["destination"] == destination);
        edit(found.unwrap_or_else(|| panic!("no mount at {destination}")));
        self
    }

    pub fn without_mount(&mut self, destination: &str) -> &mut Self {
        if let Some(mounts) = self.config["mounts"].as_array_mut() {
            mounts.retain(|mount| mount["destination"] != destination);
        }
        self
    }

    /// A namespace of the config: new when `path` is `None`.
    pub fn namespace(&mut self, kind: &str, path: Option<&str>) -> &mut Self {
        self.without_namespace(kind);
        let entry = match path {
            Some(path) => serde_json::json!({"type": kind, "path": path}),
            None => serde_json::json!({"type": kind}),
        };
        self.push("/linux/namespaces", entry)
    }

    pub fn without_namespace(&mut self, kind: &str) -> &mut Self {
        if kind == "pid" && self.layout == Layout::User {
            // Nobody but its owner may mount the procfs of a pid namespace.
            self.edit_mount("/proc", |mount| {
                *mount = serde_json::json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
            });
        }
        if let Some(list) = self.config["linux"]["namespaces"].as_array_mut() {
            list.retain(|entry| entry["type"] != kind);
        }
        self
    }

    /// All five sets, or those named.
    pub fn capabilities(&mut self, sets: &[&str], names: &[&str]) -> &mut Self {
        for set in sets {
            self.set(&format!("/process/capabilities/{set}"), names.to_vec());
        }
        self
    }

    /// A new user namespace with one range from `host` on for 65536 ids, and a rootfs that container root owns.
    pub fn user_namespace(&mut self, host: u32) -> &mut Self {
        let range = serde_json::json!([{"containerID": 0, "hostID": host, "size": 65536}]);
        self.namespace("user", None)
            .set("/linux/uidMappings", range.clone())
            .set("/linux/gidMappings", range);
        for folder in ["", "dev", "proc", "sys", "tmp", "mnt", "root", "etc"] {
            let chowned = std::os::unix::fs::chown(self.rootfs().join(folder), Some(host), Some(host));
            assert!(chowned.is_ok(), "give {folder} to {host}: {chowned:?}");
        }
        self
    }

    /// Root in the container is the user, others are those that the user may stand for.
    pub fn rootless(&mut self) -> &mut Self {
        let ids = serde_json::json!([
            {"containerID": 0, "hostID": USER, "size": 1}, {"containerID": 1, "hostID": 100_000, "size": 65536},
        ]);
        self.namespace("user", None).set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids)
    }

    /// Gives what has been made here to the user, where the runtime is the user's.
    pub fn hand_over(&self) {
        if self.layout == Layout::User {
            self.give_to_user(&self.dir);
            let cgroup = self.cgroup_dir("");
            if cgroup.exists() {
                self.give_to_user(&cgroup);
            }
        }
    }

    pub fn give_to_user(&self, folder: &Path) {
        let owner = format!("{USER}:{USER}");
        let given = Command::new("chown").args(["--recursive", &owner]).arg(folder).status();
        assert!(given.is_ok_and(|status| status.success()), "give {} to {owner}", folder.display());
    }

    pub fn write_config(&self) {
        let written = fs::write(self.bundle().join("config.json"), self.config.to_string());
        assert!(written.is_ok(), "write config.json: {written:?}");
    }

    // ---- files ----

    /// Writes a file below the world's directory and gives its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = folder.and_then(|()| fs::write(&path, text));
        assert!(written.is_ok(), "write {}: {written:?}", path.display());
        path
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        let made = fs::create_dir_all(&path);
        assert!(made.is_ok(), "make {}: {made:?}", path.display());
        path
    }

    /// An executable shell script below the world's directory.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(name, &format!("#!/bin/sh\n{body}\n"));
        let marked = fs::set_permissions(&path, fs::Permissions::from_mode(0o755));
        assert!(marked.is_ok(), "make {} executable: {marked:?}", path.display());
        path
    }

    // ---- commands ----

    /// The runtime with `--root`, in the bundle, marked as ours; its output goes nowhere yet.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = self.bare_command();
        if self.layout.has_scopes() {
            command.arg("--systemd-cgroup");
        }
        command.arg("--root").arg(self.root()).args(args);
        command
    }

    /// `linux.cgroupsPath` for a second container; that cgroup goes away with the world too.
    pub fn second_place(&self) -> String {
        if self.layout.has_scopes() {
            self.layout.place(&format!("{}-b", self.id)).0
        } else {
            format!("{}/b", self.cgroup)
        }
    }

    /// `ARGS` by another runtime over the same state.
    pub fn call_by<S: AsRef<OsStr>>(&self, runtime: Runtime, args: &[S]) -> Answer {
        let program = runtime.program().unwrap_or_else(|missing| panic!("{missing}"));
        let mut command = self.command_of(&program);
        command.arg("--root").arg(self.root()).args(args);
        self.finish(command)
    }

    /// The runtime's path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The runtime without `--root`.
    pub fn bare_command(&self) -> Command {
        self.command_of(&self.program)
    }

    fn command_of(&self, program: &Path) -> Command {
        let mut command = if self.layout == Layout::User { as_user() } else { Command::new(program) };
        command.current_dir(self.bundle()).env_clear().env(MARK, &self.id).stdin(Stdio::null());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        if self.layout == Layout::User {
            command.env("XDG_RUNTIME_DIR", format!("/run/user/{USER}")).arg(program);
        }
        command
    }

    /// Runs the command to its end. Output goes to files, so a container that keeps it open does not hold us.
    pub fn finish(&self, command: Command) -> Answer {
        let mut running = self.begin(command);
        running.end()
    }

    /// Starts the command; the container's output is in the same files.
    pub fn begin(&self, mut command: Command) -> Running {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let out = self.dir.join(format!("{number}.out"));
        let err = self.dir.join(format!("{number}.err"));
        let files = File::create(&out).and_then(|out| Ok((out, File::create(&err)?)));
        let (out_file, err_file) = files.unwrap_or_else(|error| panic!("make output files: {error}"));
        command.stdout(out_file).stderr(err_file);
        let text = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("start {text}: {error}"));
        Running { child, text, out, err }
    }

    /// `runtime ARGS`, to its end.
    pub fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Answer {
        self.finish(self.command(args))
    }

    /// `run ID` in the foreground.
    pub fn run(&self) -> Answer {
        self.run_with(&[])
    }

    pub fn run_with(&self, flags: &[&str]) -> Answer {
        self.write_config();
        self.call(&[&["run"], flags, &[self.id.as_str()]].concat())
    }

    /// `run ID`, must succeed, and the probe's facts.
    #[track_caller]
    pub fn run_facts(&self) -> Value {
        self.run().assert_ok().facts()
    }

    /// `create ID`; the container's output goes to the files of the returned command.
    pub fn create(&self) -> Created {
        self.create_with(&[])
    }

    pub fn create_with(&self, flags: &[&str]) -> Created {
        self.write_config();
        let mut running = self.begin(self.command(&[&["create"], flags, &[self.id.as_str()]].concat()));
        let answer = running.end();
        Created { answer, out: running.out, err: running.err }
    }

    /// `create` and `start`, both must succeed.
    #[track_caller]
    pub fn up(&self) -> Created {
        let created = self.create().assert_ok();
        self.start().assert_ok();
        created
    }

    /// A container that waits for a signal, started, and known to be at that point.
    #[track_caller]
    pub fn up_waiting(&mut self) -> Created {
        self.probe(&["block", "echo", "ready", "wait"]);
        let created = self.up();
        created.wait_for("ready");
        created
    }

    pub fn start(&self) -> Answer {
        self.call(&["start", &self.id])
    }

    pub fn kill(&self, signal: &str) -> Answer {
        self.call(&["kill", &self.id, signal])
    }

    pub fn delete(&self) -> Answer {
        self.call(&["delete", &self.id])
    }

    pub fn delete_force(&self) -> Answer {
        self.call(&["delete", "--force", &self.id])
    }

    /// `exec ID ARGS`.
    pub fn exec(&self, flags: &[&str], args: &[&str]) -> Answer {
        self.call(&[&["exec"], flags, &[self.id.as_str()], args].concat())
    }

    /// `exec ID probe VERBS`.
    pub fn exec_probe(&self, flags: &[&str], verbs: &[&str]) -> Answer {
        self.exec(flags, &[&["/bin/probe"], verbs].concat())
    }

    /// `state ID` as JSON; must succeed.
    #[track_caller]
    pub fn state(&self) -> Value {
        let answer = self.call(&["state", &self.id]).assert_ok();
        serde_json::from_str(&answer.out)
            .unwrap_or_else(|error| panic!("state is not JSON: {error}: {answer}"))
    }

    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap_or_default().to_owned()
    }

    /// The init's pid, as `state` tells it.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let pid = self.state()["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("state has no pid"))
    }

    /// Kills the init and waits until the runtime says `stopped`.
    #[track_caller]
    pub fn stop(&self) {
        let pid = self.pid();
        self.kill("KILL").assert_ok();
        assert!(gone_within(pid, PATIENCE), "init {pid} is still there after SIGKILL");
        self.wait_status("stopped");
    }

    #[track_caller]
    pub fn wait_status(&self, status: &str) {
        eventually(&format!("status {status}"), || (self.status() == status).then_some(()));
    }

    // ---- leftovers ----

    /// Nothing of this container is left: no process, mount, cgroup, state.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        assert!(!self.state_dir().exists(), "the state directory is left");
        assert_eq!(leftovers::cgroups(self.layout, &self.cgroup), Vec::<String>::new(), "cgroups are left");
        assert_eq!(leftovers::processes(&self.id), Vec::<i32>::new(), "processes are left");
        // Not the other way round: a removed folder takes the mounts on it out of every namespace.
        let new: Vec<String> =
            leftovers::mounts().into_iter().filter(|mount| !self.mounts.contains(mount)).collect();
        assert_eq!(new, Vec::<String>::new(), "mounts are left");
    }

    /// Takes the mounts of now as those that may stay.
    pub fn accept_mounts(&mut self) {
        self.mounts = leftovers::mounts();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let left = leftovers::sweep(self.layout, &self.cgroup, &self.id);
        for line in leftovers::mounts().iter().rev().filter(|line| line.contains(&self.id)) {
            let point = line.split(' ').nth(4).unwrap_or_default();
            // The namespace goes away with this thread; this only frees the directory now.
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
        let removed = fs::remove_dir_all(&self.dir);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "could not remove {left:?}");
            assert!(removed.is_ok(), "remove {}: {removed:?}", self.dir.display());
        }
    }
}

/// Becomes the user, in a cgroup of its session: there it may move processes about.
fn as_user() -> Command {
    let id = USER.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    let procs = Layout::User.directory("", SESSION).join("init.scope/cgroup.procs");
    crate::sys::move_to_cgroup(&mut command, vec![procs]);
    command
}

/// A command under way.
pub struct Running {
    pub child: Child,
    text: String,
    pub out: PathBuf,
    pub err: PathBuf,
}

impl Running {
    /// Waits for the end; a command that does not end fails the test.
    #[track_caller]
    pub fn end(&mut self) -> Answer {
        let status = exit_within(&mut self.child, PATIENCE);
        let answer = |status| Answer {
            command: self.text.clone(),
            status,
            out: read(&self.out),
            err: read(&self.err),
        };
        match status {
            Some(status) => answer(status),
            None => panic!("does not end: {}", answer(std::process::ExitStatus::default())),
        }
    }

    /// Ended within `limit`, or still going.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        gone_within(i32::try_from(self.child.id()).unwrap_or(0), limit)
    }

    pub fn signal(&self, signal: i32) {
        let sent = crate::sys::kill(i32::try_from(self.child.id()).unwrap_or(0), signal);
        assert!(sent.is_ok(), "send {signal}: {sent:?}");
    }

    /// Waits until the output contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        wait_for(&self.out, &self.err, text)
    }
}

/// A container made by `create`; its output goes on after the command has ended.
pub struct Created {
    pub answer: Answer,
    out: PathBuf,
    err: PathBuf,
}

impl Created {
    #[track_caller]
    pub fn assert_ok(self) -> Self {
        self.answer.clone().assert_ok();
        self
    }

    #[track_caller]
    pub fn assert_fails_with(self, text: &str) -> Self {
        self.answer.clone().assert_fails_with(text);
        self
    }

    pub fn output(&self) -> String {
        read(&self.out)
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        wait_for(&self.out, &self.err, text)
    }

    /// The facts, as soon as the probe has told them.
    #[track_caller]
    pub fn facts(&self) -> Value {
        let told = eventually(&format!("facts; errors: {}", read(&self.err)), || {
            answers(&self.output()).into_iter().find(|answer| answer["verb"] == "facts")
        });
        told["facts"].clone()
    }

    pub fn answers(&self) -> Vec<Value> {
        answers(&self.output())
    }
}

#[track_caller]
fn wait_for(out: &Path, err: &Path, text: &str) -> String {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let shown = read(out);
        if shown.contains(text) {
            return shown;
        }
        assert!(std::time::Instant::now() < deadline, "no `{text}` in: {shown}; errors: {}", read(err));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A file as text; empty when it is not there.
pub fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
