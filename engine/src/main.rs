//! `knarrd`: Docker's Engine API. This file reads the flags, starts the engine and serves it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api;
mod container;
mod daemon_json;
mod disk_usage;
mod engine;
mod error;
mod events;
mod flags;
mod image;
mod log;
mod login;
mod logs;
mod monitor;
mod network;
mod oci;
mod replace;
mod runtime;
mod settings;
mod stats;
mod sys;
mod system;
mod top;
mod volume;
mod wire;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use engine::Engine;
use error::{During as _, Result};
use flags::Flags;
use settings::Settings;

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("knarrd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<()> {
    // The runtime has a use for it too: it would wait for a container that never says that it is ready.
    let service_manager = sys::take_variable("NOTIFY_SOCKET");
    let validate = flags.validate;
    let settings = flags.clone().settings()?;
    if validate {
        eprintln!("configuration OK");
        return Ok(());
    }
    log::set_debug(settings.debug);
    let pidfile = settings.pidfile.clone();
    let engine = Engine::open(settings)?;
    let on_hangup = || reload(&engine.settings, flags);
    let served = api::serve(&engine, || ready(pidfile.as_deref(), service_manager.as_deref()), on_hangup);
    if !engine.settings.live_restore {
        engine.stop_all();
    }
    let removed = pidfile.as_deref().map_or(Ok(()), remove_pidfile);
    served.and(removed)
}

/// It is not there if the engine failed before it was ready.
fn remove_pidfile(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.during("remove", path),
    }
}

/// Clients can come: the process ID is written and the service manager is told, sd_notify(3).
fn ready(pidfile: Option<&Path>, service_manager: Option<&OsStr>) -> Result<()> {
    if let Some(path) = pidfile {
        fs::write(path, std::process::id().to_string()).during("write", path)?;
    }
    if let Some(socket) = service_manager {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(socket),
        };
        let tell = || UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address?);
        tell().while_doing("tell the service manager")?;
    }
    log::info(&format!("API listen, version {}", api::NEWEST));
    Ok(())
}

/// Reads the configuration again. How much is told changes at once; whatever else has changed waits for the next start,
/// which disturbs no container.
fn reload(current: &Settings, flags: &Flags) {
    let read = match flags.clone().settings() {
        Ok(read) => read,
        Err(error) => return log::warn(&format!("the configuration stays as it is: {error}")),
    };
    log::set_debug(read.debug);
    log::info(&format!("the configuration has been read again: debug is {}", read.debug));
    if (Settings { debug: current.debug, ..read }) != *current {
        log::warn(&"the configuration has other changes as well: they take effect at the next start");
    }
}
