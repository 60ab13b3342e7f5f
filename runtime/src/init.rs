//! The inside of creation: what the container's first process does between the clone and execve.
//!
//! The order is a contract with the kernel and with users of runc; each line that depends on another says why. The
//! messages to the parent are drawn in `protocol`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use crate::error::{During, Result};
use crate::hooks::{self, Environment};
use crate::idmap::Caller;
use crate::keyring::{self, Searchable};
use crate::plan::Plan;
use crate::plan::hooks::Stage;
use crate::plan::namespaces::Kind;
use crate::plan::process::Terminal;
use crate::proc::Proc;
use crate::protocol::{InitEnd, Order};
use crate::rootfs::{self, Root, Sources};
use crate::spec::Spec;
use crate::sys::{self, Named};
use crate::tty::{self, Pseudoterminal};
use crate::{fds, launch, log, lsm, net_devices, start_gate, sysctl};

/// All that init needs; it crosses the clone as memory and descriptors.
pub(crate) struct Scene<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a Path,
    pub(crate) spec: &'a Spec,
    pub(crate) plan: &'a Plan,
    pub(crate) caller: Caller,
    /// Directory by controller, for cgroup mounts.
    pub(crate) cgroup_paths: &'a BTreeMap<String, PathBuf>,
    pub(crate) sources: Sources,
    pub(crate) net_devices: &'a [net_devices::Found],
    pub(crate) start: Start,
    /// `--console-socket`, connected.
    pub(crate) console: Option<OwnedFd>,
    /// Number of descriptors from 3 on that the program keeps.
    pub(crate) preserved: u32,
}

/// What lets the program run.
pub(crate) enum Start {
    /// `create`: a byte in the FIFO.
    Gate(OwnedFd),
    /// `run`: an order of the parent.
    Channel,
}

/// The whole list. Returns only an error.
pub(crate) fn run(scene: Scene<'_>, end: &InitEnd) -> Result<Infallible> {
    let plan = scene.plan;
    // Nobody's but the parent's.
    launch::begin()?;
    if plan.namespaces.has(Kind::User) {
        launch::become_root()?;
    }
    join_keyring(plan)?;
    if plan.namespaces.is_new(Kind::Network) {
        net_devices::raise_loopback()?;
    }

    // The file system. The parent moves us into our cgroup meanwhile.
    let proc = Proc::open()?;
    let root = rootfs::build(&plan.rootfs, scene.sources, scene.cgroup_paths, || {
        end.await_order(Order::Joined)?;
        unshare_cgroup(plan)
    })?;
    net_devices::configure(&plan.net_devices, scene.net_devices)?;

    // Hooks that may still change it, from outside and from inside.
    if plan.hooks.run_before_pivot() {
        end.built()?;
        end.await_order(Order::HooksDone)?;
    }
    run_hooks(&scene.hook(Stage::CreateContainer), Environment::Empty)?;
    rootfs::enter(&root, &plan.rootfs)?;
    fds::reopen_null()?;
    rootfs::make_cwd(&root, &plan.process.cwd)?;

    // A terminal in the container's own devpts.
    open_terminal(plan, scene.console.as_ref(), end)?;

    // What must come after everything has been made.
    rootfs::finalize(&root, &plan.rootfs)?;
    rustix::process::umask(Mode::from_raw_mode(plan.process.umask));
    set_names(plan)?;
    if let Some(profile) = &plan.process.apparmor {
        lsm::set_apparmor(&proc, profile)?;
    }
    plan.sysctls.iter().try_for_each(|sysctl| sysctl::write(&proc, sysctl))?;
    rootfs::restrict(&root, &plan.rootfs)?;
    launch::set_attributes(&plan.process)?;

    // The parent sets limits from outside now, so that they do not hit the steps above.
    end.ready()?;
    end.await_order(Order::Proceed)?;
    let prepared = launch::take_identity(&plan.process, &proc, scene.caller)?;
    drop((proc, root));
    launch::outlive_parent()?;
    end.found()?;

    match &scene.start {
        Start::Gate(gate) => start_gate::wait(gate.as_fd())?,
        Start::Channel => end.await_order(Order::Start)?,
    }
    run_hooks(&scene.hook(Stage::StartContainer), Environment::Process(prepared.environment()))?;
    launch::execute(&plan.process, &prepared)
}

fn join_keyring(plan: &Plan) -> Result<()> {
    let Some(name) = &plan.process.keyring else { return Ok(()) };
    let searchable = if plan.namespaces.has(Kind::User) { Searchable::ByAll } else { Searchable::ByUser };
    if let Some(warning) = keyring::create(name, searchable)? {
        log::warn(format_args!("{warning}"));
    }
    Ok(())
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
    match console {
        Some(socket) => terminal.send_master(socket.as_fd())?,
        None => end.terminal(terminal.master())?,
    }
    terminal.become_stdio()
}
