//! Runs hooks: the container's state on stdin, what they print kept for the error, a deadline by poll(2).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::error::{During, Error, Result};
use crate::plan::hooks::{Hook, Stage};
use crate::sys::signals::with_unblocked_signals;
use crate::sys::{Errno, Named};

/// Kept of each stream for the error text, in bytes.
const KEPT_OUTPUT: usize = 64 * 1024;

/// What a hook reads on stdin (runtime.md, State).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State<'a> {
    pub(crate) oci_version: &'a str,
    pub(crate) id: &'a str,
    pub(crate) status: &'a str,
    /// 0 once the container has stopped, and left out then.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) pid: i32,
    pub(crate) bundle: Cow<'a, str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

/// What a hook without `env` of its own sees. The spec leaves it open; this is what runc does.
#[derive(Clone, Copy)]
pub(crate) enum Environment<'a> {
    /// Hooks in the runtime's namespaces: the runtime's environment.
    Inherit,
    /// createContainer: nothing.
    Empty,
    /// startContainer: the container process's environment.
    Process(&'a [(OsString, OsString)]),
}

/// Runs the hooks of one stage in order; the first failure ends it.
pub(crate) fn run(
    stage: Stage,
    hooks: &[Hook],
    state: &State<'_>,
    environment: Environment<'_>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = to_json(state)?;
    hooks.iter().enumerate().try_for_each(|(index, hook)| run_nth(stage, index, hook, &state, environment))
}

/// Runs all poststop hooks whatever happens and returns the failures' texts: runtime.md lets none of them stop
/// the rest.
pub(crate) fn run_all(stage: Stage, hooks: &[Hook], state: &State<'_>) -> Result<Vec<Error>> {
    if hooks.is_empty() {
        return Ok(Vec::new());
    }
    let state = to_json(state)?;
    let runs = hooks.iter().enumerate();
    Ok(runs
        .filter_map(|(index, hook)| run_nth(stage, index, hook, &state, Environment::Inherit).err())
        .collect())
}

fn to_json(state: &State<'_>) -> Result<Vec<u8>> {
    serde_json::to_vec(state)
        .map_err(|source| Error::Json { what: "write the state for the hooks".into(), source })
}

fn run_nth(
    stage: Stage,
    index: usize,
    hook: &Hook,
    state: &[u8],
    environment: Environment<'_>,
) -> Result<()> {
    let failed = |text: String| Error::Hook(format!("error running {} hook #{index}: {text}", stage.name()));
    let mut child = spawn(hook, environment).map_err(|error| {
        failed(format!("fork/exec {}: {}", hook.path.display(), crate::sys::io_error_text(&error)))
    })?;
    let mut streams = Streams::take(&mut child);
    let ended =
        streams.drive(&child, state, hook.timeout).during(|| format!("run hook {}", hook.path.display()))?;
    if !ended {
        // The hook is our own child and not reaped yet: its pid cannot have been reused.
        child.kill().named(|| "kill(hook)".into())?;
    }
    let status = child.wait().named(|| "wait(hook)".into())?;
    match (ended, hook.timeout) {
        (false, Some(limit)) => {
            Err(failed(format!("hook ran past specified timeout of {:.1}s", limit.as_secs_f64())))
        }
        _ if status.success() => Ok(()),
        _ => Err(failed(streams.failure(status))),
    }
}

fn spawn(hook: &Hook, environment: Environment<'_>) -> std::io::Result<Child> {
    let mut command = Command::new(&hook.path);
    if let Some((arg0, args)) = hook.args.split_first() {
        command.arg0(arg0).args(args);
    }
    match (&hook.env, environment) {
        (Some(env), _) => command.env_clear().envs(env.iter().map(|(name, value)| (name, value))),
        (None, Environment::Empty) => command.env_clear(),
        (None, Environment::Process(env)) => {
            command.env_clear().envs(env.iter().map(|(name, value)| (name, value)))
        }
        (None, Environment::Inherit) => &mut command,
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A runtime in the foreground has blocked signals for itself; the hook would inherit that.
    with_unblocked_signals(|| command.spawn())
}

/// The three pipes to a hook.
struct Streams {
    input: Option<OwnedFd>,
    outputs: [Output; 2],
}

struct Output {
    pipe: Option<OwnedFd>,
    kept: Vec<u8>,
}

impl Streams {
    fn take(child: &mut Child) -> Self {
        let output = |pipe: Option<OwnedFd>| Output { pipe, kept: Vec::new() };
        Self {
            input: child.stdin.take().map(OwnedFd::from),
            outputs: [
                output(child.stdout.take().map(OwnedFd::from)),
                output(child.stderr.take().map(OwnedFd::from)),
            ],
        }
    }

    /// Feeds and drains the pipes until the hook has ended (true) or its time is up (false). A grandchild that
    /// keeps the pipes open does not hold us.
    fn drive(
        &mut self,
        child: &Child,
        mut state: &[u8],
        limit: Option<Duration>,
    ) -> crate::sys::Result<bool> {
        let pid = rustix::process::Pid::from_child(child);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .named(|| format!("pidfd_open({pid})", pid = child.id()))?;
        // A limit beyond what the clock can tell is none.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        for pipe in self.input.iter().chain(self.outputs.iter().filter_map(|output| output.pipe.as_ref())) {
            rustix::io::ioctl_fionbio(pipe, true).named(|| "ioctl(pipe, FIONBIO)".into())?;
        }
        loop {
            let ended = self.wait_for_event(&pidfd, deadline)?;
            state = self.feed(state);
            self.outputs.iter_mut().for_each(Output::drain);
            match ended {
                Event::Ended => return Ok(true),
                Event::TimeUp => return Ok(false),
                Event::Pipe => {}
            }
        }
    }

    fn wait_for_event(&self, pidfd: &OwnedFd, deadline: Option<Instant>) -> crate::sys::Result<Event> {
        let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
        fds.extend(self.input.iter().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        let outputs = self.outputs.iter().filter_map(|output| output.pipe.as_ref());
        fds.extend(outputs.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => Ok(Event::TimeUp),
            Ok(_) if fds[0].revents().is_empty() => Ok(Event::Pipe),
            Ok(_) => Ok(Event::Ended),
            Err(Errno::INTR) => Ok(Event::Pipe),
            Err(errno) => Err(errno).named(|| "poll(hook)".into()),
        }
    }

    /// Writes what fits; a hook that does not read its stdin (EPIPE) has every right not to.
    fn feed<'a>(&mut self, state: &'a [u8]) -> &'a [u8] {
        let Some(pipe) = &self.input else { return state };
        match rustix::io::write(pipe, state) {
            Ok(written) if written < state.len() => &state[written..],
            Err(Errno::AGAIN | Errno::INTR) => state,
            _ => {
                self.input = None;
                &[]
            }
        }
    }

    fn failure(&self, status: ExitStatus) -> String {
        let mut text = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal: {}", crate::sys::signals::signal_text(signal)),
            (None, None) => status.to_string(),
        };
        for (name, output) in ["stdout", "stderr"].into_iter().zip(&self.outputs) {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {name}: {}", String::from_utf8_lossy(&output.kept));
        }
        text
    }
}

enum Event {
    Ended,
    TimeUp,
    Pipe,
}

impl Output {
    /// Reads all there is now, keeping the first `KEPT_OUTPUT` bytes.
    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(length) if length > 0 => {
                    let room = KEPT_OUTPUT.saturating_sub(self.kept.len());
                    self.kept.extend_from_slice(&buffer[..length.min(room)]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // End of file, or a pipe that can give nothing more.
                _ => self.pipe = None,
            }
        }
    }
}
