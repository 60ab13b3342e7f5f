//! The arguments of `checkpoint` and `restore`.

use std::path::PathBuf;

use super::create::{CreateArgs, path};
use super::flag::Flag;
use super::scan::Stop;
use super::verb::{Count, Manual, Verb};

/// Paths are as given: relative ones are relative to the caller's directory. What a flag may say is checked by those
/// who use it, as runc does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CriuArgs {
    /// The container; `checkpoint` knows its id alone.
    pub(crate) container: CreateArgs,
    /// `checkpoint` in the working directory if none.
    pub(crate) image_path: Option<PathBuf>,
    pub(crate) work_path: Option<PathBuf>,
    pub(crate) tcp_established: bool,
    pub(crate) ext_unix_sk: bool,
    pub(crate) shell_job: bool,
    pub(crate) file_locks: bool,
    pub(crate) auto_dedup: bool,
    pub(crate) lazy_pages: bool,
    /// Empty: criu's default.
    pub(crate) manage_cgroups_mode: String,
    pub(crate) empty_ns: Vec<String>,

    // Of `checkpoint` alone.
    /// Relative to the directory of the images.
    pub(crate) parent_path: Option<PathBuf>,
    pub(crate) leave_running: bool,
    pub(crate) pre_dump: bool,
    pub(crate) tcp_skip_in_flight: bool,
    pub(crate) link_remap: bool,
    pub(crate) status_fd: Option<u32>,
    /// `ADDRESS:PORT`.
    pub(crate) page_server: String,

    // Of `restore` alone.
    pub(crate) lsm_profile: String,
    pub(crate) lsm_mount_context: String,
}

pub(super) const CHECKPOINT: Verb<CriuArgs> = Verb {
    manual: Manual {
        name: "checkpoint",
        summary: "checkpoint a running container",
        arguments: "<container-id>",
        about: "Writes the state of the container's processes to a directory by means of criu(8), and deletes the\n\
                container unless it is to go on.",
    },
    flags: &[BOTH, CHECKPOINT_ALONE],
    count: Count::Exactly(1),
    stop: Stop::Never,
    take,
};

pub(super) const RESTORE: Verb<CriuArgs> = Verb {
    manual: Manual {
        name: "restore",
        summary: "restore a container from a previous checkpoint",
        arguments: "<container-id>",
        about: "Makes a container of the bundle whose processes go on where 'checkpoint' found them, and stands in for\n\
                it as 'run' does.",
    },
    flags: &[BOTH, RESTORE_ALONE],
    count: Count::Exactly(1),
    stop: Stop::Never,
    take,
};

fn take(args: &mut CriuArgs, positional: &[&str]) {
    args.container.id = positional[0].into();
}

/// -1 stands for none, as in runc.
fn parse_fd(args: &mut CriuArgs, text: &str) -> Result<(), String> {
    args.status_fd = match text {
        "-1" => None,
        text => Some(text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?),
    };
    Ok(())
}

const BOTH: &[Flag<CriuArgs>] = &[
    Flag::text(
        &["image-path"],
        |a, text| a.image_path = path(text),
        "directory of the image files (default: ./checkpoint)",
    ),
    Flag::text(
        &["work-path"],
        |a, text| a.work_path = path(text),
        "directory of criu's log and statistics (default: that of the images)",
    ),
    Flag::switch(&["tcp-established"], |a, on| a.tcp_established = on, "allow open TCP connections"),
    Flag::switch(&["ext-unix-sk"], |a, on| a.ext_unix_sk = on, "allow unix sockets connected to the outside"),
    Flag::switch(
        &["shell-job"],
        |a, on| a.shell_job = on,
        "allow a session whose leader or terminal is outside of the container",
    ),
    Flag::switch(&["file-locks"], |a, on| a.file_locks = on, "allow file locks"),
    Flag::text(
        &["manage-cgroups-mode"],
        |a, text| a.manage_cgroups_mode = text.into(),
        "what criu does about cgroups: soft, full, strict or ignore (default: soft)",
    ),
    Flag::text(
        &["empty-ns"],
        |a, text| a.empty_ns.push(text.into()),
        "make this namespace but leave out what is in it; the only one is network, which always is so",
    ),
    Flag::switch(
        &["auto-dedup"],
        |a, on| a.auto_dedup = on,
        "remove pages from parent images that newer ones replace",
    ),
    Flag::switch(&["lazy-pages"], |a, on| a.lazy_pages = on, "fetch memory when it is needed (userfaultfd)"),
];

const CHECKPOINT_ALONE: &[Flag<CriuArgs>] = &[
    Flag::text(
        &["parent-path"],
        |a, text| a.parent_path = path(text),
        "directory of the images of an earlier --pre-dump, relative to --image-path",
    ),
    Flag::switch(&["leave-running"], |a, on| a.leave_running = on, "let the container go on"),
    Flag::switch(
        &["pre-dump"],
        |a, on| a.pre_dump = on,
        "write the memory alone, and let the container go on",
    ),
    Flag::switch(
        &["tcp-skip-in-flight"],
        |a, on| a.tcp_skip_in_flight = on,
        "leave out TCP connections that are not established yet",
    ),
    Flag::switch(
        &["link-remap"],
        |a, on| a.link_remap = on,
        "give files that were unlinked a name for the time being, where possible",
    ),
    Flag::parsed(&["status-fd"], parse_fd, "descriptor that gets a zero byte when --lazy-pages is ready"),
    Flag::text(
        &["page-server"],
        |a, text| a.page_server = text.into(),
        "ADDRESS:PORT of the page server that gets the memory",
    ),
];

const RESTORE_ALONE: &[Flag<CriuArgs>] = &[
    Flag::text(
        &["bundle", "b"],
        |a, text| a.container.bundle = path(text).unwrap_or(".".into()),
        "directory of the bundle (default: the current one)",
    ),
    Flag::text(
        &["console-socket"],
        |a, text| a.container.console_socket = path(text),
        "unix socket that gets the master end of the container's terminal",
    ),
    Flag::text(&["pid-file"], |a, text| a.container.pid_file = path(text), "file to write the process id to"),
    Flag::switch(&["detach", "d"], |a, on| a.container.detach = on, "do not wait for the program"),
    Flag::switch(
        &["no-subreaper"],
        |a, on| a.container.no_subreaper = on,
        "do not become the parent of the container's orphans",
    ),
    Flag::switch(
        &["no-pivot"],
        |a, on| a.container.no_pivot = on,
        "accepted; criu changes the root its own way",
    ),
    Flag::text(
        &["lsm-profile"],
        |a, text| a.lsm_profile = text.into(),
        "TYPE:NAME of the profile to restore with instead of the one of the checkpoint",
    ),
    Flag::text(
        &["lsm-mount-context"],
        |a, text| a.lsm_mount_context = text.into(),
        "SELinux context of mounts instead of the one of the checkpoint",
    ),
];
