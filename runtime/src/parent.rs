//! The outside of creation: from a design to a process that needs only execve, and the way back when that fails.
//!
//! The order: state directory, cgroup, host-side sources, clone; then init's reports are served (see
//! `protocol`) while cgroups are joined and limits set, which init does not wait for until it must. What exists is on
//! record before it exists, so that `delete` can remove it whenever this process is killed.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use knarr_cgroups::rdt::ResctrlGroup;
use knarr_cgroups::{Already, Cgroup, Driver, Request};
use knarr_seccomp::notify;
use rustix::process::Pid;

mod restore;

pub(crate) use restore::{find_images, restore};

use crate::affinity;
use crate::caught_signals::Signals;
use crate::cli::{CreateArgs, Globals};
use crate::container::Container;
use crate::design::Design;
use crate::error::{During, Error, Result};
use crate::fds::{ListenVariables, Passed};
use crate::hooks::{self, Environment};
use crate::idmap::Caller;
use crate::init::{self, Building, Scene, Start};
use crate::notify_socket::Manager;
use crate::plan::hooks::Stage;
use crate::plan::namespaces::Kind;
use crate::process_id::ProcessId;
use crate::protocol::{Order, ParentEnd, Report};
use crate::record::{self, Record};
use crate::rootfs::{self, CgroupView};
use crate::spawn::{Birth, Child};
use crate::store::{StateDir, Store};
use crate::sys::Errno;
use crate::{
    launch, log, net_devices, oom, pid_file, pidfd_socket, rlimits, seccomp, timestamp, unix_socket,
};

/// What becomes of the process once it is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// `create`: it waits at the gate, and this process goes.
    Create,
    /// `run`: this process starts it, and may have blocked signals to pass them on.
    Run(Option<&'a Signals>),
}

/// A container whose first process needs only to be started.
pub(crate) struct Made {
    pub(crate) store: Store,
    pub(crate) container: Container,
    pub(crate) child: Child,
    /// The master side, for `run` with a terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Makes a container from its design. On failure nothing is left of it.
pub(crate) fn make(
    globals: &Globals,
    args: &CreateArgs,
    design: &Design,
    purpose: Purpose<'_>,
) -> Result<(Made, ParentEnd)> {
    let outside = Outside {
        console: args.console_socket.as_deref().map(unix_socket::connect_to).transpose()?,
        pidfd_socket: args.pidfd_socket.as_deref().map(pidfd_socket::connect).transpose()?,
        passed: Passed::check(args.preserve_fds, &ListenVariables::from_environment())?,
    };
    outside.passed.hide_the_rest()?;
    let agent = seccomp::prepare(design.plan.seccomp.as_ref())?;
    let net_devices = net_devices::inspect(&design.plan.net_devices)?;
    let making = Making { net_devices, agent, ..Making::new(globals, args, design)? };
    making.run(|making| making.steps(purpose, outside))
}

/// What the caller brought.
struct Outside {
    console: Option<OwnedFd>,
    pidfd_socket: Option<OwnedFd>,
    passed: Passed,
}

/// A container half made: what exists so far.
struct Making<'a> {
    globals: &'a Globals,
    args: &'a CreateArgs,
    design: &'a Design,
    /// Whether a lack of permission for cgroups is to be tolerated.
    rootless: bool,
    net_devices: Vec<net_devices::Found>,
    /// The seccomp agent, until the listener goes there.
    agent: Option<notify::Agent>,
    store: Store,
    dir: StateDir,
    cgroup: Option<Cgroup>,
    child: Option<Child>,
}

impl<'a> Making<'a> {
    /// Takes the id.
    fn new(globals: &'a Globals, args: &'a CreateArgs, design: &'a Design) -> Result<Self> {
        let store = Store::open_or_make(&globals.root.path)?;
        Ok(Self {
            globals,
            args,
            design,
            rootless: globals.rootless(),
            net_devices: Vec::new(),
            agent: None,
            dir: store.create(&args.id)?,
            store,
            cgroup: None,
            child: None,
        })
    }

    /// What `steps` make, or nothing: the record, the terminal's master side if it is left, and whatever else.
    fn run<T>(
        mut self,
        steps: impl FnOnce(&mut Self) -> Result<(Record, Option<OwnedFd>, T)>,
    ) -> Result<(Made, T)> {
        let made = steps(&mut self).and_then(|made| Ok((made, self.child.take().ok_or_else(Self::death)?)));
        match made {
            Ok(((record, terminal, more), child)) => {
                let container = Container { dir: self.dir, record };
                Ok((Made { store: self.store, container, child, terminal }, more))
            }
            Err(error) => {
                self.undo();
                Err(error)
            }
        }
    }

    fn steps(
        &mut self,
        purpose: Purpose<'_>,
        outside: Outside,
    ) -> Result<(Record, Option<OwnedFd>, ParentEnd)> {
        let mut record = self.lay_foundation()?;
        let end = self.spawn(purpose, outside.console, outside.passed)?;
        let starting = || "unable to start container process".to_owned();
        let served = self.settle(&end).and_then(|()| self.serve(&end, &mut record));
        let terminal = served.map_err(|error| self.cause(&end, error)).during(starting)?;
        self.announce(outside.pidfd_socket)?;
        Ok((record, terminal, end))
    }

    /// What there is before the first process.
    fn lay_foundation(&mut self) -> Result<Record> {
        let record = self.prepare_cgroup()?;
        self.dir.write_config(&self.design.bundle.raw)?;
        self.dir.write_state(&record.to_json()?)?;
        self.create_cgroup()?;
        self.create_rdt()?;
        self.design.manager.as_ref().map_or(Ok(()), Manager::make_directory)?;
        Ok(record)
    }

    /// Chooses the cgroup and puts it on record. Deleting the container will kill what is in it: so it must be empty.
    fn prepare_cgroup(&mut self) -> Result<Record> {
        let spec = &self.design.bundle.spec;
        let annotations: Vec<(&str, &str)> =
            spec.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let request = Request {
            id: &self.args.id,
            cgroups_path: spec.linux.as_ref().map_or("", |linux| linux.cgroups_path.as_str()),
            driver: self.globals.cgroup_driver,
            rootless: self.rootless,
            scope_prefix: self.globals.program.name(),
            annotations: &annotations,
        };
        let cgroup = Cgroup::locate(&self.design.host.hierarchies, &request)?;
        let processes = cgroup.all_processes()?.len();
        if processes > 0 {
            let text = format!("container's cgroup is not empty: {processes} process(es) found");
            return Err(Error::refused("/linux/cgroupsPath", text));
        }
        if cgroup.is_frozen()? {
            return Err(Error::refused("/linux/cgroupsPath", "container's cgroup unexpectedly frozen"));
        }
        let record = self.record(&cgroup);
        self.cgroup = Some(cgroup);
        Ok(record)
    }

    fn create_cgroup(&mut self) -> Result<()> {
        let Some(cgroup) = &mut self.cgroup else { return Ok(()) };
        cgroup.create(&self.design.plan.limits).during(|| "unable to apply cgroup configuration".into())?;
        if cgroup.paths().is_empty() && !self.design.plan.namespaces.is_new(Kind::Pid) {
            log::warn(format_args!(
                "a container with neither a cgroup nor a pid namespace of its own cannot be killed as a whole. Such \
                 configuration is strongly discouraged"
            ));
        }
        Ok(())
    }

    fn create_rdt(&self) -> Result<()> {
        let config = self.design.bundle.spec.linux.as_ref().and_then(|linux| linux.intel_rdt.as_ref());
        let (Some(group), Some(config)) = (&self.design.rdt, config) else { return Ok(()) };
        group.create(config).during(|| "unable to apply Intel RDT configuration".into())
    }

    /// The container on record, without a process yet.
    fn record(&self, cgroup: &Cgroup) -> Record {
        let Design { bundle, plan, host, rdt, .. } = self.design;
        let (rdt, none) = (rdt.as_ref(), Path::new(""));
        let rootless = host.caller != Caller::Privileged;
        let namespaces = Kind::all().filter(|kind| plan.namespaces.has(*kind));
        let joined = |kind| plan.namespaces.join.iter().find(|join| join.kind == kind);
        let annotations = bundle.spec.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Record {
            id: self.args.id.clone(),
            init_process_pid: 0,
            init_process_start: 0,
            created: timestamp::rfc3339(timestamp::since_epoch()),
            config: record::Config {
                rootfs: plan.rootfs.path.clone(),
                namespaces: namespaces
                    .map(|kind| record::Namespace {
                        kind: kind.state_key().into(),
                        path: joined(kind).map(|join| join.path.clone()).unwrap_or_default(),
                    })
                    .collect(),
                version: bundle.spec.oci_version.clone(),
                labels: record::labels(&bundle.dir.to_string_lossy(), annotations),
                cgroups: record::Cgroups {
                    systemd: self.globals.cgroup_driver == Driver::Systemd,
                    rootless: self.rootless,
                    ..record::Cgroups::default()
                },
                hooks: record::hooks_for_runc(bundle.spec.hooks.as_ref()),
                rootless_euid: rootless,
                rootless_cgroups: self.rootless,
            },
            rootless,
            cgroup_paths: cgroup.paths().clone(),
            namespace_paths: BTreeMap::new(),
            external_descriptors: Vec::new(),
            intel_rdt_path: rdt.map_or(none, ResctrlGroup::path).to_owned(),
            intel_rdt_mon_path: rdt.and_then(ResctrlGroup::monitoring_path).unwrap_or(none).to_owned(),
        }
    }

    /// Clones init, which has everything it needs by then.
    fn spawn(&mut self, purpose: Purpose<'_>, console: Option<OwnedFd>, passed: Passed) -> Result<ParentEnd> {
        let Design { bundle, plan, host, .. } = self.design;
        let cgroup = self
            .cgroup
            .as_ref()
            .ok_or_else(|| Error::WrongState("the container has no cgroup yet".into()))?;
        let scene = Scene {
            id: &self.args.id,
            bundle: &bundle.dir,
            spec: &bundle.spec,
            plan,
            caller: host.caller,
            net_devices: &self.net_devices,
            start: match purpose {
                Purpose::Create => Start::Gate(self.dir.create_gate()?),
                Purpose::Run(signals) => Start::Channel(signals),
            },
            console,
            passed,
        };
        let building = Building { cgroup: self.cgroup_view(cgroup), sources: rootfs::prepare(&plan.rootfs)? };
        let birth = Birth {
            namespaces: &plan.namespaces,
            ids: &plan.ids,
            caller: host.caller,
            cgroup: cgroup.clone_dir(),
        };
        let (child, end) = birth
            .spawn(|end| init::run(&scene, building, end))
            .during(|| "unable to start container process".into())?;
        self.child = Some(child);
        Ok(end)
    }

    fn cgroup_view<'c>(&'c self, cgroup: &'c Cgroup) -> CgroupView<'c> {
        CgroupView {
            hierarchies: &self.design.host.hierarchies,
            paths: cgroup.paths(),
            namespace: self.design.plan.namespaces.has(Kind::Cgroup),
            user_namespace: self.design.plan.namespaces.has(Kind::User),
            driver: self.globals.cgroup_driver,
            rootless: self.rootless,
        }
    }

    /// What only the outside can do for init, while it builds its file system.
    fn settle(&self, end: &ParentEnd) -> Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        let plan = &self.design.plan;
        let born_in = self.cgroup.as_ref().and_then(Cgroup::clone_dir).is_some();
        self.join_cgroups(child.pid, if born_in { Already::Unified } else { Already::Nowhere })?;
        affinity::reset(child.pid);
        net_devices::move_into(child.pid, &plan.net_devices, &self.net_devices)?;
        end.order(Order::Joined)?;
        launch::set_oom_score(&plan.process, child.pid)
    }

    /// Moves a process of ours into the container's groups. Limits come before the move: a list of
    /// device rules is written one by one, and init must not be there in between. systemd makes a cgroup only with a
    /// process in it, and sets the limits itself before that.
    fn join_cgroups(&self, pid: Pid, already: Already) -> Result<()> {
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        let plan = &self.design.plan;
        let applying = || "unable to apply cgroup configuration".to_owned();
        let join = || {
            cgroup
                .join(pid, already)
                .map_err(Error::from)
                .and_then(|()| self.delegate(cgroup))
                .during(applying)
        };
        let apply = || {
            cgroup.apply(&plan.limits).during(|| "error setting cgroup config for procHooks process".into())
        };
        if self.globals.cgroup_driver == Driver::Systemd {
            join()?;
            apply()?;
        } else {
            apply()?;
            join()?;
        }
        for warning in cgroup.warnings() {
            log::warn(format_args!("{warning}"));
        }
        if let Some(group) = &self.design.rdt {
            group.join(pid).during(|| "unable to apply Intel RDT configuration".into())?;
        }
        Ok(())
    }

    /// Without privileges the cgroup can only stay with the caller.
    fn delegate(&self, cgroup: &Cgroup) -> Result<()> {
        let owner =
            self.design.plan.cgroup_owner.filter(|owner| *owner != rustix::process::geteuid().as_raw());
        match owner.map_or(Ok(()), |owner| cgroup.delegate(owner)) {
            Err(error) if self.rootless && error.errno() == Some(Errno::PERM) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Answers init until only execve is left.
    fn serve(&mut self, end: &ParentEnd, record: &mut Record) -> Result<Option<OwnedFd>> {
        let mut terminal = None;
        loop {
            match end.report()? {
                Some(Report::Built) => {
                    self.run_hooks(Stage::Prestart)?;
                    self.run_hooks(Stage::CreateRuntime)?;
                    end.order(Order::HooksDone)?;
                }
                Some(Report::MapSource(mount, tree)) => {
                    rootfs::map_source(&self.design.plan.rootfs, mount, tree.as_fd())?;
                    end.order(Order::SourceMapped)?;
                }
                Some(Report::Terminal(master)) => terminal = Some(master),
                Some(Report::Ready) => {
                    self.limit_and_record_init(record)?;
                    end.order(Order::Proceed)?;
                }
                Some(Report::Listener(number)) => self.hand_over_listener(number, end)?,
                Some(Report::Warning(text)) => log::warn(format_args!("{text}")),
                Some(Report::Found) => return Ok(terminal),
                Some(Report::Failed(error)) => return Err(error).during(during_init),
                Some(Report::Forked(_)) | None => return Err(Self::death()),
            }
        }
    }

    fn run_hooks(&self, stage: Stage) -> Result<()> {
        hooks::run(stage, self.design.plan.hooks.of(stage), &self.state(), Environment::Inherit)
            .during(|| "error during container init".into())
    }

    /// The container as hooks and agents are told of it.
    fn state(&self) -> hooks::State<'_> {
        let spec = &self.design.bundle.spec;
        hooks::State {
            oci_version: &spec.oci_version,
            id: &self.args.id,
            status: "creating",
            pid: self.child.as_ref().map_or(0, |child| child.pid.as_raw_nonzero().get()),
            bundle: self.design.bundle.dir.to_string_lossy(),
            annotations: &spec.annotations,
        }
    }

    fn hand_over_listener(&mut self, number: i32, end: &ParentEnd) -> Result<()> {
        let agent = self.design.plan.seccomp.as_ref().and_then(|filter| filter.agent.as_ref());
        let (Some(connection), Some(agent), Some(child)) = (self.agent.take(), agent, &self.child) else {
            return Ok(());
        };
        let state = self.state();
        seccomp::hand_over(connection, agent, (child.pidfd.as_fd(), number), (state.pid, &state), end)
    }

    /// Limits go on last, from outside.
    fn limit_and_record_init(&self, record: &mut Record) -> Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        rlimits::apply(child.pid, &self.design.plan.process.rlimits)?;
        self.record_init(record, &format!("/proc/{}/fd", child.pid))
    }

    /// The state says which process it is. `stdio` is where the descriptors that it was given can be seen.
    fn record_init(&self, record: &mut Record, stdio: &str) -> Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        let init = ProcessId::current(child.pid)?.ok_or_else(Self::death)?;
        record.set_init(init);
        // Without privileges some hierarchies may have been left out.
        if let Some(cgroup) = &self.cgroup {
            record.cgroup_paths.clone_from(cgroup.paths());
        }
        // For a later checkpoint: what stdio was, so that a restore can put something in its place.
        let target = |fd: u32| std::fs::read_link(format!("{stdio}/{fd}")).unwrap_or_default();
        record.external_descriptors = (0..3).map(|fd| target(fd).to_string_lossy().into_owned()).collect();
        self.dir.write_state(&record.to_json()?)
    }

    /// What init said when it gave up comes before what failed here because it was gone. If it said nothing, and the
    /// kernel ended it, no other reason matters.
    fn cause(&self, end: &ParentEnd, error: Error) -> Error {
        if let Some(words) = end.last_words() {
            return Error::During { act: during_init(), source: Box::new(words) };
        }
        let (Some(child), Some(cgroup)) = (&self.child, &self.cgroup) else { return error };
        if error.is_reported() || !oom::has_killed(Some(child), cgroup, 0) {
            return error;
        }
        log::debug(format_args!("{}", error.line()));
        Error::WrongState("container init was OOM-killed (memory limit too low?)".into())
    }

    /// Why init has gone without a word.
    fn death() -> Error {
        Error::WrongState("container init exited unexpectedly".into())
    }

    fn announce(&self, pidfd_socket: Option<OwnedFd>) -> Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        if let Some(socket) = pidfd_socket {
            pidfd_socket::send(socket, child.pidfd.as_fd(), pidfd_socket::Kind::Init)?;
        }
        self.design.pid_file.as_deref().map_or(Ok(()), |path| pid_file::write(path, child.pid))
    }

    /// Removes what exists, and runs the poststop hooks of a container that had a process (runtime.md, Lifecycle). The
    /// error that led here stays the answer; what fails now is logged.
    fn undo(self) {
        if let Some(child) = &self.child {
            child.kill_and_reap();
        }
        let deleted = self.cgroup.as_ref().map_or(Ok(()), Cgroup::delete);
        let deleted =
            deleted.and(self.design.rdt.as_ref().map_or(Ok(()), ResctrlGroup::delete)).map_err(Error::from);
        // A cgroup that cannot be removed stays on record, for `delete`.
        let removed = deleted.and_then(|()| self.store.remove(&self.dir));
        let poststop = match self.child {
            Some(_) => self.run_poststop(),
            None => Ok(Vec::new()),
        };
        for error in removed.err().into_iter().chain(poststop.unwrap_or_else(|error| vec![error])) {
            let id = &self.args.id;
            log::warn(format_args!("clean up after the failed start of container {id}: {}", error.line()));
        }
    }

    fn run_poststop(&self) -> Result<Vec<Error>> {
        let state = hooks::State { status: "stopped", pid: 0, ..self.state() };
        hooks::run_all(Stage::Poststop, self.design.plan.hooks.of(Stage::Poststop), &state)
    }
}

fn during_init() -> String {
    "error during container init".into()
}
