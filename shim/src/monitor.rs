//! The loop: everything that can happen to a process, its streams and its clients, waited for in one epoll(7).
//!
//! ```text
//! Launching --the runtime has ended well--> Running --the process has ended--> Draining --no output left--> Leaving
//!     `--it has not: its error is the answer, and the monitor ends
//! ```

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::process::{Pid, WaitOptions, WaitStatus};
use serde_json::json;

use crate::clients::{self, Clients, Message, Request};
use crate::error::{Named as _, Result, chain};
use crate::exit::Exit;
use crate::frame::Kind;
use crate::launch;
use crate::log::Log;
use crate::streams::{Output, Streams};
use crate::sys;
use crate::task::{Stdin, Task};

/// The monitor's socket, in its directory.
const SOCKET: &str = "monitor.sock";
/// How long output is awaited from who outlives the process and keeps its streams open; Docker waits as long.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a slow client may take for what it has not read when all is over.
const FAREWELL: Duration = Duration::from_secs(10);
/// Bytes read at once: what a pipe holds.
const BUFFER: usize = 64 * 1024;
/// Bytes of output taken before other things are looked at.
const TURN: usize = 16;

const SIGNALS: u64 = 0;
const LISTENER: u64 = 1;
const CONSOLE: u64 = 2;
const STDIN: u64 = 3;
const STDOUT: u64 = 4;
const STDERR: u64 = 5;
const FIRST_CLIENT: u64 = 16;

pub(crate) struct Monitor {
    directory: PathBuf,
    epoll: OwnedFd,
    signals: OwnedFd,
    listener: UnixListener,
    console: Option<UnixListener>,
    streams: Streams,
    stdin: Stdin,
    clients: Clients,
    log: Log,
    phase: Phase,
    /// Input that the process does not take yet. No more is accepted from clients meanwhile.
    input: Vec<u8>,
    /// The process is to read an end of file after that.
    input_ends: bool,
    /// Outputs that are not read until slow clients have caught up.
    paused: Vec<Kind>,
    log_error: Option<String>,
    buffer: Vec<u8>,
}

enum Phase {
    /// With children that ended before it was known which one is the process.
    Launching {
        runtime: Pid,
        ended: Vec<(Pid, WaitStatus)>,
    },
    Running {
        process: Pid,
    },
    Draining {
        exit: Exit,
        until: Instant,
    },
    Leaving {
        until: Instant,
    },
}

impl Monitor {
    /// Starts the runtime's command; what follows is in [`Monitor::run`].
    pub(crate) fn start(task: &Task, directory: &Path) -> Result<Self> {
        // What the process leaves behind becomes our child, and so does the process itself.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .named("prctl(PR_SET_CHILD_SUBREAPER)")?;
        let signals = sys::signal_descriptor(&[
            libc::SIGCHLD,
            // Blocked and thrown away: a monitor ends when its process has ended. Were they ignored, so would they be
            // in the container.
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGQUIT,
            libc::SIGTERM,
        ])
        .named("signalfd")?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).named("epoll_create1")?;
        let log = Log::open(&task.log)?;
        let listener = launch::client_socket(&directory.join(SOCKET))?;
        let console = task.terminal.then(|| launch::console_socket(directory)).transpose()?;
        let (streams, for_process) =
            if task.terminal { Streams::awaiting_terminal() } else { Streams::pipes(task.stdin)? };
        let runtime = launch::start(task, directory, for_process)?;
        let monitor = Self {
            directory: directory.to_owned(),
            epoll,
            signals,
            listener,
            console,
            streams,
            stdin: task.stdin,
            clients: Clients::default(),
            log,
            phase: Phase::Launching { runtime, ended: Vec::new() },
            input: Vec::new(),
            input_ends: false,
            paused: Vec::new(),
            log_error: None,
            buffer: vec![0; BUFFER],
        };
        monitor.watch(&monitor.signals, SIGNALS)?;
        monitor.watch(&monitor.listener, LISTENER)?;
        if let Some(console) = &monitor.console {
            monitor.watch(console, CONSOLE)?;
        }
        Ok(monitor)
    }

    /// Returns when the process has ended and everybody has been told, or with the runtime's error.
    pub(crate) fn run(mut self) -> Result<()> {
        let outcome = self.turn_until_over();
        if let (Phase::Launching { .. }, Err(error)) = (&self.phase, &outcome) {
            say(&json!({ "error": chain(error) }))?;
        }
        outcome
    }

    fn turn_until_over(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(16);
        while !self.is_over() {
            events.clear();
            let timeout = self.timeout();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).named("epoll_wait"),
            }
            for event in &events {
                self.handle(event.data.u64())?;
            }
            self.advance()?;
        }
        Ok(())
    }

    fn handle(&mut self, token: u64) -> Result<()> {
        match token {
            SIGNALS => self.reap(),
            LISTENER => self.accept(),
            CONSOLE => self.receive_terminal(),
            STDIN => self.give_input().and_then(|()| self.act_on_messages()),
            STDOUT => self.take_output(Kind::Stdout),
            STDERR => self.take_output(Kind::Stderr),
            client => self.serve(client - FIRST_CLIENT),
        }
    }

    // ---- the process ----------------------------------------------------------------------------------------------

    fn reap(&mut self) -> Result<()> {
        let mut news = [0; 128];
        // Which signals came is not asked: children are looked for in any case.
        while matches!(rustix::io::read(&self.signals, &mut news), Ok(length) if length > 0) {}
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((child, status))) => self.child_ended(child, status)?,
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(error) => return Err(error).named("wait4"),
            }
        }
    }

    fn child_ended(&mut self, child: Pid, status: WaitStatus) -> Result<()> {
        self.log.reaped(child);
        match &mut self.phase {
            Phase::Launching { runtime, .. } if *runtime == child => self.launched(status),
            Phase::Launching { ended, .. } => {
                ended.push((child, status));
                Ok(())
            }
            Phase::Running { process } if *process == child => {
                self.process_ended(status);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn launched(&mut self, status: WaitStatus) -> Result<()> {
        if status.exit_status() != Some(0) {
            return Err(launch::failure(&self.directory, status));
        }
        // The runtime has sent the terminal before it ended.
        self.receive_terminal()?;
        let process = launch::made(&self.directory)?;
        // Who is gone finds the pid file.
        let _ = say(&json!({ "pid": process.as_raw_nonzero() }));
        // Who has attached before this was to happen gets the first byte of output.
        self.accept()?;
        self.clients.ids().into_iter().try_for_each(|client| self.serve(client))?;
        // Not before: what the runtime itself writes on them is its error, which its log has too.
        self.watch_outputs()?;
        let Phase::Launching { ended, .. } = std::mem::replace(&mut self.phase, Phase::Running { process })
        else {
            return Ok(());
        };
        if let Some((_, status)) = ended.into_iter().find(|(child, _)| *child == process) {
            self.process_ended(status);
        }
        self.act_on_messages()?;
        sys::forget_program_text().named("madvise(MADV_DONTNEED)")
    }

    fn process_ended(&mut self, status: WaitStatus) {
        self.phase = Phase::Draining { exit: Exit::new(status), until: Instant::now() + DRAIN };
    }

    /// Goes to the next phase when nothing is left to do in this one.
    fn advance(&mut self) -> Result<()> {
        match &self.phase {
            Phase::Draining { exit, until } if self.streams.are_drained() || Instant::now() >= *until => {
                let mut exit = exit.clone();
                self.drain_past_slow_clients()?;
                let finished = self.log.finish();
                self.note_log_error(finished);
                exit.log_error = self.log_error.take();
                exit.record(&self.directory)?;
                self.phase = Phase::Leaving { until: Instant::now() + FAREWELL };
                self.tell_all(&json!({ "exit": exit }))
            }
            _ => Ok(()),
        }
    }

    /// What a slow client has kept in the pipe belongs to the log and to the others.
    fn drain_past_slow_clients(&mut self) -> Result<()> {
        for kind in [Kind::Stdout, Kind::Stderr] {
            for _ in 0..TURN {
                self.clients.slow(kind).into_iter().for_each(|slow| self.clients.hang_up(slow));
                if !matches!(self.copy_output(kind)?, Output::Bytes(_)) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Leaving { until } => self.clients.all_sent() || Instant::now() >= until,
            _ => false,
        }
    }

    fn timeout(&self) -> Option<rustix::event::Timespec> {
        let (Phase::Draining { until, .. } | Phase::Leaving { until }) = self.phase else { return None };
        let left = until.saturating_duration_since(Instant::now());
        // A clock never has more than i64 holds; without a timeout the next event would be waited for.
        rustix::event::Timespec::try_from(left).ok()
    }

    // ---- its streams ----------------------------------------------------------------------------------------------

    fn receive_terminal(&mut self) -> Result<()> {
        let Some(console) = self.console.take() else { return Ok(()) };
        self.streams.receive_terminal(&console)
    }

    fn watch_outputs(&self) -> Result<()> {
        [Kind::Stdout, Kind::Stderr].into_iter().try_for_each(|kind| self.watch_output(kind))
    }

    fn watch_output(&self, kind: Kind) -> Result<()> {
        let token = if kind == Kind::Stderr { STDERR } else { STDOUT };
        self.streams.output(kind).map_or(Ok(()), |output| self.watch(output, token))
    }

    fn take_output(&mut self, kind: Kind) -> Result<()> {
        for _ in 0..TURN {
            if !matches!(self.copy_output(kind)?, Output::Bytes(_)) {
                break;
            }
            self.send_all()?;
            if !self.clients.slow(kind).is_empty() {
                return self.pause_output(kind);
            }
        }
        Ok(())
    }

    fn copy_output(&mut self, kind: Kind) -> Result<Output> {
        let output = self.streams.read(kind, &mut self.buffer)?;
        if let Output::Bytes(length) = output {
            let logged = self.log.append(kind, &self.buffer[..length]);
            self.note_log_error(logged);
            self.clients.send_output(kind, &self.buffer[..length]);
        }
        Ok(output)
    }

    /// A full disk is no reason to end a container. The first error is told with the process's end.
    fn note_log_error(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.log_error.get_or_insert_with(|| chain(&error));
        }
    }

    /// Takes an output out of the epoll: it would tell of a hang-up again and again.
    fn pause_output(&mut self, kind: Kind) -> Result<()> {
        let Some(output) = self.streams.output(kind) else { return Ok(()) };
        epoll::delete(&self.epoll, output).named("epoll_ctl(EPOLL_CTL_DEL)")?;
        self.paused.push(kind);
        Ok(())
    }

    fn resume_outputs(&mut self) -> Result<()> {
        let caught_up = |kind: &mut Kind| self.clients.slow(*kind).is_empty();
        let resumed: Vec<Kind> = self.paused.extract_if(.., caught_up).collect();
        resumed.into_iter().try_for_each(|kind| self.watch_output(kind))
    }

    /// Writes what the process takes of the input that waits.
    fn give_input(&mut self) -> Result<()> {
        let taken = self.streams.write(&self.input)?;
        self.input.drain(..taken);
        if !self.input.is_empty() {
            return self.watch_input();
        }
        if let Some(stdin) = self.streams.stdin() {
            match epoll::delete(&self.epoll, stdin) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error).named("epoll_ctl(EPOLL_CTL_DEL)"),
            }
        }
        if std::mem::take(&mut self.input_ends) {
            self.streams.close_stdin();
        }
        Ok(())
    }

    fn watch_input(&self) -> Result<()> {
        let Some(stdin) = self.streams.stdin() else { return Ok(()) };
        match epoll::add(&self.epoll, stdin, EventData::new_u64(STDIN), EventFlags::OUT) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(error).named("epoll_ctl(EPOLL_CTL_ADD)"),
        }
    }

    // ---- its clients ----------------------------------------------------------------------------------------------

    fn accept(&mut self) -> Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).named("fcntl(F_SETFL, O_NONBLOCK)")?;
            let id = self.clients.add(stream);
            if let Some(descriptor) = self.clients.descriptor(id) {
                self.watch(descriptor, FIRST_CLIENT + id)?;
            }
        }
        Ok(())
    }

    fn serve(&mut self, id: clients::Id) -> Result<()> {
        if !self.clients.flush(id) || !self.clients.receive(id, &mut self.buffer) {
            self.hang_up(id)?;
        }
        self.act_on_messages()
    }

    /// Acts on what all clients have sent: input of one may have had to wait for that of another.
    fn act_on_messages(&mut self) -> Result<()> {
        for id in self.clients.ids() {
            loop {
                let takes_input = self.takes_input();
                match self.clients.next_message(id, |kind| takes_input || kind != Kind::Stdin) {
                    Ok(Some(message)) => self.act(id, message)?,
                    Ok(None) if takes_input && self.clients.is_gone(id) => break self.forget(id)?,
                    Ok(None) => break,
                    Err(_) => break self.forget(id)?,
                }
            }
        }
        self.send_all()
    }

    /// Input goes in when it is known where, and when what came before has gone in.
    fn takes_input(&self) -> bool {
        self.input.is_empty() && !matches!(self.phase, Phase::Launching { .. })
    }

    fn act(&mut self, id: clients::Id, message: Message) -> Result<()> {
        let answer = match message {
            Message::Stdin(bytes) if bytes.is_empty() => return self.client_gives_no_more(),
            Message::Stdin(bytes) => {
                self.input = bytes;
                return self.give_input();
            }
            Message::Request(Request::Attach { stdin, stdout, stderr }) => {
                self.clients.attach(id, stdin, stdout, stderr);
                json!({ "done": true })
            }
            Message::Request(Request::Resize { rows, columns }) => match self.streams.resize(rows, columns) {
                Ok(true) => json!({ "done": true }),
                Ok(false) => json!({ "error": "the process has no terminal" }),
                Err(error) => json!({ "error": chain(&error) }),
            },
            Message::Request(Request::CloseStdin {}) => {
                self.end_input()?;
                json!({ "done": true })
            }
            Message::Refused(why) => json!({ "error": why }),
        };
        self.clients.answer(id, &answer);
        Ok(())
    }

    fn client_gives_no_more(&mut self) -> Result<()> {
        if self.stdin == Stdin::Once { self.end_input() } else { Ok(()) }
    }

    fn end_input(&mut self) -> Result<()> {
        self.input_ends = true;
        if self.input.is_empty() { self.give_input() } else { Ok(()) }
    }

    fn hang_up(&mut self, id: clients::Id) -> Result<()> {
        if let Some(descriptor) = self.clients.descriptor(id).filter(|_| !self.clients.is_gone(id)) {
            epoll::delete(&self.epoll, descriptor).named("epoll_ctl(EPOLL_CTL_DEL)")?;
        }
        self.clients.hang_up(id);
        Ok(())
    }

    fn forget(&mut self, id: clients::Id) -> Result<()> {
        if self.clients.remove(id) { self.client_gives_no_more() } else { Ok(()) }
    }

    fn tell_all(&mut self, news: &serde_json::Value) -> Result<()> {
        self.clients.ids().into_iter().for_each(|id| self.clients.answer(id, news));
        self.send_all()
    }

    /// Sends what each client takes, and waits for those that take no more now.
    fn send_all(&mut self) -> Result<()> {
        let takes_input = self.takes_input();
        for id in self.clients.ids() {
            if !self.clients.flush(id) {
                self.hang_up(id)?;
            }
            if self.clients.is_gone(id) {
                continue;
            }
            let interest = self.clients.changed_interest(id, takes_input);
            if let (Some(interest), Some(descriptor)) = (interest, self.clients.descriptor(id)) {
                let token = EventData::new_u64(FIRST_CLIENT + id);
                epoll::modify(&self.epoll, descriptor, token, interest).named("epoll_ctl(EPOLL_CTL_MOD)")?;
            }
        }
        self.resume_outputs()
    }

    fn watch(&self, descriptor: impl AsFd, token: u64) -> Result<()> {
        let descriptor: BorrowedFd<'_> = descriptor.as_fd();
        epoll::add(&self.epoll, descriptor, EventData::new_u64(token), EventFlags::IN)
            .named("epoll_ctl(EPOLL_CTL_ADD)")
    }
}

/// One line to who has started the monitor, on its standard output; nothing is written there after it.
fn say(news: &serde_json::Value) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{news}").and_then(|()| stdout.flush()).named("write to standard output")?;
    let null = std::fs::File::open("/dev/null").named("open /dev/null")?;
    rustix::stdio::dup2_stdout(&null).named("dup2")
}
