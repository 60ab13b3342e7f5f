//! What the engine says about itself: a line each on standard error, which the service manager keeps.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

static DEBUG: AtomicBool = AtomicBool::new(false);

/// Whether `debug` writes anything.
pub(crate) fn set_debug(wanted: bool) {
    DEBUG.store(wanted, Ordering::Relaxed);
}

pub(crate) fn is_debug() -> bool {
    DEBUG.load(Ordering::Relaxed)
}

pub(crate) fn info(text: &dyn Display) {
    write("info", text);
}

/// Something went wrong that nobody asked for, so that nobody gets it as an answer.
pub(crate) fn warn(text: &dyn Display) {
    write("warning", text);
}

pub(crate) fn debug(text: &dyn Display) {
    if is_debug() {
        write("debug", text);
    }
}

fn write(level: &str, text: &dyn Display) {
    // Whoever has closed standard error wants no log.
    let _ = writeln!(std::io::stderr().lock(), "{} {level}: {text}", jiff::Timestamp::now());
}
