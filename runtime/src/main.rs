//! `knarr`, an OCI runtime: reads its arguments, runs one command, prints at most one error, chooses the exit code.
//!
//! It begins in `sys::start`.
#![cfg_attr(test, allow(clippy::expect_used, clippy::unwrap_used))]
#![cfg_attr(not(test), no_main)]

mod affinity;
mod bitmask;
mod bundle;
mod capabilities;
mod caught_signals;
mod checkpoint;
mod cli;
mod commands;
mod container;
mod criu;
mod design;
mod doctor;
mod enter;
mod error;
mod fds;
mod foreground;
mod hint;
mod hooks;
mod host;
mod host_terminal;
mod identity;
mod idmap;
mod init;
mod interpreter;
mod keyring;
mod launch;
mod log;
mod lsm;
mod mempolicy;
mod namespaces;
mod net_devices;
mod netlink;
mod notify_socket;
mod oom;
mod oom_score;
mod parent;
mod pattern;
mod personality;
mod pid_file;
mod pidfd_socket;
mod plan;
mod proc;
mod process_id;
mod program;
mod protocol;
mod record;
mod resctrl;
mod rlimits;
mod rootfs;
mod scheduler;
mod sealed_exe;
mod seccomp;
mod signals;
mod spawn;
mod spec;
mod start_gate;
mod store;
mod sys;
mod sysctl;
mod teardown;
mod terminal_proxy;
mod timestamp;
mod tty;
mod unix_socket;
mod users;
mod working_directory;

use std::ffi::OsString;
use std::io::{self, Write as _};

use cli::{Command, Globals, Invocation, Misuse, Reply};
use error::{Error, Result};
use log::Logger;

/// Returns the exit status.
fn main() -> u8 {
    let invocation = match arguments().and_then(|args| cli::parse(&args)) {
        Ok(invocation) => invocation,
        Err(Reply::Text(text)) => return print(&text),
        Err(Reply::Misuse(misuse)) => return reject(&misuse),
    };
    let Invocation { globals, command } = invocation;
    if let Err(error) = open_log(&globals).and_then(|()| globals.root.prepare()) {
        return fail(&error, 1);
    }
    let (prefix, code) = failure(&command);
    run(&globals, command).unwrap_or_else(|error| match prefix {
        Some(prefix) => fail(&Error::During { act: prefix.into(), source: Box::new(error) }, code),
        None => fail(&error, code),
    })
}

/// How the error of a command begins, which is runc's word under any name because engines match on it, and the exit
/// status that goes with it.
fn failure(command: &Command) -> (Option<&'static str>, u8) {
    match command {
        Command::Create(_) => (Some("runc create failed"), 1),
        Command::Run(_) => (Some("runc run failed"), 1),
        Command::Exec(_) => (Some("exec failed"), 255),
        _ => (None, 1),
    }
}

fn run(globals: &Globals, command: Command) -> Result<u8> {
    let done = |()| 0;
    match command {
        Command::Checkpoint(args) => commands::checkpoint::run(globals, &args).map(done),
        Command::Create(args) => commands::create::run(globals, &args).map(done),
        Command::Delete(args) => commands::delete::run(globals, &args).map(done),
        Command::Doctor(args) => commands::doctor::run(globals, &args).map(exit_code),
        Command::Events(args) => commands::events::run(globals, &args).map(done),
        Command::Exec(args) => commands::exec::run(globals, &args).map(exit_code),
        Command::Features => commands::features::run(globals).map(done),
        Command::Kill(args) => commands::kill::run(globals, &args).map(done),
        Command::List(args) => commands::list::run(globals, &args).map(done),
        Command::Pause(args) => commands::pause::run(globals, &args).map(done),
        Command::Ps(args) => commands::ps::run(globals, &args).map(done),
        Command::Restore(args) => commands::restore::run(globals, &args).map(exit_code),
        Command::Resume(args) => commands::resume::run(globals, &args).map(done),
        Command::Run(args) => commands::run::run(globals, &args).map(exit_code),
        Command::Seccomp(args) => commands::seccomp::run(&args).map(done),
        Command::Spec(args) => commands::spec::run(&args).map(done),
        Command::Start(args) => commands::start::run(globals, &args).map(done),
        Command::State(args) => commands::state::run(globals, &args).map(done),
        Command::Update(args) => commands::update::run(globals, &args).map(done),
    }
}

/// 0 to 255 by construction: a status, or 128 and a signal.
fn exit_code(status: i32) -> u8 {
    u8::try_from(status).unwrap_or(u8::MAX)
}

fn arguments() -> Result<Vec<String>, Reply> {
    let decode = |arg: OsString| {
        arg.into_string().map_err(|arg| {
            let error = Error::Usage(format!("argument {} is not UTF-8", arg.display()));
            Reply::Misuse(Box::new(Misuse::new(error, 1)))
        })
    };
    std::env::args_os().map(decode).collect()
}

fn open_log(globals: &Globals) -> Result<()> {
    log::set(Logger { sink: globals.log.open()?, format: globals.log_format, level: globals.log_level });
    Ok(())
}

/// Writes to stdout. A reader that has gone away is no failure of ours.
fn print(text: &str) -> u8 {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => 1,
        _ => 0,
    }
}

fn reject(misuse: &Misuse) -> u8 {
    print(&misuse.usage);
    // A log that cannot be opened leaves stderr; what is wrong with the command line is the answer all the same.
    let _ = misuse.globals.as_ref().map(open_log);
    fail(&misuse.error, misuse.code)
}

/// The one error line. A caller that reads only stderr gets the text too.
fn fail(error: &Error, code: u8) -> u8 {
    log::error(error);
    if !log::is_stderr() {
        // Stderr is the last resort: nothing is left to report its failure to.
        let _ = writeln!(io::stderr(), "{}", error.line());
    }
    if let Some(hint) = hint::of(error).filter(|_| log::is_read_by_people()) {
        let _ = writeln!(io::stderr(), "hint: {hint}");
    }
    code
}
