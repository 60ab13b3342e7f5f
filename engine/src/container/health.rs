//! Health checks: a command in the container, again and again, and what its exit codes say.
//!
//! A probe is a runtime's `exec` that is our child. Each container with a check has one thread, which ends with the run.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::{Container, Health, Probe, Record, Status, start};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::log;
use crate::oci;
use crate::wire::{ExecCreate, Healthcheck};

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
const KEPT: usize = 5;
const LONGEST_OUTPUT: usize = 4096;
/// The exit code on record of a probe that took too long.
const TOO_LONG: i32 = -1;

/// A check with its defaults filled in.
struct Check {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Check {
    /// None: there is no check, or it is turned off.
    fn of(record: &Record) -> Option<Self> {
        let asked = record.config.healthcheck.as_ref()?;
        let command = command(asked, record)?;
        let or = |nanoseconds: i64, default| match u64::try_from(nanoseconds) {
            Ok(0) | Err(_) => default,
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        Some(Self {
            command,
            interval: or(asked.interval, INTERVAL),
            timeout: or(asked.timeout, TIMEOUT),
            start_period: or(asked.start_period, Duration::ZERO),
            start_interval: or(asked.start_interval, START_INTERVAL),
            retries: u32::try_from(asked.retries).ok().filter(|retries| *retries > 0).unwrap_or(RETRIES),
        })
    }
}

fn command(asked: &Healthcheck, record: &Record) -> Option<Vec<String>> {
    let (kind, rest) = asked.test.split_first()?;
    match kind.as_str() {
        "CMD" => Some(rest.to_vec()),
        "CMD-SHELL" => {
            let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
            let shell = record.config.shell.as_ref().map(|shell| shell.0.clone());
            let mut command = shell.filter(|shell| !shell.is_empty()).unwrap_or_else(default);
            command.extend(rest.iter().cloned());
            Some(command)
        }
        _ => None,
    }
}

/// Starts the checks of a container that has just been started, or was found running.
pub(super) fn watch(engine: &Arc<Engine>, container: &Arc<Container>) -> Result<()> {
    let Some(check) = Check::of(&container.record()) else { return Ok(()) };
    let (engine, watched) = (Arc::clone(engine), Arc::clone(container));
    start::spawn(format!("health {}", container.record().short_id()), move || {
        if let Err(error) = probe_until_end(&engine, &watched, &check) {
            log::warn(&error.within(format!("health check of container {}", watched.record().short_id())));
        }
    })
}

fn probe_until_end(engine: &Engine, container: &Container, check: &Check) -> Result<()> {
    let ends = container.ends();
    let began = container.record().state.started.unwrap_or_else(Timestamp::now);
    loop {
        let record = container.record();
        let in_start_period = |at: Timestamp| {
            let since = Duration::try_from(at.duration_since(began)).unwrap_or_default();
            since < check.start_period
        };
        let starting = record.state.health.as_ref().is_some_and(|health| health.status == "starting");
        let fast = starting && in_start_period(Timestamp::now());
        let pause = if fast { check.start_interval } else { check.interval };
        if container.wait_until(Some(pause), |turn| turn.ends > ends || turn.removed) {
            return Ok(());
        }
        if container.record().state.status != Status::Running {
            continue;
        }
        let probe = run(engine, container, check)?;
        if container.ends() > ends {
            return Ok(());
        }
        let counts = !(fast && in_start_period(probe.start));
        note(engine, container, probe, counts.then_some(check.retries))?;
    }
}

/// Puts a probe on record and tells of a change. `retries` is none while failures do not count.
fn note(engine: &Engine, container: &Container, probe: Probe, retries: Option<u32>) -> Result<()> {
    let mut before = String::new();
    let record = container.change(|record| {
        let health = record.state.health.get_or_insert_default();
        before.clone_from(&health.status);
        judge(health, probe, retries);
    })?;
    let after = record.state.health.as_ref().map(|health| health.status.as_str()).unwrap_or_default();
    if before != after {
        engine.events.of_container(format!("health_status: {after}"), &record, &[]);
    }
    Ok(())
}

fn judge(health: &mut Health, probe: Probe, retries: Option<u32>) {
    if probe.exit_code == 0 {
        health.failing_streak = 0;
        "healthy".clone_into(&mut health.status);
    } else if let Some(retries) = retries {
        health.failing_streak += 1;
        if health.failing_streak >= retries {
            "unhealthy".clone_into(&mut health.status);
        }
    }
    health.log.push(probe);
    if health.log.len() > KEPT {
        health.log.remove(0);
    }
}

/// One probe.
fn run(engine: &Engine, container: &Container, check: &Check) -> Result<Probe> {
    let start = Timestamp::now();
    let record = container.record();
    let folder = engine.run_folder(&container.id);
    let (process, pid_file) = (folder.join("health.json"), folder.join("health.pid"));
    write_process(&record, check, &process)?;
    let mut words = engine.runtime_of(&record)?.words().into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg("exec").arg("--process").arg(&process).arg("--pid-file").arg(&pid_file);
    // That of the probe before would name a process that may be anybody's now.
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).during("remove", &pid_file);
        }
        _ => {}
    }
    let (reader, writer) = std::io::pipe().while_doing("pipe")?;
    command.arg(&container.id).stdin(Stdio::null());
    command.stdout(writer.try_clone().while_doing("dup")?).stderr(writer);
    let mut child = command.spawn().while_doing("start the runtime")?;
    // It has the writing end of the pipe.
    drop(command);
    let mut output = Output { reader: File::from(std::os::fd::OwnedFd::from(reader)), text: Vec::new() };
    let exit_code = output.read_until_end(&mut child, check.timeout, &pid_file)?;
    let text = String::from_utf8_lossy(&output.text).into_owned();
    let output = if exit_code == TOO_LONG {
        format!("Health check exceeded timeout ({}): {text}", short(check.timeout))
    } else {
        text
    };
    Ok(Probe { start, end: Timestamp::now(), exit_code, output })
}

fn write_process(record: &Record, check: &Check, path: &PathBuf) -> Result<()> {
    let root = format!("/proc/{}/root", record.state.pid);
    let root = File::open(&root).during("open", root.as_ref())?;
    let asked = ExecCreate { cmd: check.command.clone(), ..ExecCreate::default() };
    let process = oci::process(record, &asked, None, root.as_fd())?;
    let text =
        serde_json::to_vec(&process).map_err(|error| Error::system(format!("write a process: {error}")))?;
    fs::write(path, text).during("write", path)
}

/// What a probe writes: its beginning is kept, all of it is read.
struct Output {
    reader: File,
    text: Vec<u8>,
}

impl Output {
    /// Reads until the runtime has ended, or kills the probe when its time is over.
    fn read_until_end(&mut self, child: &mut Child, timeout: Duration, pid_file: &PathBuf) -> Result<i32> {
        let until = Instant::now() + timeout;
        let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).while_doing("pidfd_open")?;
        let mut open = true;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Also of one that writes without end.
            if left.is_zero() {
                kill(child, pid_file)?;
                return Ok(TOO_LONG);
            }
            let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
            if open {
                fds.push(PollFd::new(&self.reader, PollFlags::IN));
            }
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).while_doing("poll"),
            }
            let (ended, readable) =
                (!fds[0].revents().is_empty(), fds.get(1).is_some_and(|fd| !fd.revents().is_empty()));
            drop(fds);
            if readable {
                open = self.read()?;
            } else if ended {
                let status = child.wait().while_doing("wait for the runtime")?;
                return Ok(status.code().unwrap_or(TOO_LONG));
            }
        }
    }

    /// Returns whether more may come.
    fn read(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        let length = self.reader.read(&mut buffer).while_doing("read what a probe says")?;
        let room = LONGEST_OUTPUT.saturating_sub(self.text.len());
        self.text.extend_from_slice(&buffer[..length.min(room)]);
        Ok(length > 0)
    }
}

/// Ends a probe and the runtime that waits for it.
fn kill(child: &mut Child, pid_file: &PathBuf) -> Result<()> {
    let pid = fs::read_to_string(pid_file).ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
    if let Some(pid) = pid {
        match kill_process(pid, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).while_doing("kill a probe"),
        }
    } else {
        child.kill().while_doing("kill the runtime")?;
    }
    child.wait().while_doing("wait for the runtime").map(drop)
}

/// As Go writes a duration of whole seconds or milliseconds.
fn short(time: Duration) -> String {
    match (time.as_secs(), time.subsec_millis()) {
        (0, milliseconds) => format!("{milliseconds}ms"),
        (seconds, 0) if seconds >= 60 => format!("{}m{}s", seconds / 60, seconds % 60),
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(exit_code: i32) -> Probe {
        Probe { start: Timestamp::now(), end: Timestamp::now(), exit_code, output: String::new() }
    }

    #[test]
    fn failures_in_a_row_count_outside_the_start_period() {
        let mut health = Health { status: "starting".to_owned(), ..Health::default() };
        judge(&mut health, probe(1), None);
        assert_eq!((health.status.as_str(), health.failing_streak), ("starting", 0));
        judge(&mut health, probe(1), Some(2));
        assert_eq!((health.status.as_str(), health.failing_streak), ("starting", 1));
        judge(&mut health, probe(1), Some(2));
        assert_eq!((health.status.as_str(), health.failing_streak), ("unhealthy", 2));
        judge(&mut health, probe(0), Some(2));
        assert_eq!((health.status.as_str(), health.failing_streak), ("healthy", 0));
        for _ in 0..9 {
            judge(&mut health, probe(0), Some(2));
        }
        assert_eq!(health.log.len(), KEPT);
    }

    #[test]
    fn times_read_as_go_writes_them() {
        assert_eq!(short(Duration::from_secs(30)), "30s");
        assert_eq!(short(Duration::from_secs(90)), "1m30s");
        assert_eq!(short(Duration::from_millis(500)), "500ms");
    }
}
