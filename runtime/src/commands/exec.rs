//! `exec`: flags to a process, a process into the container, and its status out.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use knarr_cgroups::{Already, Cgroup};
use rustix::process::Pid;

use super::create::check_terminal;
use crate::bundle::{load_process, load_spec};
use crate::caught_signals::Signals;
use crate::cli::{ExecArgs, Globals};
use crate::container::{Container, Status};
use crate::enter::{Entered, Entry, enter};
use crate::error::{During, Error, Result};
use crate::fds::{ListenVariables, Passed};
use crate::foreground::{Foreground, Orphans};
use crate::hooks::State;
use crate::plan::exec_process::{self, ExecFlags, UserFlag};
use crate::plan::ids::Ids;
use crate::plan::namespaces::{Kind, Namespaces};
use crate::plan::process_plan;
use crate::plan::seccomp::Filter;
use crate::spec::{Linux, Process};
use crate::terminal_proxy::TerminalProxy;
use crate::{host, log, pid_file, pidfd_socket, resctrl, sealed_exe, unix_socket};

/// The exit status is the program's; 0 when nobody waits for it.
pub(crate) fn run(globals: &Globals, args: &ExecArgs) -> Result<i32> {
    sealed_exe::ensure()?;
    let container = Container::find(&globals.root.path, &args.id)?;
    check_status(&container, args)?;
    let spec = container.spec()?;
    let none = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&none);
    let namespaces = Namespaces::plan(linux)?;
    let ids = Ids::plan(linux, &namespaces)?;
    let process = process_of(args, bundle_process(&container)?.or(spec.process.clone()).unwrap_or_default())?;
    let keyring_for = namespaces.has(Kind::Mount).then_some(args.id.as_str());
    let process = process_plan(&process, linux, &ids, host::support(Some(&process))?, keyring_for)
        .map_err(Error::naming_the_field)?;
    for warning in &process.warnings {
        log::warn(format_args!("{warning}"));
    }
    if args.detach {
        check_terminal(process.terminal, args.console_socket.is_some())?;
    } else if args.console_socket.is_some() {
        return Err(super::create::no_use_for_console_socket());
    }
    let filter = Filter::plan(linux.seccomp.as_ref(), process.no_new_privileges)?;
    let mut entry = Entry {
        process: &process,
        filter: filter.as_ref(),
        state: State {
            oci_version: &spec.oci_version,
            id: &args.id,
            status: Status::Running.name(),
            pid: container.record.init_process_pid,
            bundle: container.record.bundle().to_string_lossy(),
            annotations: &spec.annotations,
        },
        init: container.init()?.ok_or_else(stopped)?.into_pidfd(),
        namespaces: own_namespaces(&container, &namespaces),
        cgroup: cgroup(&container, args)?,
        already: Already::Unified,
        rdt: resctrl::group_of(&container)?.map(|(group, _)| group),
        console: args.console_socket.as_deref().map(unix_socket::connect_to).transpose()?,
        passed: Passed::check(args.preserve_fds, &ListenVariables::from_environment())?,
        // Before the process exists, so that no signal to it is lost.
        signals: if args.detach { None } else { Some(Signals::block()?) },
    };
    entry.passed.hide_the_rest()?;
    let pidfd_socket = args.pidfd_socket.as_deref().map(pidfd_socket::connect).transpose()?;
    let starting = || "unable to start container process".to_owned();
    let mut entered = enter_where_init_is(&mut entry, &container, args).during(starting)?;
    // Before the program writes its first line.
    let terminal = entered.terminal.take().map(TerminalProxy::new).transpose();
    let terminal = terminal.inspect_err(|_| entered.child.kill_and_reap())?;
    let announced =
        announce(&entered, args, pidfd_socket).and_then(|()| entered.end.start().during(starting));
    announced.inspect_err(|_| entered.child.kill_and_reap())?;
    let Some(signals) = &entry.signals else { return Ok(0) };
    let foreground = Foreground {
        pid: entered.child.pid,
        pidfd: entered.child.pidfd.as_fd(),
        signals,
        orphans: Orphans::Leave,
        terminal,
        notify: None,
    };
    foreground.wait()
}

/// In the container's cgroup, unless its processes have moved down from there, as a systemd in a container does: then in
/// the first one's. One that `--cgroup` names takes the process or says why not.
fn enter_where_init_is(entry: &mut Entry<'_>, container: &Container, args: &ExecArgs) -> Result<Entered> {
    let result = enter(entry);
    if !result.as_ref().is_err_and(|error| error.errno() == Some(libc::EBUSY)) {
        return result;
    }
    if args.sub_cgroups()?.is_empty() {
        let init = Pid::from_raw(container.record.init_process_pid).ok_or_else(stopped)?;
        let Some(below) = entry.cgroup.below_with(init)? else { return result };
        entry.cgroup = below;
    } else {
        entry.already = Already::Nowhere;
    }
    enter(entry)
}

fn stopped() -> Error {
    Error::WrongState("cannot exec in a stopped container".into())
}

fn check_status(container: &Container, args: &ExecArgs) -> Result<()> {
    match container.status()? {
        Status::Stopped => Err(stopped()),
        Status::Paused if !args.ignore_paused => Err(Error::WrongState(
            "cannot exec in a paused container (use --ignore-paused to override)".into(),
        )),
        _ => Ok(()),
    }
}

/// The process as the bundle describes it now, as runc takes it; none when the bundle is gone, which an engine may
/// have removed.
fn bundle_process(container: &Container) -> Result<Option<Process>> {
    let bundle = container.record.bundle();
    if bundle.as_os_str().is_empty() {
        return Ok(None);
    }
    match load_spec(bundle) {
        Ok(spec) => Ok(spec.process),
        Err(Error::NoConfig(_)) => Ok(None),
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn process_of(args: &ExecArgs, container: Process) -> Result<Process> {
    if let Some(file) = &args.process {
        return Ok(exec_process::complete(load_process(file)?, &container));
    }
    let flags = ExecFlags {
        args: args.args.clone(),
        cwd: args.cwd.clone(),
        env: args.env.clone(),
        terminal: args.tty,
        user: if args.user.is_empty() { None } else { Some(UserFlag::parse(&args.user)?) },
        additional_gids: args.additional_gids.clone(),
        process_label: args.process_label.clone(),
        apparmor: args.apparmor.clone(),
        no_new_privileges: args.no_new_privs,
        capabilities: args.caps.clone(),
    };
    flags.override_process(container)
}

/// The namespaces to enter. One that config.json names by path may be our own, which setns(2) refuses for the user
/// namespace.
fn own_namespaces(container: &Container, namespaces: &Namespaces) -> i32 {
    let mut flags = 0;
    // A container that criu has restored has a time namespace whatever config.json says.
    let has = |kind: &Kind| namespaces.has(*kind) || container.record.has_namespace(*kind);
    for kind in Kind::all().filter(has) {
        let theirs = container.record.namespace_paths.get(kind.state_key());
        let shared = kind == Kind::User
            && theirs
                .is_some_and(|path| host::is_same_file(path, &Path::new("/proc/self/ns").join(kind.file())));
        if !shared {
            flags |= kind.flag();
        }
    }
    flags
}

/// `--cgroup`, below the container's.
fn cgroup(container: &Container, args: &ExecArgs) -> Result<Cgroup> {
    let sub = args.sub_cgroups()?;
    let cgroup = container.cgroup();
    if sub.is_empty() {
        return Ok(cgroup);
    }
    let sub: BTreeMap<String, &Path> =
        sub.iter().map(|(name, path)| (name.clone(), Path::new(path))).collect();
    Ok(cgroup.child(&sub)?)
}

fn announce(entered: &Entered, args: &ExecArgs, pidfd_socket: Option<OwnedFd>) -> Result<()> {
    if let Some(socket) = pidfd_socket {
        pidfd_socket::send(socket, entered.child.pidfd.as_fd(), pidfd_socket::Kind::Exec)?;
    }
    args.pid_file.as_deref().map_or(Ok(()), |path| pid_file::write(path, entered.child.pid))
}
