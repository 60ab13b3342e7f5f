//! Where log lines go: stderr, a file, the journal (systemd.journal-fields(7)) or syslog (syslog(3)).

use std::fs::{File, OpenOptions};
use std::io::{Write as _, stderr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::line::Record;
use super::{Format, Level};
use crate::sys::{self, Named as _};

const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// What `--log` asks for. crun's forms `file:`, `journald:` and `syslog:` are understood under every name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Target {
    #[default]
    Stderr,
    File(PathBuf),
    Journal(String),
    Syslog(String),
}

impl Target {
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once(':') {
            _ if text.is_empty() => Self::Stderr,
            Some(("file", path)) => Self::File(path.into()),
            Some(("journald", id)) => Self::Journal(id.into()),
            Some(("syslog", id)) => Self::Syslog(id.into()),
            _ => Self::File(text.into()),
        }
    }

    /// Opens the file for appending, or connects to the daemon.
    pub(crate) fn open(&self) -> sys::Result<Sink> {
        Ok(match self {
            Self::Stderr => Sink::Stderr(Some(own_stderr()?)),
            Self::File(path) => Sink::File(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o644)
                    .open(path)
                    .named(|| format!("open {}", path.display()))?,
            ),
            Self::Journal(id) => Sink::Journal { socket: connect(JOURNAL)?, id: id.clone() },
            Self::Syslog(id) => Sink::Syslog { socket: connect(SYSLOG)?, id: id.clone() },
        })
    }
}

/// A descriptor of our own: in a container with a terminal, number 2 becomes that terminal.
fn own_stderr() -> sys::Result<File> {
    let stderr = stderr().as_fd().try_clone_to_owned();
    Ok(stderr.named(|| "fcntl(2, F_DUPFD_CLOEXEC)".into())?.into())
}

fn connect(path: &str) -> sys::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound().named(|| "socket(AF_UNIX, SOCK_DGRAM)".into())?;
    socket.connect(path).named(|| format!("connect {path}"))?;
    Ok(socket)
}

pub(crate) enum Sink {
    /// `None`: whatever number 2 is, before anybody has said where to log.
    Stderr(Option<File>),
    File(File),
    Journal {
        socket: UnixDatagram,
        id: String,
    },
    Syslog {
        socket: UnixDatagram,
        id: String,
    },
}

impl Sink {
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Stderr(file) => file.as_ref().map(AsFd::as_fd),
            Self::File(file) => Some(file.as_fd()),
            Self::Journal { socket, .. } | Self::Syslog { socket, .. } => Some(socket.as_fd()),
        }
    }

    pub(super) fn write(&self, record: &Record<'_>, format: Format) {
        // Nowhere is left to report that the log failed.
        let _ = match self {
            Self::Stderr(None) => stderr().write_all(record.line(format).as_bytes()),
            Self::Stderr(Some(file)) | Self::File(file) => (&*file).write_all(record.line(format).as_bytes()),
            Self::Journal { socket, id } => socket.send(journal_entry(record, id).as_bytes()).map(drop),
            Self::Syslog { socket, id } => socket.send(syslog_entry(record, id).as_bytes()).map(drop),
        };
    }
}

/// The native protocol of the journal, for values without newlines.
fn journal_entry(record: &Record<'_>, id: &str) -> String {
    let (id, message) = (id.replace('\n', " "), record.message.replace('\n', " "));
    format!("PRIORITY={}\nSYSLOG_IDENTIFIER=knarr\nID={id}\nMESSAGE={message}\n", priority(record.level))
}

/// The local form of RFC 3164: the daemon adds the time. Facility `user` (1).
fn syslog_entry(record: &Record<'_>, id: &str) -> String {
    let id = if id.is_empty() { "knarr" } else { id };
    format!("<{}>{id}: {}", (1 << 3) | priority(record.level), record.message.replace('\n', " "))
}

fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn record(message: &str) -> Record<'static> {
        Record {
            seconds: 0,
            level: Level::Error,
            message: message.into(),
            caller: None,
            errno: None,
            call: None,
            field: None,
            hint: None,
        }
    }

    #[test]
    fn targets_are_told_apart_by_their_prefix() {
        for (text, target) in [
            ("", Target::Stderr),
            ("/run/log.json", Target::File("/run/log.json".into())),
            ("a:b", Target::File("a:b".into())),
            ("file:a:b", Target::File("a:b".into())),
            ("journald:box", Target::Journal("box".into())),
            ("syslog:", Target::Syslog(String::new())),
        ] {
            assert_eq!(Target::parse(text), target, "{text:?}");
        }
    }

    #[test]
    fn a_file_is_appended_to() {
        let path = std::env::temp_dir().join(format!("knarr-log-{}", std::process::id()));
        fs::write(&path, "before\n").unwrap();
        for message in ["one", "two"] {
            Target::File(path.clone()).open().unwrap().write(&record(message), Format::Json);
        }
        let written = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let lines: Vec<_> = written.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "before");
        assert!(lines[2].contains("\"msg\":\"two\""), "{written}");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let target = Target::File("/nonexistent/log".into());
        assert_eq!(
            target.open().err().unwrap().to_string(),
            "open /nonexistent/log: no such file or directory"
        );
    }

    #[test]
    fn daemons_get_one_entry_whatever_the_message() {
        let entry = journal_entry(&record("a\nPRIORITY=0"), "box\nX=1");
        assert_eq!(entry, "PRIORITY=3\nSYSLOG_IDENTIFIER=knarr\nID=box X=1\nMESSAGE=a PRIORITY=0\n");
        assert_eq!(syslog_entry(&record("a\nb"), ""), "<11>knarr: a b");
    }
}
