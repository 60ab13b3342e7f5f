//! What `create` and `run` are asked for, read and checked: from flags and a bundle to a plan.

use std::path::{Path, PathBuf};

use knarr_cgroups::rdt::ResctrlGroup;

use crate::bundle::Bundle;
use crate::cli::{CreateArgs, Globals};
use crate::error::{Error, Result};
use crate::host::{self, Host};
use crate::notify_socket::Manager;
use crate::plan::mounts::Pivot;
use crate::plan::{Given, Plan};
use crate::{log, resctrl};

/// A checked wish for a container: nothing exists yet.
pub(crate) struct Design {
    pub(crate) bundle: Bundle,
    pub(crate) plan: Plan,
    /// `linux.intelRdt`'s group.
    pub(crate) rdt: Option<ResctrlGroup>,
    /// Who waits to hear that the container is ready.
    pub(crate) manager: Option<Manager>,
    /// `--pid-file`, whatever the working directory is by then.
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) host: Host,
}

impl Design {
    pub(crate) fn new(globals: &Globals, args: &CreateArgs) -> Result<Self> {
        let pid_file = args.pid_file.as_deref().map(absolute).transpose()?;
        let mut bundle = Bundle::enter(&args.bundle, args.config.as_deref())?;
        let manager = Manager::from_environment(globals.root.path.join(&args.id));
        if let Some(manager) = &manager {
            manager.add_socket(&mut bundle.spec);
        }
        let host = Host::probe(&bundle.spec)?;
        let rootfs = find_rootfs(&bundle)?;
        let plan = Plan::new(
            &bundle.spec,
            &Given {
                id: &args.id,
                host: &host,
                bundle: &bundle.dir,
                rootfs: &rootfs,
                pivot: if args.no_pivot { Pivot::Avoid } else { Pivot::Use },
                new_keyring: !args.no_new_keyring,
                shared: host::shared_namespaces(&bundle.spec),
            },
        )
        .map_err(Error::naming_the_field)?;
        let warnings = plan.rootfs.warnings.iter().chain(&plan.process.warnings);
        for warning in warnings.map(String::as_str).chain(plan.limits.warnings().iter().map(String::as_str)) {
            log::warn(format_args!("{warning}"));
        }
        for section in bundle.spec.foreign_sections() {
            log::warn(format_args!(
                "section {section:?} of config.json is for another platform and has no effect"
            ));
        }
        let intel_rdt = bundle.spec.linux.as_ref().and_then(|linux| linux.intel_rdt.as_ref());
        let rdt = intel_rdt.map(|config| resctrl::group(&args.id, config)).transpose()?;
        Ok(Self { bundle, plan, rdt, manager, pid_file, host })
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::Usage(format!("{}: {}", path.display(), crate::sys::io_error_text(&error))))
}

/// `root.path`, its links resolved once; everything after goes by descriptor.
fn find_rootfs(bundle: &Bundle) -> Result<PathBuf> {
    let path = bundle.spec.root.as_ref().map_or("", |root| root.path.as_str());
    if path.is_empty() {
        return Err(Error::refused("/root/path", "root.path must not be empty"));
    }
    let rootfs = crate::sys::resolve_dir(&bundle.dir.join(path));
    rootfs.map_err(|errno| {
        Error::refused("/root/path", format!("invalid rootfs: {path}: {}", crate::sys::errno_text(errno)))
    })
}
