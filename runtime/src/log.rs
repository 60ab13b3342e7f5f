//! The log: where engines read what went wrong.
//!
//! Lines look as logrus writes them, because containerd, dockerd, conmon and podman parse them so; the last line of
//! level `error` is the answer to a failed command. One line is one write(2), without lock or buffer of ours, so the
//! child of a clone may log too. A line that cannot be written is lost: the log must not stop a container.

mod line;
mod sink;

use std::fmt;
use std::io::IsTerminal as _;
use std::os::fd::BorrowedFd;
use std::panic::Location;
use std::sync::OnceLock;

use line::Record;
pub(crate) use sink::{Sink, Target};

use crate::error::Error;
use crate::{hint, timestamp};

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// How much is said; a level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

pub(crate) struct Logger {
    pub(crate) sink: Sink,
    pub(crate) format: Format,
    pub(crate) level: Level,
}

/// Says where to log from now on. The first call counts; before it, errors and warnings go to stderr as text.
pub(crate) fn set(logger: Logger) {
    let _ = LOGGER.set(logger);
}

#[track_caller]
pub(crate) fn debug(message: fmt::Arguments<'_>) {
    write(Level::Debug, message, None, Location::caller());
}

#[track_caller]
pub(crate) fn warn(message: fmt::Arguments<'_>) {
    write(Level::Warning, message, None, Location::caller());
}

/// The one error line of a failed command; `main` alone writes it.
#[track_caller]
pub(crate) fn error(error: &Error) {
    write(Level::Error, format_args!("{}", error.line()), Some(error), Location::caller());
}

/// What the log is written to, beside stderr: whoever closes descriptors and still wants to log keeps it.
pub(crate) fn descriptor() -> Option<BorrowedFd<'static>> {
    LOGGER.get().and_then(|logger| logger.sink.descriptor())
}

pub(crate) fn is_stderr() -> bool {
    matches!(logger().sink, Sink::Stderr(_))
}

/// Whether stderr is for people: a terminal without JSON in it.
pub(crate) fn is_read_by_people() -> bool {
    std::io::stderr().is_terminal() && !(is_stderr() && logger().format == Format::Json)
}

fn write(level: Level, message: fmt::Arguments<'_>, error: Option<&Error>, caller: &Location<'_>) {
    let logger = logger();
    if level > logger.level {
        return;
    }
    let record = Record {
        seconds: timestamp::since_epoch().as_secs(),
        level,
        message: message.to_string(),
        // As runc, which names the place in the source only when it is asked to explain itself.
        caller: (logger.level == Level::Debug).then(|| format!("{}:{}", caller.file(), caller.line())),
        errno: error.and_then(Error::errno),
        call: error.and_then(Error::call),
        field: error.and_then(Error::field),
        hint: error.and_then(hint::of),
    };
    logger.sink.write(&record, logger.format);
}

fn logger() -> &'static Logger {
    static UNSET: Logger = Logger { sink: Sink::Stderr(None), format: Format::Text, level: Level::Info };
    LOGGER.get().unwrap_or(&UNSET)
}
