//! The one error type of the runtime, and how a chain of errors becomes the single line a user reads.
//!
//! Texts that engines match on (`container does not exist`, ...) are runc's, word for word; they are kept in the
//! variants below and nowhere else. An error is either logged or returned: only `main` logs.

use std::fmt::Write as _;

use crate::sys;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is wrong; nothing was done.
    #[error("{0}")]
    Usage(String),

    /// A value of `config.json` (or of a flag that stands for one) breaks a rule; nothing exists yet.
    /// `field` is a JSON pointer into the configuration (`/process/args`) and goes to the JSON log.
    #[error("{reason}")]
    Refused { field: String, reason: String },

    /// The bundle has no `config.json`, or the file given in its place is not there.
    #[error("JSON specification file {0} not found")]
    NoConfig(String),

    #[error("container with given ID already exists")]
    Exists,
    #[error("invalid container ID format")]
    InvalidId,
    #[error("container does not exist")]
    NotExist,
    #[error("container not running")]
    NotRunning,
    #[error("container not paused")]
    NotPaused,
    /// SIGKILL was sent, and the container's first process is still there after the time given.
    #[error("container init still running")]
    StillRunning,
    /// The container is in a state that forbids the command; the text is runc's for that command.
    #[error("{0}")]
    WrongState(String),

    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] sys::Error),

    #[error(transparent)]
    Cgroup(#[from] knarr_cgroups::Error),

    #[error(transparent)]
    Seccomp(#[from] knarr_seccomp::Error),

    /// The kernel's description of a process has no state or start time where proc(5) puts them.
    #[error("/proc/{pid}/stat has an unknown form")]
    ProcessStat { pid: i32 },

    /// The host's ps(1) could not be run, failed, or printed a table without process ids.
    #[error("{0}")]
    Ps(String),

    #[error("{what}")]
    Json {
        what: String,
        #[source]
        source: serde_json::Error,
    },

    /// What the container's first process reported before it could run the program.
    #[error("{0}")]
    Init(Box<Told>),

    /// The program cannot be run.
    #[error("{0}")]
    Program(Box<Told>),

    /// criu cannot be run, is too old, or failed; why is in its log.
    #[error("{0}")]
    Criu(String),

    /// A hook failed; the text holds the hook's index, how it ended and what it printed.
    #[error("{0}")]
    Hook(String),

    /// What was being done when `source` happened.
    #[error("{act}")]
    During {
        act: String,
        #[source]
        source: Box<Error>,
    },

    /// The same for a part of the configuration.
    #[error("{act}")]
    At {
        field: String,
        act: String,
        #[source]
        source: Box<Error>,
    },
}

/// An error with all that is known about it. Only `text` is for everybody.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) field: Option<String>,
    pub(crate) call: Option<String>,
    pub(crate) errno: Option<i32>,
    pub(crate) hint: Option<String>,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error {
    pub(crate) fn refused(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Refused { field: field.into(), reason: reason.into() }
    }

    /// Adds the field to the text where the text does not speak of it: for what is refused before anything exists.
    pub(crate) fn naming_the_field(self) -> Self {
        match self {
            Self::Refused { field, reason } => {
                let name = field.rsplit('/').find(|part| !part.is_empty() && part.parse::<usize>().is_err());
                let named = name.is_none_or(|name| reason.to_lowercase().contains(&name.to_lowercase()));
                let reason = if named { reason } else { format!("{reason} ({field})") };
                Self::Refused { field, reason }
            }
            other => other,
        }
    }

    /// The configuration field at fault, where one is known: a JSON pointer.
    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            Self::Refused { field, .. } => Some(field),
            Self::During { source, .. } => source.field(),
            Self::At { field, source, .. } => source.field().or(Some(field)),
            _ => self.told()?.field.as_deref(),
        }
    }

    /// The errno of the system call that failed, where one did.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Sys(error) => Some(error.errno.raw_os_error()),
            Self::Cgroup(error) => error.errno().map(sys::Errno::raw_os_error),
            Self::Seccomp(error) => {
                std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?.raw_os_error()
            }
            Self::During { source, .. } | Self::At { source, .. } => source.errno(),
            _ => self.told()?.errno,
        }
    }

    /// That system call, or what was written where, as the text quotes it.
    pub(crate) fn call(&self) -> Option<String> {
        match self {
            Self::Sys(error) => Some(error.call.clone()),
            Self::Cgroup(error) => error.errno().map(|_| error.to_string()),
            Self::Seccomp(_) => self.errno().map(|_| "seccomp(SECCOMP_SET_MODE_FILTER)".to_owned()),
            Self::During { source, .. } | Self::At { source, .. } => source.call(),
            _ => self.told()?.call.clone(),
        }
    }

    pub(crate) fn told(&self) -> Option<&Told> {
        match self {
            Self::Init(told) | Self::Program(told) => Some(told),
            Self::During { source, .. } | Self::At { source, .. } => source.told(),
            _ => None,
        }
    }

    /// Whether the container's process itself said what went wrong.
    pub(crate) fn is_reported(&self) -> bool {
        match self {
            Self::Init(_) => true,
            Self::During { source, .. } | Self::At { source, .. } => source.is_reported(),
            _ => false,
        }
    }

    /// The whole chain on one line: `act: act: call: errno`.
    pub(crate) fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.downcast_ref().map_or_else(|| error.to_string(), sys::io_error_text);
            // Writing to a String cannot fail.
            let _ = write!(line, ": {text}");
            cause = error.source();
        }
        line
    }
}

/// Adds what was being done to an error on its way up.
pub(crate) trait During<T> {
    fn during(self, act: impl FnOnce() -> String) -> Result<T>;

    /// The same for the part of the configuration at `field`, a JSON pointer.
    fn at(self, field: impl FnOnce() -> String, act: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> During<T> for std::result::Result<T, E> {
    fn during(self, act: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::During { act: act(), source: Box::new(source.into()) })
    }

    fn at(self, field: impl FnOnce() -> String, act: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::At { field: field(), act: act(), source: Box::new(source.into()) })
    }
}
