//! The outside of a restore: what a container has before its first process is made as for `create`, then criu makes
//! the processes in it, as children of this one.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use knarr_cgroups::Already;
use rustix::process::Pid;

use super::{Made, Making};
use crate::checkpoint::DESCRIPTORS;
use crate::cli::{CriuArgs, Globals};
use crate::criu::options::{self, Folders, Missing, OpenFolders};
use crate::criu::{Act, Criu, Message, Notice, quote_errors};
use crate::design::Design;
use crate::error::{Error, Result};
use crate::fds::Passed;
use crate::log;
use crate::namespaces::Visit;
use crate::plan::hooks::Stage;
use crate::plan::namespaces::Kind;
use crate::record::{self, Record};
use crate::rootfs::{CriuRoot, Externals};
use crate::spawn::Child;
use crate::spec;
use crate::sys::files::exists;
use crate::sys::{self, Named as _};
use crate::unix_socket;

/// From this version on the profile that is given is the one that is used.
const WITH_LSM: i32 = 31_600;

/// The images, before the working directory becomes the bundle.
pub(crate) fn find_images(args: &CriuArgs) -> Result<Folders> {
    Folders::find(args, Missing::Fail, "restore.log")
}

/// Makes a container whose processes run. On failure nothing is left of it.
pub(crate) fn restore(
    globals: &Globals,
    args: &CriuArgs,
    design: &Design,
    folders: &Folders,
) -> Result<Made> {
    let console = args.container.console_socket.as_deref().map(unix_socket::connect_to).transpose()?;
    Passed::default().hide_the_rest()?;
    let config_file = options::config_file(&design.bundle.spec.annotations);
    let mut options = options::common(args, folders, config_file)?;
    options::add_restore(&mut options, args);
    add_pipes(&mut options, folders)?;
    let inherited = add_namespaces(&mut options, design)?;
    let making = Making::new(globals, &args.container, design)?;
    let made = making.run(|making| {
        let mut record = making.lay_foundation()?;
        let (criu, _open) = making.start_criu(&mut options, folders, &inherited)?;
        drop(inherited);
        if !(args.lsm_profile.is_empty() && args.lsm_mount_context.is_empty()) {
            criu.require(WITH_LSM)?;
        }
        making.join_cgroups(criu.pid(), Already::Nowhere)?;
        add_cgroup_roots(&mut options, criu.pid())?;
        let mut restored = Restored { making, record: &mut record, console, terminal: None };
        let result = criu.carry_out(Act::Restore, &options, &mut |notice| restored.take(notice));
        let terminal = restored.terminal.take();
        result.inspect_err(|_| quote_errors(&folders.log))?;
        making.dir.remove_criu_root()?;
        making.announce(None)?;
        Ok((record, terminal, ()))
    });
    made.map(|(made, ())| made)
}

/// Answers criu's notices.
struct Restored<'r, 'm> {
    making: &'r mut Making<'m>,
    record: &'r mut Record,
    console: Option<OwnedFd>,
    /// The master side, where nobody else is to get it.
    terminal: Option<OwnedFd>,
}

impl Restored<'_, '_> {
    fn take(&mut self, notice: Notice<'_>) -> Result<()> {
        match (notice.stage, notice.fd) {
            ("setup-namespaces", _) => {
                self.making.adopt(notice.pid)?;
                self.making.run_hooks(Stage::Prestart)?;
                self.making.run_hooks(Stage::CreateRuntime)
            }
            ("post-restore", _) => {
                self.making.adopt(notice.pid)?;
                self.note_time_namespace();
                // What it was given; its own may be others by now.
                self.making.record_init(self.record, "/proc/self/fd")
            }
            ("orphan-pts-master", Some(master)) => self.hand_over(master),
            _ => Ok(()),
        }
    }

    fn hand_over(&mut self, master: OwnedFd) -> Result<()> {
        if let Some(socket) = &self.console {
            return unix_socket::send(socket.as_fd(), master.as_fd(), b"orphan-pts-master");
        }
        self.terminal = Some(master);
        Ok(())
    }

    /// criu restores into one, so that the clocks of the processes go on; `exec` has to join it.
    fn note_time_namespace(&mut self) {
        if !self.record.has_namespace(Kind::Time) && exists("/proc/self/ns/time") {
            let kind = Kind::Time.state_key().into();
            self.record.config.namespaces.push(record::Namespace { kind, path: "".into() });
        }
    }
}

impl Making<'_> {
    /// In a mount namespace that is criu's alone, so that nothing of this has to be undone, however it ends.
    fn start_criu(
        &self,
        options: &mut Message,
        folders: &Folders,
        inherited: &[OwnedFd],
    ) -> Result<(Criu, OpenFolders)> {
        let root = CriuRoot(self.dir.make_criu_root()?);
        options::add_root(options, &root.root());
        let mut visit = Visit::default();
        visit.new_mount()?;
        let started = self.add_externals(options, &root).and_then(|()| {
            let open = folders.open()?;
            options::add_folders(options, &open);
            Ok((Criu::start(inherited)?, open))
        });
        visit.leave()?;
        started
    }

    fn add_externals(&self, options: &mut Message, root: &CriuRoot) -> Result<()> {
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        let externals = Externals { plan: &self.design.plan.rootfs, cgroup: &self.cgroup_view(cgroup) };
        for mount in externals.prepare(root)? {
            options::add_external_mount(options, &mount);
        }
        Ok(())
    }

    /// Takes the first process, which criu has made ours.
    fn adopt(&mut self, number: i32) -> Result<()> {
        if self.child.is_none() {
            let pid = Pid::from_raw(number.max(0)).ok_or_else(Self::death)?;
            self.child = Some(Child { pid, pidfd: sys::pidfd_open(pid)? });
        }
        Ok(())
    }
}

/// The pipes of a dumped container's stdio are replaced by our own stdio, which criu has at the same numbers.
fn add_pipes(options: &mut Message, folders: &Folders) -> Result<()> {
    let path = folders.images.join(DESCRIPTORS);
    let json = std::fs::read(&path).named(|| format!("open {}", path.display()))?;
    let descriptors: Vec<String> = spec::parse(&json)
        .map_err(|source| Error::Json { what: format!("read {}", path.display()), source })?;
    for (number, name) in (0..3).zip(&descriptors) {
        if name.starts_with("pipe:") {
            options::add_inherited(options, name, number);
        }
    }
    Ok(())
}

/// The namespaces that config.json names by path. Those that criu leaves alone are handed to it open.
fn add_namespaces(options: &mut Message, design: &Design) -> Result<Vec<OwnedFd>> {
    let mut inherited = Vec::new();
    for join in &design.plan.namespaces.join {
        match join.kind {
            Kind::Network | Kind::Pid => {
                let file = File::open(&join.path).named(|| format!("open {}", join.path.display()));
                let file = file.map_err(|error| {
                    let text = format!(
                        "Requested {} namespace {} does not exist",
                        join.kind.name(),
                        join.path.display()
                    );
                    log::debug(format_args!("{error}"));
                    Error::refused(&join.field, text)
                })?;
                options::add_inherited(options, options::external_name(join.kind), file.as_raw_fd());
                inherited.push(file.into());
            }
            Kind::Cgroup => {
                return Err(Error::refused(&join.field, "Do not know how to handle namespace NEWCGROUP"));
            }
            kind => options::add_joined_namespace(options, kind, &join.path),
        }
    }
    Ok(inherited)
}

/// Where criu itself is by now: what was in the dumped cgroup goes there.
fn add_cgroup_roots(options: &mut Message, criu: Pid) -> Result<()> {
    let path = format!("/proc/{criu}/cgroup");
    let text = std::fs::read_to_string(&path).named(|| format!("read {path}"))?;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        if let (Some(controllers), Some(cgroup)) = (parts.next(), parts.next()) {
            controllers.split(',').for_each(|name| options::add_cgroup_root(options, name, cgroup));
        }
    }
    Ok(())
}
