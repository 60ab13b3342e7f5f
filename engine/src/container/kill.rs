//! Signals to a container's first process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Container, Record, Status, Turn};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::runtime::Runtime;

const KILL: i32 = libc::SIGKILL;
/// The largest number of a real-time signal.
const LAST: i32 = 64;
const FIRST_REAL_TIME: i32 = 34;

/// How long the end of a container that cannot be signalled may take to be noted.
const ALREADY_ENDED: Duration = Duration::from_secs(2);
/// How long a container may take to end after SIGKILL.
pub(super) const AFTER_KILL: Duration = Duration::from_secs(10);

const NAMES: [(&str, i32); 37] = [
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("BUS", libc::SIGBUS),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("IO", libc::SIGIO),
    ("IOT", libc::SIGIOT),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("POLL", libc::SIGPOLL),
    ("PROF", libc::SIGPROF),
    ("PWR", libc::SIGPWR),
    ("QUIT", libc::SIGQUIT),
    ("SEGV", libc::SIGSEGV),
    ("STKFLT", libc::SIGSTKFLT),
    ("STOP", libc::SIGSTOP),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("RTMIN", FIRST_REAL_TIME),
    ("RTMAX", LAST),
    ("UNUSED", libc::SIGSYS),
];

/// A signal by number, or by name with or without `SIG`, in any case; `RTMIN+n` and `RTMAX-n` as well.
pub(crate) fn signal_number(text: &str) -> Result<i32> {
    let invalid = || Error::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=LAST).contains(&number) { Ok(number) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let offset = |number: &str| number.parse::<i32>().ok();
    let number = match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
        (Some(above), _) => offset(above).map(|above| FIRST_REAL_TIME + above),
        (_, Some(below)) => offset(below).map(|below| LAST - below),
        _ => None,
    };
    number.filter(|number| (FIRST_REAL_TIME..=LAST).contains(number)).ok_or_else(invalid)
}

impl Engine {
    /// Sends a signal; without one, ends the container with SIGKILL and waits for its end.
    pub(crate) fn kill(&self, name: &str, signal: Option<&str>) -> Result<()> {
        let container = self.containers.find(name)?;
        let number = signal.filter(|signal| !signal.is_empty()).map_or(Ok(KILL), signal_number)?;
        let record = container.record();
        if !record.state.status.is_up() {
            return Err(Error::conflict(format!(
                "cannot kill container: {name}: container {} is not running",
                record.id
            )));
        }
        if ends(&record, number) {
            container.policy_is_off.store(true, Ordering::Release);
        }
        container.change(|record| record.stopped_by_hand = true)?;
        if number == KILL { self.kill_and_wait(&container) } else { self.signal(&container, number) }
    }

    /// Sends SIGKILL and waits for the end.
    pub(super) fn kill_and_wait(&self, container: &Arc<Container>) -> Result<()> {
        let ends = container.ends();
        let ended = |turn: &Turn| turn.ends > ends || turn.removed;
        if let Err(error) = self.signal(container, KILL) {
            // It may have ended meanwhile, and the end is being noted.
            return if container.has_ended(ended) { Ok(()) } else { Err(error) };
        }
        if container.wait_until(Some(AFTER_KILL), ended) {
            return Ok(());
        }
        Err(Error::system(format!("container {} does not end after SIGKILL", container.record().short_id())))
    }

    /// Sends a signal by the runtime. A paused container takes SIGKILL once it goes on.
    pub(super) fn signal(&self, container: &Container, number: i32) -> Result<()> {
        let record = container.record();
        let runtime = Runtime::named(&self.settings, &record.host_config.runtime)?;
        runtime.kill(&container.id, number)?;
        self.events.of_container("kill", &record, &[("signal", number.to_string())]);
        // Some runtimes let it go on by themselves.
        let stuck = number == KILL && record.state.status == Status::Paused;
        if stuck && runtime.status(&container.id)?.as_deref() == Some("paused") {
            runtime.resume(&container.id)?;
        }
        Ok(())
    }
}

impl Container {
    /// Whether it had ended before a signal that could not be sent, or ends now.
    pub(super) fn has_ended(&self, ended: impl Fn(&Turn) -> bool) -> bool {
        !self.record().state.status.is_up() || self.wait_until(Some(ALREADY_ENDED), ended)
    }
}

/// Whether the signal is meant to end the container, so that its policy does not start it again.
fn ends(record: &Record, number: i32) -> bool {
    let stop = record.config.stop_signal.as_str();
    number == KILL || stop.is_empty() || signal_number(stop).is_ok_and(|stop| stop == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("HUP", 1),
            ("SIGHUP", 1),
            ("sighup", 1),
            ("9", 9),
            ("RTMIN+1", 35),
            ("SIGRTMAX-2", 62),
            ("64", 64),
        ] {
            assert_eq!(signal_number(text).unwrap(), number, "{text}");
        }
        for text in ["", "0", "65", "-1", "SIGFOO", "RTMIN+40", "RTMAX-x", "SIG"] {
            assert_eq!(signal_number(text).unwrap_err().message, format!("invalid signal: {text}"));
        }
    }
}
