//! `knarr-monitor DIR`: starts one process of a container through an OCI runtime, and stays with it until it has ended.
//!
//! It owns the process's standard streams, writes its log, lets others attach, and leaves the exit status on record. The
//! engine may die or be replaced at any moment: nothing here notices. One process has one monitor; it has one thread,
//! no configuration but `DIR/task.json`, and does not outlive its process. How the engine talks to it stands in
//! `docs/design/monitor.md`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod clients;
mod error;
mod exit;
mod frame;
mod launch;
mod lines;
mod log;
mod monitor;
mod streams;
mod sys;
mod task;

use std::path::Path;
use std::process::ExitCode;

use error::Result;
use monitor::Monitor;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [flag] if flag == "--version" => {
            println!("knarr-monitor version {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        [directory] => monitor(Path::new(directory)),
        // What a monitor starts of its own accord.
        [command, file] if command == "compress" => log::compress(Path::new(file)),
        _ => {
            eprintln!("usage: knarr-monitor DIR");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("knarr-monitor: {}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn monitor(directory: &Path) -> Result<()> {
    let task = task::read(directory)?;
    Monitor::start(&task, directory)?.run()
}
