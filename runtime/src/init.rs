//! The inside of creation: what the container's first process does between the clone and execve.
//!
//! The order is a contract with the kernel and with users of runc; each line that depends on another says why. The
//! messages to the parent are drawn in `protocol`.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Pid;

use crate::error::{During, Result};
use crate::hooks::{self, Environment};
use crate::keyring::{self, Searchable};
use crate::launch;
use crate::plan::Plan;
use crate::plan::hooks::Stage;
use crate::plan::namespaces::Kind;
use crate::plan::process::Terminal;
use crate::proc::Proc;
use crate::protocol::{InitEnd, Order};
use crate::rootfs::{self, Sources};
use crate::spec::Spec;
use crate::start_gate;
use crate::sys::{self, Named};
use crate::tty::{self, Pseudoterminal};
use crate::{log, lsm, net_devices, sysctl};

/// All that init needs; it crosses the clone as memory and descriptors.
pub(crate) struct Scene<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a str,
    pub(crate) spec: &'a Spec,
    pub(crate) plan: &'a Plan,
    pub(crate) sources: Sources,
    pub(crate) net_devices: Vec<net_devices::Found>,
    pub(crate) start: Start,
    /// `--console-socket`, connected.
    pub(crate) console: Option<OwnedFd>,
    /// Descriptors from 3 on that the program keeps.
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
    // 1. Nobody's but the parent's: dies with it, cannot be traced by what shares its pid namespace.
    launch::begin()?;
    if plan.namespaces.has(Kind::User) {
        launch::become_root()?;
    }
    join_keyring(plan)?;
    if plan.namespaces.is_new(Kind::Network) {
        net_devices::raise_loopback()?;
    }

    // 2. The file system. The parent moves us into our cgroup meanwhile.
    let proc = Proc::open()?;
    let root = rootfs::build(&plan.rootfs, scene.sources, || {
        end.await_order(Order::Joined)?;
        unshare_cgroup(plan)
    })?;
    net_devices::configure(&plan.net_devices, &scene.net_devices)?;

    // 3. Hooks that may still change it, seen from outside and from inside.
    if plan.hooks.run_before_pivot() {
        end.built()?;
        end.await_order(Order::HooksDone)?;
    }
    create_container_hooks(&scene, &root)?;
    rootfs::enter(&root, &plan.rootfs)?;
    launch::reopen_null()?;
    launch::make_cwd(&plan.process)?;

    // 4. A terminal in the container's own devpts.
    open_terminal(&scene, end)?;

    // 5. What must come after everything has been made.
    rootfs::finalize(&root, &plan.rootfs)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(plan.process.umask));
    set_names(plan)?;
    if let Some(profile) = &plan.process.apparmor {
        lsm::set_apparmor(&proc, profile)?;
    }
    plan.sysctls.iter().try_for_each(|sysctl| sysctl::write(&proc, sysctl))?;
    rootfs::restrict(&root, &plan.rootfs)?;

    // 6. Attributes that need no privilege we are about to drop, or need one.
    launch::set_attributes(&plan.process)?;

    // 7. The parent sets limits from outside now, so that they do not hit the steps above.
    end.ready()?;
    end.await_order(Order::Proceed)?;
    let program = launch::take_identity(&plan.process, &proc, scene.preserved)?;
    drop(proc);
    launch::outlive_parent()?;
    end.found()?;

    // 8. Created.
    match &scene.start {
        Start::Gate(gate) => start_gate::wait(gate.as_fd())?,
        Start::Channel => end.await_order(Order::Start)?,
    }
    start_container_hooks(&scene)?;
    launch::execute(&plan.process, &program)
}
