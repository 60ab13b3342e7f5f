//! `knarr`, an OCI runtime: reads its arguments, runs one command, prints at most one error, chooses the exit code.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod affinity;
mod bitmask;
mod bundle;
mod capabilities;
mod cli;
mod commands;
mod container;
mod error;
mod fds;
mod hooks;
mod identity;
mod idmap;
mod interpreter;
mod keyring;
mod log;
mod mempolicy;
mod namespaces;
mod personality;
mod pidfd_socket;
mod plan;
mod process_id;
mod program;
mod protocol;
mod record;
mod rlimits;
mod scheduler;
mod signals;
mod spawn;
mod spec;
mod store;
mod sys;
mod sysctl;
mod teardown;
mod timestamp;
mod tty;
mod unix_socket;
mod users;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use cli::{Command, Globals, Invocation, Misuse, Reply};
use error::{Error, Result};
use log::Logger;

fn main() -> ExitCode {
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
        Some(prefix) => fail(
            &Error::During {
                act: prefix.into(),
                source: Box::new(error),
            },
            code,
        ),
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

fn run(globals: &Globals, command: Command) -> Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Delete(args) => commands::delete::run(globals, &args).map(done),
        Command::Features => commands::features::run(globals).map(done),
        Command::Kill(args) => commands::kill::run(globals, &args).map(done),
        Command::List(args) => commands::list::run(globals, &args).map(done),
        Command::Pause(args) => commands::pause::run(globals, &args).map(done),
        Command::Ps(args) => commands::ps::run(globals, &args).map(done),
        Command::Resume(args) => commands::resume::run(globals, &args).map(done),
        Command::Spec(args) => commands::spec::run(&args).map(done),
        Command::State(args) => commands::state::run(globals, &args).map(done),
        Command::Create(_) | Command::Exec(_) | Command::Run(_) | Command::Start(_) => {
            Err(Error::Usage("not implemented in this version".into()))
        }
    }
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
    log::set(Logger {
        sink: globals.log.open()?,
        format: globals.log_format,
        level: globals.log_level,
    });
    Ok(())
}

/// Writes to stdout. A reader that has gone away is no failure of ours.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn reject(misuse: &Misuse) -> ExitCode {
    print(&misuse.usage);
    // A log that cannot be opened leaves stderr; what is wrong with the command line is the answer all the same.
    let _ = misuse.globals.as_ref().map(open_log);
    fail(&misuse.error, misuse.code)
}

/// The one error line. A caller that reads only stderr gets the text too.
fn fail(error: &Error, code: u8) -> ExitCode {
    log::error(error);
    if !log::is_stderr() {
        // Stderr is the last resort: nothing is left to report its failure to.
        let _ = writeln!(io::stderr(), "{}", error.line());
    }
    ExitCode::from(code)
}
