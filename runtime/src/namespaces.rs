//! Entering namespaces: by path before the container's first process is cloned, and back again.
//!
//! All joins but the user namespace's are made by the parent for the moment of the clone ("visit"), so that the
//! child starts where it belongs and joining a pid or time namespace, which only children enter, costs no process
//! of its own. pid_namespaces(7), time_namespaces(7), setns(2).

use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

use crate::error::{During, Error, Result};
use crate::plan::namespaces::{ClockOffset, Join, Kind};
use crate::sys::{self, Errno, Named};

/// A namespace to enter.
pub(crate) struct Target {
    pub(crate) kind: Kind,
    fd: OwnedFd,
    field: String,
}

/// Opens the namespaces to join and checks that each is of the kind that config.json says.
pub(crate) fn open_targets(joins: &[Join]) -> Result<Vec<Target>> {
    joins.iter().map(open_target).collect()
}

fn open_target(join: &Join) -> Result<Target> {
    let fd = open_namespace(&join.path).map_err(|error| {
        Error::refused(&join.field, format!("open {} namespace: {error}", join.kind.name()))
    })?;
    // A file that is no namespace answers ENOTTY; one that answers with another type would fail in setns(2) only.
    match sys::namespace_type(fd.as_fd()) {
        Ok(kind) if kind == join.kind.flag() => Ok(Target { kind: join.kind, fd, field: join.field.clone() }),
        Ok(_) | Err(sys::Error { errno: Errno::NOTTY, .. }) => {
            let text =
                format!("{} is not a {} namespace: invalid argument", join.path.display(), join.kind.name());
            Err(Error::refused(&join.field, text))
        }
        Err(error) => Err(error.into()),
    }
}

fn open_namespace(path: &Path) -> sys::Result<OwnedFd> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).named(|| format!("open {}", path.display()))
}

impl Target {
    pub(crate) fn enter(&self) -> Result<()> {
        self.setns().during(|| self.act())
    }

    /// The error of a target that the caller's rights do not reach.
    pub(crate) fn refusal(&self) -> Error {
        let error = sys::Error { call: format!("setns({:#x})", self.kind.flag()), errno: Errno::PERM };
        Error::During { act: self.act(), source: Box::new(error.into()) }
    }

    fn act(&self) -> String {
        format!("join {} namespace ({})", self.kind.name(), self.field)
    }

    fn setns(&self) -> sys::Result<()> {
        sys::setns(self.fd.as_fd(), self.kind.flag())
    }
}

/// The namespaces this process left for the duration of a clone.
#[derive(Default)]
pub(crate) struct Visit {
    home: Vec<(Kind, OwnedFd)>,
    /// Root and working directory, which joining a mount namespace replaces.
    place: Option<(OwnedFd, OwnedFd)>,
}

impl Visit {
    /// Enters what the caller's rights allow; what is refused comes back, to be entered with the rights of the
    /// user namespace that is joined first.
    pub(crate) fn enter(targets: Vec<Target>) -> Result<(Self, Vec<Target>)> {
        let mut visit = Self::default();
        let mut refused = Vec::new();
        for target in targets {
            if target.kind == Kind::User {
                refused.push(target);
                continue;
            }
            visit.remember(target.kind)?;
            match target.setns() {
                Ok(()) => {}
                Err(sys::Error { errno: Errno::PERM, .. }) => {
                    visit.home.pop();
                    refused.push(target);
                }
                Err(_) => target.enter()?,
            }
        }
        Ok((visit, refused))
    }

    /// Makes a time namespace whose clocks are ahead by `offsets`, for the next child to start in.
    pub(crate) fn new_time(&mut self, offsets: &[ClockOffset]) -> Result<()> {
        self.remember(Kind::Time)?;
        unshare_time(offsets)
    }

    /// Makes a mount namespace, a copy of the own one.
    pub(crate) fn new_mount(&mut self) -> Result<()> {
        self.remember(Kind::Mount)?;
        sys::unshare(Kind::Mount.flag()).during(|| "make a mount namespace".into())
    }

    fn remember(&mut self, kind: Kind) -> Result<()> {
        let home = Path::new("/proc/self/ns").join(kind.file());
        self.home.push((kind, open_namespace(&home)?));
        if kind == Kind::Mount {
            let place = |path: &str| {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                open(path, flags, Mode::empty()).named(|| format!("open {path}"))
            };
            self.place = Some((place("/")?, place(".")?));
        }
        Ok(())
    }

    /// Returns to the namespaces this process came from.
    pub(crate) fn leave(self) -> Result<()> {
        for (kind, home) in self.home {
            sys::setns(home.as_fd(), kind.flag())
                .during(|| format!("return to own {} namespace", kind.name()))?;
        }
        if let Some((root, cwd)) = self.place {
            rustix::process::fchdir(&root).named(|| "fchdir(own root)".into())?;
            rustix::process::chroot(".").named(|| "chroot(own root)".into())?;
            rustix::process::fchdir(&cwd).named(|| "fchdir(own working directory)".into())?;
        }
        Ok(())
    }
}

/// unshare(CLONE_NEWTIME) and its offsets, which must be written before the first process enters.
pub(crate) fn unshare_time(offsets: &[ClockOffset]) -> Result<()> {
    sys::unshare(Kind::Time.flag()).during(|| "make a time namespace".into())?;
    if offsets.is_empty() {
        return Ok(());
    }
    let lines = offsets.iter().fold(String::new(), |mut lines, offset| {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{} {} {}", offset.clock, offset.seconds, offset.nanoseconds);
        lines
    });
    std::fs::write("/proc/self/timens_offsets", &lines)
        .named(|| format!("write {:?} to timens_offsets", lines.trim_end()))
        .during(|| "set clock offsets (linux.timeOffsets)".into())
}
