//! `exec`: a further process in a container that runs. The outside and the inside on one page; the tail of the inside is
//! `launch`, which creation uses too, and the messages are those of `protocol` from Joined on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use knarr_cgroups::{Already, Cgroup};
use rustix::fs::Mode;

use crate::affinity::{self, Moment};
use crate::cli::{ExecArgs, Globals};
use crate::container::{Container, Status};
use crate::error::{During, Error, Result};
use crate::fds::Passed;
use crate::host;
use crate::idmap::Caller;
use crate::launch::{self, Sealing};
use crate::plan::ids::Ids;
use crate::plan::namespaces::{Kind, Namespaces};
use crate::plan::process::{ProcessPlan, Terminal};
use crate::plan::{exec_process, process_plan};
use crate::proc::Proc;
use crate::protocol::{InitEnd, Order, ParentEnd, Report};
use crate::spawn::{Beside, Child};
use crate::spec::{Linux, Process, Spec};
use crate::tty::{self, Pseudoterminal};
use crate::{bundle, keyring, log, lsm, oom_score, pid_file, pidfd_socket, rlimits};

/// A process that runs in the container now.
pub(crate) struct Entered {
    pub(crate) child: Child,
    pub(crate) terminal: Option<OwnedFd>,
}
