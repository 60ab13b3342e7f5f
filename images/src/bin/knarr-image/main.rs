//! `knarr-image`: images without a daemon. Reads its arguments, runs one command, prints at most one error.
//!
//! Each command opens the store, which one process has at a time: a second command waits for the first.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod bundle;
mod cli;
mod commands;
mod failure;
mod list;
mod registry;
mod users;

use std::io::Write as _;
use std::process::ExitCode;

use cli::Parsed;
use failure::{Failure, chain};

fn main() -> ExitCode {
    let args: Vec<String> = match std::env::args_os().skip(1).map(std::ffi::OsString::into_string).collect() {
        Ok(args) => args,
        Err(arg) => return fail(&Failure::Usage(format!("argument {} is not UTF-8", arg.display()))),
    };
    let done = match cli::parse(&args) {
        Ok(Parsed::Told(text)) => print(&text),
        Ok(Parsed::Run(options, command)) => commands::run(&options, &command),
        Err(usage) => Err(Failure::Usage(usage)),
    };
    done.map_or_else(|failure| fail(&failure), |()| ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
}

/// Misuse is 64 (sysexits.h).
fn fail(failure: &Failure) -> ExitCode {
    // Nothing is left to report a failure to write to.
    let _ = writeln!(std::io::stderr(), "knarr-image: {}", chain(failure));
    ExitCode::from(if matches!(failure, Failure::Usage(_)) { 64 } else { 1 })
}
