//! A dump: the state of a running container's processes, written by criu to a directory of images.
//!
//! Beside criu's images it holds `descriptors.json`, in runc's form: what stdin, stdout and stderr were, so that
//! `restore` puts the pipes of its caller in their place.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, OFlags};

use knarr_cgroups::{Driver, Hierarchies};

use crate::cli::CriuArgs;
use crate::container::Container;
use crate::criu::options::{self, Folders, Missing};
use crate::criu::{Act, Criu, Feature, Message, quote_errors};
use crate::error::{Error, Result};
use crate::fds::Passed;
use crate::plan::ids::Ids;
use crate::plan::mounts::{Pivot, Place, RootfsPlan};
use crate::plan::namespaces::{Kind, Namespaces};
use crate::rootfs::{CgroupView, Externals};
use crate::spec;
use crate::sys::descriptors::close_number;
use crate::sys::files::open_at;
use crate::sys::{self, Named as _};
use crate::{log, notify_socket};

/// In the directory of the images.
pub(crate) const DESCRIPTORS: &str = "descriptors.json";

/// Dumps a container that has a process. After a failure it runs on.
pub(crate) fn dump(container: &Container, state_directory: &Path, args: &CriuArgs) -> Result<()> {
    let was_frozen = container.cgroup().is_frozen()?;
    let folders = Folders::find(args, Missing::Make, "dump.log")?;
    let mut options = options_of(container, state_directory, args, &folders)?;
    let open = folders.open()?;
    options::add_folders(&mut options, &open);
    Passed::default().hide_the_rest()?;
    let criu = Criu::start(&[])?;
    if args.pre_dump {
        criu.require_feature(Feature::MemTrack)?;
    }
    let mut ready = None;
    if args.lazy_pages {
        criu.require_feature(Feature::LazyPages)?;
        ready = args.status_fd.map(StatusFd::take).transpose()?;
    }
    let act = if args.pre_dump { Act::PreDump } else { Act::Dump };
    let dumped = criu.carry_out(act, &options, &mut |notice| {
        if notice.stage == "status-ready" { ready.take().map_or(Ok(()), StatusFd::tell) } else { Ok(()) }
    });
    if dumped.is_err() {
        quote_errors(&folders.log);
        if !was_frozen {
            // A criu that was killed could not do it; the first error stays the answer.
            let thawed = container.thaw();
            thawed.unwrap_or_else(|error| log::warn(format_args!("{}", error.line())));
        }
    }
    dumped
}

fn options_of(
    container: &Container,
    state_directory: &Path,
    args: &CriuArgs,
    folders: &Folders,
) -> Result<Message> {
    let record = &container.record;
    let annotations = record.annotations();
    let mut options = options::common(args, folders, options::config_file(&annotations))?;
    options::add_root(&mut options, &record.config.rootfs);
    options::add_dump(&mut options, args, folders, record.init_process_pid)?;
    for kind in [Kind::Network, Kind::Pid] {
        add_external_namespace(&mut options, container, kind)?;
    }
    let paths = &record.cgroup_paths;
    if let Some(cgroup) = paths.get("freezer").or(paths.get("")) {
        options::add_freezer(&mut options, cgroup);
    }
    // Before the last dump only memory is written.
    if !args.pre_dump {
        for mount in externals(container, state_directory)? {
            options::add_external_mount(&mut options, &mount);
        }
        write_descriptors(&folders.images, &record.external_descriptors)?;
    }
    Ok(options)
}

/// A namespace that the container was given by path stays as it is; criu notes its name alone.
fn add_external_namespace(options: &mut Message, container: &Container, kind: Kind) -> Result<()> {
    let Some(path) = container.record.joined_namespace(kind) else { return Ok(()) };
    let data = std::fs::metadata(path).named(|| format!("stat {}", path.display()))?;
    let text = format!("{}[{}]:{}", kind.file(), data.ino(), options::external_name(kind));
    options::add_external(options, &text);
    Ok(())
}

/// The mounts of the container that come from outside.
fn externals(container: &Container, state_directory: &Path) -> Result<Vec<(String, String)>> {
    let record = &container.record;
    let mut spec = container.spec()?;
    spec.mounts.extend(notify_socket::mount_of(state_directory));
    let none = spec::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&none);
    let namespaces = Namespaces::plan(linux)?;
    let ids = Ids::plan(linux, &namespaces)?;
    let plan = RootfsPlan::new(
        &spec,
        &Place {
            bundle: record.bundle(),
            rootfs: &record.config.rootfs,
            pivot: Pivot::Use,
            rootless: false,
            namespaces: &namespaces,
            ids: &ids,
        },
    )?;
    let hierarchies = Hierarchies::discover()?;
    let cgroup = CgroupView {
        hierarchies: &hierarchies,
        paths: &record.cgroup_paths,
        namespace: namespaces.has(Kind::Cgroup),
        user_namespace: namespaces.has(Kind::User),
        driver: Driver::default(),
        rootless: false,
    };
    Externals { plan: &plan, cgroup: &cgroup }.of_container(open_root(container)?)
}

/// The root as the container's first process has it.
fn open_root(container: &Container) -> Result<OwnedFd> {
    let path = format!("/proc/{}/root", container.record.init_process_pid);
    let root = open_at(CWD, &path, OFlags::PATH | OFlags::DIRECTORY)?;
    // Only if that number was still the container's.
    container.init()?.ok_or(Error::NotRunning)?;
    Ok(root)
}

fn write_descriptors(images: &Path, descriptors: &[String]) -> Result<()> {
    let json = serde_json::to_vec(descriptors)
        .map_err(|source| Error::Json { what: format!("write {DESCRIPTORS}"), source })?;
    let path = images.join(DESCRIPTORS);
    Ok(std::fs::write(&path, json).named(|| format!("write {}", path.display()))?)
}

/// Where somebody waits for word that memory can be fetched.
struct StatusFd {
    /// The number that the caller gave.
    number: u32,
    copy: OwnedFd,
}

impl StatusFd {
    fn take(number: u32) -> Result<Self> {
        let invalid = || format!("invalid --status-fd argument {number}");
        let own = sys::pidfd_open(rustix::process::getpid())?;
        // A number too large for a descriptor is none.
        let copy = sys::pidfd_getfd(own.as_fd(), i32::try_from(number).unwrap_or(i32::MAX))
            .map_err(|error| sys::Error { call: invalid(), ..error })?;
        let flags = rustix::fs::fcntl_getfl(&copy).named(invalid)?;
        if !flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
            return Err(Error::Usage(format!("{}: not writable", invalid())));
        }
        Ok(Self { number, copy })
    }

    /// Who waits for the end gets that too.
    fn tell(self) -> Result<()> {
        sys::retry(|| rustix::io::write(&self.copy, &[0])).named(|| "write(--status-fd)".into())?;
        Ok(close_number(self.number)?)
    }
}
