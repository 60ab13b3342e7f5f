//! The arguments of `create` and `run`.

use std::path::PathBuf;

use super::flag::Flag;
use super::scan::Stop;
use super::verb::{Count, Manual, Verb};

/// Paths are as given: relative ones are relative to the caller's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CreateArgs {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    /// crun's `--config`: read instead of the bundle's `config.json`.
    pub(crate) config: Option<PathBuf>,
    /// Gets the master of the container's terminal.
    pub(crate) console_socket: Option<PathBuf>,
    /// Gets a pidfd of the container's first process.
    pub(crate) pidfd_socket: Option<PathBuf>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    /// How many descriptors after stdio and `$LISTEN_FDS` the program gets.
    pub(crate) preserve_fds: u32,
    /// `run` alone, as the next two. containerd may send it to `create`, where it changes nothing.
    pub(crate) detach: bool,
    /// Leave the stopped container for `delete`.
    pub(crate) keep: bool,
    pub(crate) no_subreaper: bool,
}

impl Default for CreateArgs {
    fn default() -> Self {
        Self {
            bundle: ".".into(),
            id: String::new(),
            config: None,
            console_socket: None,
            pidfd_socket: None,
            pid_file: None,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            detach: false,
            keep: false,
            no_subreaper: false,
        }
    }
}

pub(super) const CREATE: Verb<CreateArgs> = Verb {
    manual: Manual {
        name: "create",
        summary: "create a container",
        arguments: "<container-id>",
        about: "Makes everything of the container that the bundle's config.json describes, up to the point where\n\
                its program would run; 'start' lets it run.",
    },
    flags: &[BOTH, CREATE_ALONE],
    count: Count::Exactly(1),
    stop: Stop::Never,
    take,
};

pub(super) const RUN: Verb<CreateArgs> = Verb {
    manual: Manual {
        name: "run",
        summary: "create and run a container",
        arguments: "<container-id>",
        about: "Does what 'create' and 'start' do, waits for the program, deletes the container and exits with the\n\
                program's status. With --detach it does not wait.",
    },
    flags: &[BOTH, RUN_ALONE],
    count: Count::Exactly(1),
    stop: Stop::Never,
    take,
};

fn take(args: &mut CreateArgs, positional: &[&str]) {
    args.id = positional[0].into();
}

/// An empty path stands for none, as in Go.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

pub(super) fn parse_fd_count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|error: std::num::ParseIntError| error.to_string())
}

const BOTH: &[Flag<CreateArgs>] = &[
    Flag::text(
        &["bundle", "b"],
        |a, text| a.bundle = path(text).unwrap_or(".".into()),
        "directory of the bundle (default: the current one)",
    ),
    Flag::text(
        &["config", "f"],
        |a, text| a.config = path(text),
        "read this file instead of the bundle's config.json",
    ),
    Flag::text(
        &["console-socket"],
        |a, text| a.console_socket = path(text),
        "unix socket that gets the master end of the container's terminal",
    ),
    Flag::text(
        &["pidfd-socket"],
        |a, text| a.pidfd_socket = path(text),
        "unix socket that gets a pidfd of the container's first process",
    ),
    Flag::text(&["pid-file"], |a, text| a.pid_file = path(text), "file to write the process id to"),
    Flag::switch(
        &["no-pivot"],
        |a, on| a.no_pivot = on,
        "change the root without pivot_root, for a root filesystem in a ramdisk",
    ),
    Flag::switch(
        &["no-new-keyring"],
        |a, on| a.no_new_keyring = on,
        "keep the caller's session keyring instead of making one for the container",
    ),
    Flag::parsed(
        &["preserve-fds"],
        |a, text| parse_fd_count(text).map(|n| a.preserve_fds = n),
        "pass this many more descriptors to the program, after stdio and $LISTEN_FDS (default: 0)",
    ),
];

const CREATE_ALONE: &[Flag<CreateArgs>] = &[
    Flag::switch(&["detach", "d"], |a, on| a.detach = on, ""),
    Flag::switch(&["no-subreaper"], |a, on| a.no_subreaper = on, ""),
];

const RUN_ALONE: &[Flag<CreateArgs>] = &[
    Flag::switch(&["detach", "d"], |a, on| a.detach = on, "do not wait for the program"),
    Flag::switch(&["keep"], |a, on| a.keep = on, "leave the container when the program has ended"),
    Flag::switch(
        &["no-subreaper"],
        |a, on| a.no_subreaper = on,
        "do not become the parent of the container's orphans",
    ),
];
