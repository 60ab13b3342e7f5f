//! What the flags of `checkpoint` and `restore` mean to criu (`criu_opts` of its `images/rpc.proto`).

use std::fs::{DirBuilder, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::Message;
use crate::cli::CriuArgs;
use crate::error::{During as _, Error, Result};
use crate::plan::namespaces::Kind;
use crate::sys::Named as _;

/// The configuration file that criu reads where the container names none.
const CONFIG_FILE: &str = "/etc/criu/runc.conf";
const CONFIG_ANNOTATION: &str = "org.criu.config";
/// criu's second of four levels is warnings; this one is what its users ask for when they report an error.
const LOG_LEVEL: u64 = 4;

/// Where criu writes and reads.
pub(crate) struct Folders {
    pub(crate) images: PathBuf,
    work: Option<PathBuf>,
    pub(crate) log: PathBuf,
}

/// The same open. criu opens them through our descriptors, whose numbers it is told, and mounts in them: so they must be
/// of its own mount namespace.
pub(crate) struct OpenFolders {
    images: OwnedFd,
    work: Option<OwnedFd>,
}

/// Who is to make a directory that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Make,
    Fail,
}

impl Folders {
    /// Makes those that may be made. Paths are those of the working directory of this moment.
    pub(crate) fn find(args: &CriuArgs, missing: Missing, log: &str) -> Result<Self> {
        let absolute = |path: &Path| std::path::absolute(path).named(|| format!("open {}", path.display()));
        let images = absolute(args.image_path.as_deref().unwrap_or(Path::new("checkpoint")))?;
        if missing == Missing::Make {
            make(&images)?;
        }
        let work = args.work_path.as_deref().map(absolute).transpose()?;
        work.as_deref().map_or(Ok(()), make)?;
        let log = work.as_ref().unwrap_or(&images).join(log);
        let folders = Self { images, work, log };
        folders.open()?;
        Ok(folders)
    }

    /// As the calling thread's mount namespace has them.
    pub(crate) fn open(&self) -> Result<OpenFolders> {
        Ok(OpenFolders { images: open(&self.images)?, work: self.work.as_deref().map(open).transpose()? })
    }
}

/// For their owner alone: the memory of the container will be in it.
fn make(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    Ok(made.named(|| format!("mkdir {}", path.display()))?)
}

fn open(path: &Path) -> Result<OwnedFd> {
    Ok(File::open(path).named(|| format!("open {}", path.display()))?.into())
}

/// What both acts have in common.
pub(crate) fn common(args: &CriuArgs, folders: &Folders, config_file: Option<&str>) -> Result<Message> {
    let mut options = Message::default();
    options.text(LOG_FILE, &folders.log.file_name().unwrap_or_default().to_string_lossy());
    options.number(LOG_LEVEL_FIELD, LOG_LEVEL);
    options.number(MANAGE_CGROUPS_MODE, cgroups_mode(&args.manage_cgroups_mode)?);
    options.number(EMPTY_NS, u64::from(empty_namespaces(&args.empty_ns)?.cast_unsigned()));
    // Empty: none at all.
    if let Some(file) = Some(config_file.unwrap_or(CONFIG_FILE)).filter(|file| !file.is_empty()) {
        options.text(CONFIG_FILE_FIELD, file);
    }
    let switches = [
        (MANAGE_CGROUPS, true),
        (NOTIFY_SCRIPTS, true),
        (ORPHAN_PTS_MASTER, true),
        (TCP_ESTABLISHED, args.tcp_established),
        (EXT_UNIX_SK, args.ext_unix_sk),
        (SHELL_JOB, args.shell_job),
        (FILE_LOCKS, args.file_locks),
        (AUTO_DEDUP, args.auto_dedup),
        (LAZY_PAGES, args.lazy_pages),
    ];
    set(&mut options, &switches);
    Ok(options)
}

pub(crate) fn add_folders(options: &mut Message, folders: &OpenFolders) {
    options.number(IMAGES_DIR_FD, number_of(&folders.images));
    if let Some(work) = &folders.work {
        options.number(WORK_DIR_FD, number_of(work));
    }
}

/// The container's root as the host knows it; at a restore it must be a mount.
pub(crate) fn add_root(options: &mut Message, root: &Path) {
    options.text(ROOT, &root.to_string_lossy());
}

/// What a dump needs beside that.
pub(crate) fn add_dump(options: &mut Message, args: &CriuArgs, folders: &Folders, pid: i32) -> Result<()> {
    options.number(PID, u64::from(pid.unsigned_abs()));
    if let Some(parent) = &args.parent_path {
        check_parent(&folders.images, parent)?;
        options.text(PARENT_IMG, &parent.to_string_lossy());
        options.number(TRACK_MEM, 1);
    }
    if !args.page_server.is_empty() {
        options.message(PAGE_SERVER, &page_server(&args.page_server)?);
    }
    let switches = [
        (LEAVE_RUNNING, args.leave_running),
        (TCP_SKIP_IN_FLIGHT, args.tcp_skip_in_flight),
        (LINK_REMAP, args.link_remap),
    ];
    set(options, &switches);
    Ok(())
}

/// What a restore needs beside that.
pub(crate) fn add_restore(options: &mut Message, args: &CriuArgs) {
    // The first process becomes a child of ours, not of criu's.
    set(options, &[(RST_SIBLING, true), (EVASIVE_DEVICES, true)]);
    for (field, text) in [(LSM_PROFILE, &args.lsm_profile), (LSM_MOUNT_CONTEXT, &args.lsm_mount_context)] {
        if !text.is_empty() {
            options.text(field, text);
        }
    }
}

/// A mount that comes from outside: `key` is its place at a dump and its name at a restore, `value` its name at a dump
/// and its source at a restore.
pub(crate) fn add_external_mount(options: &mut Message, (key, value): &(String, String)) {
    options.message(EXT_MNT, &pair(key, value));
}

/// A namespace that criu leaves alone, at a dump: `net[INODE]:NAME`.
pub(crate) fn add_external(options: &mut Message, text: &str) {
    options.text(EXTERNAL, text);
}

/// What to use in place of the file, pipe or namespace called `name`.
pub(crate) fn add_inherited(options: &mut Message, name: &str, number: i32) {
    let mut inherited = Message::default();
    inherited.text(1, name);
    inherited.number(2, u64::from(number.unsigned_abs()));
    options.message(INHERIT_FD, &inherited);
}

pub(crate) fn add_joined_namespace(options: &mut Message, kind: Kind, path: &Path) {
    options.message(JOIN_NS, &pair(kind.file(), &path.to_string_lossy()));
}

/// The cgroup that takes the place of the dumped one; `controller` is empty for version 2.
pub(crate) fn add_cgroup_root(options: &mut Message, controller: &str, path: &str) {
    options.message(CG_ROOT, &pair(controller, path));
}

pub(crate) fn add_freezer(options: &mut Message, cgroup: &Path) {
    options.text(FREEZE_CGROUP, &cgroup.to_string_lossy());
}

/// The name of a namespace that is not criu's affair.
pub(crate) fn external_name(kind: Kind) -> &'static str {
    if kind == Kind::Network { "extRootNetNS" } else { "extRootPidNS" }
}

/// The annotation by which a container has a configuration file of its own.
pub(crate) fn config_file<'a>(
    annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Option<&'a str> {
    let found = annotations.into_iter().find(|(key, _)| *key == CONFIG_ANNOTATION);
    found.map(|(_, file)| file.as_str())
}

fn set(options: &mut Message, switches: &[(u32, bool)]) {
    for (field, _) in switches.iter().filter(|(_, on)| *on) {
        options.number(*field, 1);
    }
}

fn pair(first: &str, second: &str) -> Message {
    let mut pair = Message::default();
    pair.text(1, first);
    pair.text(2, second);
    pair
}

fn number_of(fd: &OwnedFd) -> u64 {
    u64::from(fd.as_raw_fd().unsigned_abs())
}

/// `criu_cg_mode`.
fn cgroups_mode(word: &str) -> Result<u64> {
    match word {
        "ignore" => Ok(0),
        "soft" => Ok(3),
        "full" => Ok(4),
        "strict" => Ok(5),
        "" => Ok(6),
        _ => Err(Error::Usage("invalid manage-cgroups-mode value".into())),
    }
}

/// The network is always left out: its devices are made by others.
fn empty_namespaces(names: &[String]) -> Result<i32> {
    match names.iter().find(|name| *name != "network") {
        Some(other) => Err(Error::Usage(format!("namespace {other:?} is not supported"))),
        None => Ok(Kind::Network.flag()),
    }
}

fn check_parent(images: &Path, parent: &Path) -> Result<()> {
    if parent.is_absolute() {
        return Err(Error::Usage("--parent-path must be relative".into()));
    }
    let path = images.join(parent);
    let found = rustix::fs::open(
        &path,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    found.named(|| format!("stat {}", path.display())).during(|| "invalid --parent-path".into()).map(drop)
}

fn page_server(text: &str) -> Result<Message> {
    let (address, port) = match text.rsplit_once(':') {
        Some((address, port)) if !address.is_empty() && !port.is_empty() => (address, port),
        _ => return Err(Error::Usage("Use --page-server ADDRESS:PORT to specify page server".into())),
    };
    let port: u16 = port.parse().map_err(|_| Error::Usage("Invalid port number".into()))?;
    let mut server = Message::default();
    // Brackets tell the colons of an IPv6 address from the one before the port.
    server.text(1, address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address));
    server.number(2, port.into());
    Ok(server)
}

const IMAGES_DIR_FD: u32 = 1;
const PID: u32 = 2;
const LEAVE_RUNNING: u32 = 3;
const EXT_UNIX_SK: u32 = 4;
const TCP_ESTABLISHED: u32 = 5;
const EVASIVE_DEVICES: u32 = 6;
const SHELL_JOB: u32 = 7;
const FILE_LOCKS: u32 = 8;
const LOG_LEVEL_FIELD: u32 = 9;
const LOG_FILE: u32 = 10;
const PAGE_SERVER: u32 = 11;
const NOTIFY_SCRIPTS: u32 = 12;
const ROOT: u32 = 13;
const PARENT_IMG: u32 = 14;
const TRACK_MEM: u32 = 15;
const AUTO_DEDUP: u32 = 16;
const WORK_DIR_FD: u32 = 17;
const LINK_REMAP: u32 = 18;
const EXT_MNT: u32 = 23;
const MANAGE_CGROUPS: u32 = 24;
const CG_ROOT: u32 = 25;
const RST_SIBLING: u32 = 26;
const INHERIT_FD: u32 = 27;
const MANAGE_CGROUPS_MODE: u32 = 34;
const EXTERNAL: u32 = 37;
const EMPTY_NS: u32 = 38;
const JOIN_NS: u32 = 39;
const FREEZE_CGROUP: u32 = 44;
const TCP_SKIP_IN_FLIGHT: u32 = 46;
const LAZY_PAGES: u32 = 48;
const ORPHAN_PTS_MASTER: u32 = 50;
const CONFIG_FILE_FIELD: u32 = 51;
const LSM_PROFILE: u32 = 53;
const LSM_MOUNT_CONTEXT: u32 = 63;

#[cfg(test)]
mod tests {
    use super::super::message::Fields;
    use super::*;

    fn text(error: &Error) -> String {
        error.line()
    }

    #[test]
    fn page_servers_are_an_address_and_a_port() {
        for (given, address, port) in [("0.0.0.0:27277", "0.0.0.0", 27277), ("[::1]:80", "::1", 80)] {
            let message = page_server(given).unwrap();
            let fields = Fields::parse(message.bytes()).unwrap();
            assert_eq!((fields.text(1), fields.number(2)), (address, port));
        }
        for given in ["host", ":1", "host:"] {
            assert_eq!(
                text(&page_server(given).err().unwrap()),
                "Use --page-server ADDRESS:PORT to specify page server"
            );
        }
        assert_eq!(text(&page_server("a:b").err().unwrap()), "Invalid port number");
    }

    #[test]
    fn what_runc_refuses_is_refused_in_its_words() {
        assert_eq!(text(&cgroups_mode("hard").unwrap_err()), "invalid manage-cgroups-mode value");
        assert_eq!(
            text(&empty_namespaces(&["pid".into()]).unwrap_err()),
            "namespace \"pid\" is not supported"
        );
        let parent = |path: &str| text(&check_parent(Path::new("/dev"), Path::new(path)).unwrap_err());
        assert_eq!(parent("/tmp"), "--parent-path must be relative");
        assert_eq!(parent("none"), "invalid --parent-path: stat /dev/none: no such file or directory");
        assert_eq!(parent("null"), "invalid --parent-path: stat /dev/null: not a directory");
        assert!(check_parent(Path::new("/dev"), Path::new("../dev")).is_ok());
    }

    #[test]
    fn only_what_is_asked_for_is_sent() {
        let folder = std::env::temp_dir();
        let mut args = CriuArgs { image_path: Some(folder.clone()), ..CriuArgs::default() };
        let folders = Folders::find(&args, Missing::Fail, "dump.log").unwrap();
        args.file_locks = true;
        let mut sent = common(&args, &folders, Some("")).unwrap();
        add_root(&mut sent, Path::new("/r"));
        let fields = Fields::parse(sent.bytes()).unwrap();
        assert_eq!((fields.number(FILE_LOCKS), fields.number(SHELL_JOB), fields.text(ROOT)), (1, 0, "/r"));
        assert_eq!((fields.number(MANAGE_CGROUPS_MODE), fields.text(CONFIG_FILE_FIELD)), (6, ""));
        assert_eq!(fields.text(LOG_FILE), "dump.log");
        assert_eq!(folders.log, folder.join("dump.log"));
        let sent = common(&args, &folders, None).unwrap();
        assert_eq!(Fields::parse(sent.bytes()).unwrap().text(CONFIG_FILE_FIELD), CONFIG_FILE);
    }
}
