//! `knarr-netns`: applies an attachment as a createRuntime hook of a container, and removes it as a poststop hook.
//!
//! The edge: arguments, the container's state on standard input (runtime-spec, State), one line for an error.
//! knarr-netns(8).

use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use knarr_netns::{Attachment, Error, Result};
use serde::Deserialize;

const USAGE: &str = "usage: knarr-netns setup|teardown FILE
  --help     print this
  --version  print the version";

/// More than a state has, annotations included, in bytes.
const LONGEST_STATE: u64 = 16 * 1024 * 1024;

/// What a runtime writes to a hook's standard input; the rest of it is not for us.
#[derive(Deserialize)]
struct State {
    id: String,
    #[serde(default)]
    pid: u32,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [flag] if flag == "--version" => {
            println!("knarr-netns version {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        [flag] if flag == "--help" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [act, file] if act == "setup" => setup(Path::new(file)),
        [act, file] if act == "teardown" => teardown(Path::new(file)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("knarr-netns: {}", knarr_netns::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn setup(file: &Path) -> Result<()> {
    // Before anything can fail: a runtime that cannot write the state may report that instead.
    let text = state_text()?;
    let attachment = Attachment::read(file)?;
    let state: State = serde_json::from_slice(&text).map_err(|source| Error::Json {
        what: "standard input: not a container's state".to_owned(),
        source,
    })?;
    if state.id != attachment.container {
        let (meant, found) = (&attachment.container, &state.id);
        return Err(Error::Value(format!("{}: for container {meant}, not {found}", file.display())));
    }
    if state.pid == 0 {
        return Err(Error::Value(format!("container {} has no process", state.id)));
    }
    // The runtime waits for its hooks before the process goes on: the pid is the container's.
    let netns = knarr_netns::of_process(state.pid)?;
    knarr_netns::setup(&attachment, netns.as_fd())
}

fn teardown(file: &Path) -> Result<()> {
    // Nothing of the state is needed, and somebody who cleans up by hand has none.
    if !std::io::stdin().is_terminal() {
        state_text()?;
    }
    knarr_netns::teardown(&Attachment::read(file)?)
}

fn state_text() -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = std::io::stdin().take(LONGEST_STATE).read_to_end(&mut text);
    read.map_err(|source| Error::Read { path: "standard input".into(), source })?;
    Ok(text)
}
