//! The outside of creation: from a bundle to a process that needs only execve, and the way back when that fails.
//!
//! The order: plan, state directory, cgroup, host-side sources, clone; then serve init's reports (see `protocol`)
//! while joining cgroups and setting limits, which init does not wait for until it must. What exists is on record
//! before it exists, so that `delete` can remove it whenever this process is killed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use knarr_cgroups::{Already, Cgroup, Driver, Request};

use crate::bundle::Bundle;
use crate::cli::{CgroupManager, CreateArgs, Globals};
use crate::container::{Container, Status};
use crate::error::{During, Error, Result};
use crate::hooks::{self, Environment};
use crate::host::Host;
use crate::init::{self, Scene, Start};
use crate::plan::hooks::Stage;
use crate::plan::process::Terminal;
use crate::plan::{Given, Plan};
use crate::process_id::ProcessId;
use crate::protocol::{Order, ParentEnd, Report};
use crate::record::Record;
use crate::spawn::{Birth, Child};
use crate::store::{StateDir, Store};
use crate::{fds, net_devices, notify_socket, oom, pidfd_socket, pid_file, rlimits, rootfs, teardown, tty};

/// What becomes of the process once it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `create`: it waits at the gate, and this process goes.
    Create,
    /// `run`: it is started by this process.
    Run(Attachment),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    Foreground,
    Detached,
}

/// A container whose first process needs only to be started.
pub(crate) struct Made {
    pub(crate) store: Store,
    pub(crate) container: Container,
    pub(crate) plan: Plan,
    pub(crate) child: Child,
    pub(crate) end: ParentEnd,
    /// The master side, for `run` with a terminal.
    pub(crate) terminal: Option<OwnedFd>,
}
