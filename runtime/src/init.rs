//! The inside of creation: what the container's first process does between the clone and execve.
//!
//! The order is a contract with the kernel and with users of runc; each line that depends on another says why. The
//! messages to the parent are drawn in `protocol`.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;

use crate::caught_signals::Signals;
use crate::error::Result;
use crate::fds::{self, Passed};
use crate::hooks::{self, Environment};
use crate::keyring::{self, Searchable};
use crate::launch::{self, Known, Prepared};
use crate::plan::Plan;
use crate::plan::hooks::Stage;
use crate::plan::namespaces::Kind;
use crate::plan::process::Terminal;
use crate::proc::{Proc, Scope};
use crate::protocol::{InitEnd, Order};
use crate::rootfs::{self, CgroupView, Root, Sources, Surroundings};
use crate::spec::Spec;
use crate::sys::{self, Named};
use crate::tty::{self, Pseudoterminal};
use crate::{log, lsm, net_devices, spawn, start_gate, sysctl};

/// All that init needs; it crosses the clone as memory and descriptors.
pub(crate) struct Scene<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a Path,
    pub(crate) spec: &'a Spec,
    pub(crate) plan: &'a Plan,
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
    let Scene { plan, console, passed, .. } = scene;
    let process = &plan.process;
    // Nobody's but the parent's.
    launch::begin()?;
    if plan.namespaces.has(Kind::User) {
        launch::become_root()?;
    }
    let proc = Proc::open(proc_scope(plan))?;
    join_keyring(plan, &proc)?;
    if plan.namespaces.is_new(Kind::Network) {
        net_devices::raise_loopback()?;
    }

    // The file system. The parent moves us into our cgroup meanwhile.
    let mut root = build(plan, building, end)?;
    net_devices::configure(&plan.net_devices, scene.net_devices)?;

    // Hooks that may still change it, from outside and from inside.
    if plan.hooks.run_before_pivot() {
        end.built()?;
        end.await_order(Order::HooksDone)?;
    }
    create_container_hooks(scene, &root)?;
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

    let known = Known::read(process, &proc, plan.namespaces.has(Kind::User), *passed)?;

    // The parent sets limits from outside now, so that they do not hit the steps above.
    end.ready()?;
    end.await_order(Order::Proceed)?;
    let prepared = launch::take_identity(process, known)?;
    launch::outlive_parent()?;
    log::debug(format_args!("init: closing the pipe to signal completion"));
    end.found()?;
    let Err(error) = scene.start(end, &prepared);
    spawn::fail(end, &error)
}

fn build(plan: &Plan, building: Building<'_>, end: &InitEnd) -> Result<Root> {
    let mut enter_cgroup = || {
        end.await_order(Order::Joined)?;
        unshare_cgroup(plan)
    };
    let map_source = |mount, tree: BorrowedFd<'_>| {
        end.map_source(mount, tree)?;
        end.await_order(Order::SourceMapped)
    };
    let mut around =
        Surroundings { cgroup: building.cgroup, enter_cgroup: &mut enter_cgroup, map_source: &map_source };
    rootfs::build(&plan.rootfs, building.sources, &mut around)
}

/// Seen from inside, with the host's paths still there; the working directory is the root to be.
fn create_container_hooks(scene: &Scene<'_>, root: &Root) -> Result<()> {
    if scene.plan.hooks.of(Stage::CreateContainer).is_empty() {
        return Ok(());
    }
    rustix::process::fchdir(root.fd()).named(|| "fchdir(rootfs)".into())?;
    scene.run_hooks(Stage::CreateContainer, "creating", Environment::Empty)
}

impl Scene<'_> {
    /// Closes every descriptor of ours, whoever owns it: nothing of the host stays open while we wait, perhaps for
    /// days. No owner may be dropped afterwards, so a failure of this must end the process.
    fn start(&self, end: &InitEnd, prepared: &Prepared) -> Result<Infallible> {
        let private = self.passed.first_private();
        match &self.start {
            Start::Gate(gate) => {
                fds::close_from(private, Some(gate.as_raw_fd().unsigned_abs()))?;
                start_gate::wait(gate.as_fd())?;
            }
            Start::Channel(signals) => {
                fds::close_from(private, Some(end.as_fd().as_raw_fd().unsigned_abs()))?;
                signals.map_or(Ok(()), Signals::unblock)?;
                end.await_order(Order::Start)?;
            }
        }
        self.run_hooks(Stage::StartContainer, "created", Environment::Process(&prepared.variables()))?;
        launch::execute(&self.plan.process, prepared)
    }

    /// Hooks of the container's namespaces know its process by the number it has there.
    fn run_hooks(&self, stage: Stage, status: &str, environment: Environment<'_>) -> Result<()> {
        let state = hooks::State {
            oci_version: &self.spec.oci_version,
            id: self.id,
            status,
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            bundle: &self.bundle.to_string_lossy(),
            annotations: &self.spec.annotations,
        };
        hooks::run(stage, self.plan.hooks.of(stage), &state, environment)
    }
}

/// Sysctls need the whole of procfs, the rest only processes.
fn proc_scope(plan: &Plan) -> Scope {
    if plan.sysctls.is_empty() { Scope::Processes } else { Scope::Everything }
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
fn unshare_cgroup(plan: &Plan) -> Result<()> {
    if plan.namespaces.is_new(Kind::Cgroup) {
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
