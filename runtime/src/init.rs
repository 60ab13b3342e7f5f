//! The inside of creation: what the container's first process does between the clone and execve.
//!
//! The order is a contract with the kernel and with users of runc; each line that depends on another says why. The
//! messages to the parent are drawn in `protocol`.

use std::cell::Cell;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use knarr_cgroups::Driver;
use rustix::fs::Mode;

use crate::caught_signals::{self, Signals};
use crate::error::Result;
use crate::fds::{self, Passed};
use crate::hooks::{self, Environment};
use crate::identity::Setgroups;
use crate::idmap::Caller;
use crate::keyring::{self, Searchable};
use crate::launch::{self, Known, Tracing};
use crate::plan::Plan;
use crate::plan::hooks::Stage;
use crate::plan::namespaces::Kind;
use crate::plan::process::Terminal;
use crate::plan::seccomp::Moment;
use crate::proc::{Proc, Scope};
use crate::protocol::{InitEnd, Order};
use crate::rootfs::{self, CgroupView, Root, Sources, Surroundings};
use crate::spec::Spec;
use crate::start_gate::Gate;
use crate::sys::{self, Named};
use crate::tty::{self, Pseudoterminal};
use crate::{log, lsm, net_devices, seccomp, spawn, sysctl};

/// All that init needs; it crosses the clone as memory and descriptors.
pub(crate) struct Scene<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a Path,
    pub(crate) spec: &'a Spec,
    pub(crate) plan: &'a Plan,
    pub(crate) caller: Caller,
    pub(crate) net_devices: &'a [net_devices::Found],
    pub(crate) start: Start<'a>,
    /// `--console-socket`, connected.
    pub(crate) console: Option<OwnedFd>,
    pub(crate) passed: Passed,
}

/// What the file system is built from, besides the plan.
pub(crate) struct Building<'a> {
    pub(crate) cgroup: CgroupView<'a>,
    pub(crate) sources: Sources,
}

/// What lets the program run.
pub(crate) enum Start<'a> {
    /// `create`: a byte in the FIFO.
    Gate(OwnedFd),
    /// `run`: an order of the parent, which may have blocked signals for itself.
    Channel(Option<&'a Signals>),
}

/// The whole list. Returns only an error.
pub(crate) fn run(scene: &Scene<'_>, building: Building<'_>, end: &InitEnd) -> Result<Infallible> {
    let Scene { plan, console, .. } = scene;
    let process = &plan.process;
    // Nobody's but the parent's.
    launch::begin()?;
    if plan.namespaces.has(Kind::User) {
        launch::become_root()?;
    }
    let proc = proc(plan)?;
    join_keyring(plan, &proc)?;
    if plan.namespaces.is_new(Kind::Network) {
        net_devices::raise_loopback()?;
    }

    // The file system. The parent moves us into our cgroup meanwhile.
    let cgroup = Membership { end, known: Cell::new(false) };
    let mut root = build(plan, building, &cgroup)?;
    if !plan.net_devices.is_empty() {
        cgroup.wait()?;
        net_devices::configure(&plan.net_devices, scene.net_devices)?;
    }

    // Hooks that may still change it, from outside and from inside.
    if plan.hooks.run_before_pivot() {
        cgroup.wait()?;
        end.built()?;
        end.await_order(Order::HooksDone)?;
    }
    if !plan.hooks.of(Stage::CreateContainer).is_empty() {
        cgroup.wait()?;
        create_container_hooks(scene, &root)?;
    }
    rootfs::enter_root(&root, &plan.rootfs)?;
    fds::reopen_null()?;
    rootfs::make_cwd(&root, &process.cwd.to_string_lossy())?;

    // A terminal in the container's own devpts.
    open_terminal(plan, console.as_ref(), end)?;

    // What must come after everything has been made.
    rootfs::finalize(&root, &plan.rootfs)?;
    rustix::process::umask(Mode::from_raw_mode(process.umask));
    set_names(plan)?;
    sysctl::write(&proc, &plan.sysctls)?;
    rootfs::restrict(&mut root, &plan.rootfs)?;
    launch::set_labels(process, &proc)?;
    launch::set_attributes(process, cpus(scene.spec))?;

    let setgroups = launch::setgroups(&proc, plan.namespaces.has(Kind::User))?;
    let gate = match &scene.start {
        Start::Gate(fifo) => Some(Gate::new(fifo.as_fd())?),
        Start::Channel(_) => None,
    };

    // What is read from here on is the image's: not before the rules for devices are those of our cgroup.
    cgroup.wait()?;
    // Nothing of the host is open from here on, while we look at the image's paths and wait, perhaps for days. What
    // owned the descriptors must not close them again, so nothing below returns.
    log::debug(format_args!("init: closing the pipe to signal completion"));
    let Err(error) = close_all_but(scene, gate.as_ref(), end)
        .and_then(|()| launch_program(scene, setgroups, gate.as_ref(), end));
    spawn::give_up(end, &error)
}

fn close_all_but(scene: &Scene<'_>, gate: Option<&Gate<'_>>, end: &InitEnd) -> Result<()> {
    let [fifo, signals] = descriptors(gate);
    fds::close_from(scene.passed.first_private(), &[Some(end.as_fd()), log::descriptor(), fifo, signals])
}

fn descriptors<'a>(gate: Option<&'a Gate<'_>>) -> [Option<BorrowedFd<'a>>; 2] {
    [gate.map(|gate| gate.fifo), gate.map(|gate| gate.signals.as_fd())]
}

/// The last steps: identity, the wait for `start`, execve.
fn launch_program(
    scene: &Scene<'_>,
    setgroups: Setgroups,
    gate: Option<&Gate<'_>>,
    end: &InitEnd,
) -> Result<Infallible> {
    let process = &scene.plan.process;
    let filter = scene.plan.seccomp.as_ref();
    let known = Known::read(process, setgroups, scene.passed);
    // The parent sets limits from outside now, so that they do not hit the steps above.
    end.ready()?;
    end.await_order(Order::Proceed)?;
    let alone = scene.plan.namespaces.join.is_empty();
    let tracing =
        if scene.caller != Caller::Privileged && alone { Tracing::Harmless } else { Tracing::Forbidden };
    let prepared = launch::take_identity(process, known, filter, tracing, end)?;
    launch::outlive_parent()?;
    // `exec` enters a container that waits, which the kernel takes for tracing it.
    if tracing == Tracing::Harmless {
        sys::set_dumpable()?;
    }
    end.found()?;
    if let Some(gate) = gate {
        fds::close_from(scene.passed.first_private(), &descriptors(Some(gate)))?;
        gate.wait()?;
    }
    if let Start::Channel(signals) = &scene.start {
        signals.map_or(Ok(()), Signals::unblock)?;
        end.await_order(Order::Start)?;
    }
    if scene.plan.hooks.of(Stage::StartContainer).is_empty() {
        caught_signals::restore_sigpipe()?;
        seccomp::install_at(Moment::Last, filter, tracing, end)?;
    } else {
        seccomp::install_at(Moment::Last, filter, tracing, end)?;
        scene.run_hooks(Stage::StartContainer, "created", Environment::Process(&prepared.variables()))?;
        // A hook may not read what it is told, so only now.
        caught_signals::restore_sigpipe()?;
    }
    launch::execute(process, &prepared)
}

/// Whether the parent has moved us into our cgroup, and our network devices to us. On cgroup v1 the kernel lets it wait
/// for milliseconds (an RCU grace period): so we wait only where the next step needs it.
struct Membership<'a> {
    end: &'a InitEnd,
    known: Cell<bool>,
}

impl Membership<'_> {
    fn wait(&self) -> Result<()> {
        if self.known.replace(true) { Ok(()) } else { self.end.await_order(Order::Joined) }
    }
}

fn build(plan: &Plan, building: Building<'_>, cgroup: &Membership<'_>) -> Result<Root> {
    let late = building.cgroup.driver == Driver::Systemd;
    let mut enter_cgroup = || {
        if late {
            cgroup.wait()?;
        }
        unshare_cgroup(plan, cgroup)
    };
    let map_source = |mount, tree: BorrowedFd<'_>| {
        cgroup.wait()?;
        cgroup.end.map_source(mount, tree)?;
        cgroup.end.await_order(Order::SourceMapped)
    };
    let mut around =
        Surroundings { cgroup: building.cgroup, enter_cgroup: &mut enter_cgroup, map_source: &map_source };
    rootfs::build(&plan.rootfs, building.sources, &mut around)
}

/// Seen from inside, with the host's paths still there; the working directory is the root to be.
fn create_container_hooks(scene: &Scene<'_>, root: &Root) -> Result<()> {
    rustix::process::fchdir(root.fd()).named(|| "fchdir(rootfs)".into())?;
    scene.run_hooks(Stage::CreateContainer, "creating", Environment::Empty)
}

impl Scene<'_> {
    /// Hooks of the container's namespaces know its process by the number it has there.
    fn run_hooks(&self, stage: Stage, status: &str, environment: Environment<'_>) -> Result<()> {
        let hooks = self.plan.hooks.of(stage);
        if hooks.is_empty() {
            return Ok(());
        }
        let state = hooks::State {
            oci_version: &self.spec.oci_version,
            id: self.id,
            status,
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            bundle: self.bundle.to_string_lossy(),
            annotations: &self.spec.annotations,
        };
        hooks::run(stage, hooks, &state, environment)
    }
}

/// Opened now, from the host's side, when it is known to be needed: later the container's mounts may forbid it. Sysctls
/// need the whole of procfs, the rest only processes.
fn proc(plan: &Plan) -> Result<Proc> {
    let labels = plan.process.apparmor.is_some() || plan.process.selinux.is_some();
    if !plan.sysctls.is_empty() {
        Ok(Proc::open(Scope::Everything)?)
    } else if labels || plan.namespaces.has(Kind::User) {
        Ok(Proc::open(Scope::Processes)?)
    } else {
        Ok(Proc::when_needed(Scope::Processes))
    }
}

/// For the hint when a scheduling policy does not go together with a cpuset.
fn cpus(spec: &Spec) -> &str {
    let resources = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref());
    resources.and_then(|resources| resources.cpu.as_ref()).map_or("", |cpu| cpu.cpus.as_str())
}

fn join_keyring(plan: &Plan, proc: &Proc) -> Result<()> {
    let Some(name) = &plan.process.keyring else { return Ok(()) };
    // SELinux labels a key when it is made.
    let label = plan.process.selinux.as_deref();
    label.map_or(Ok(()), |label| lsm::set_key_label(proc, label))?;
    let searchable = if plan.namespaces.has(Kind::User) { Searchable::ByAll } else { Searchable::ByUser };
    if let Some(warning) = keyring::create(name, searchable)? {
        log::warn(format_args!("{warning}"));
    }
    label.map_or(Ok(()), |_| lsm::reset_key_label(proc))
}

/// Its root is the cgroup that its maker is in: hence after the parent has moved us there.
fn unshare_cgroup(plan: &Plan, cgroup: &Membership<'_>) -> Result<()> {
    if plan.namespaces.is_new(Kind::Cgroup) {
        cgroup.wait()?;
        sys::unshare(Kind::Cgroup.flag())?;
    }
    Ok(())
}

fn set_names(plan: &Plan) -> Result<()> {
    if !plan.hostname.is_empty() {
        rustix::system::sethostname(plan.hostname.as_bytes())
            .named(|| format!("sethostname({:?})", plan.hostname))?;
    }
    if !plan.domainname.is_empty() {
        rustix::system::setdomainname(plan.domainname.as_bytes())
            .named(|| format!("setdomainname({:?})", plan.domainname))?;
    }
    Ok(())
}

fn open_terminal(plan: &Plan, console: Option<&OwnedFd>, end: &InitEnd) -> Result<()> {
    let Terminal::New(size) = plan.process.terminal else { return tty::new_session() };
    let terminal = Pseudoterminal::open()?;
    if let Some(size) = size {
        terminal.resize(size)?;
    }
    terminal.bind_console()?;
    launch::hand_over(terminal, console, end)
}
