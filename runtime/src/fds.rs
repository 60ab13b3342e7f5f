//! File descriptors across the border: which of the caller's the container's program gets, and that it gets no other.
//!
//! A process made by fork has all descriptors of the runtime at their numbers. Those that are passed on start at 3
//! without a gap, so none of them has to move: it is enough to close the rest (CVE-2024-21626).

use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, RawFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, Uid, fchown, fstat, major, minor, openat, statat,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};

use crate::error::{Error, Result};
use crate::proc::{Proc, Scope};
use crate::sys::descriptors::{RangeAct, close_number, close_range, is_close_on_exec, set_close_on_exec};
use crate::sys::{self, Errno, Named as _};

const FIRST: RawFd = 3;
const NULL_DEVICE: (u32, u32) = (1, 3);

/// What the caller of the runtime hands to the program beside stdin, stdout and stderr.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Sockets of a systemd unit (`sd_listen_fds(3)`); they come first.
    listen: u32,
    /// `--preserve-fds`.
    preserve: u32,
}

/// The two variables by which systemd announces sockets.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListenVariables {
    pub(crate) pid: Option<String>,
    pub(crate) fds: Option<String>,
}

impl ListenVariables {
    pub(crate) fn from_environment() -> Self {
        Self { pid: std::env::var("LISTEN_PID").ok(), fds: std::env::var("LISTEN_FDS").ok() }
    }

    /// How many sockets are meant for this process.
    fn count(&self, is_own: impl FnOnce(i32) -> bool) -> u32 {
        let for_us = self.pid.as_deref().and_then(|text| text.parse().ok()).is_some_and(is_own);
        self.fds.as_deref().filter(|_| for_us).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

impl Passed {
    /// Checks that all of them are open. A descriptor that is closed at execve cannot have come from the caller: it
    /// is one of ours that took the number of a missing one.
    pub(crate) fn check(preserve: u32, listen: &ListenVariables) -> Result<Self> {
        let is_own = |pid| pid == rustix::process::getpid().as_raw_pid();
        let passed = Self { listen: listen.count(is_own), preserve };
        for index in 0..passed.listen {
            if !is_inherited(index) {
                return Err(Error::Usage(format!(
                    "unable to stat LISTEN_FDS descriptor {index} (of {})",
                    passed.listen
                )));
            }
        }
        for index in 0..preserve {
            if !passed.listen.checked_add(index).is_some_and(is_inherited) {
                let text = format!("unable to stat preserved-fd {index} (of {preserve})");
                return Err(sys::Error { call: text, errno: Errno::NOENT }.into());
            }
        }
        Ok(passed)
    }

    /// The first number that the program must not have.
    pub(crate) fn first_private(self) -> u32 {
        // Checked descriptors are far fewer than 2^31.
        FIRST.unsigned_abs() + self.listen + self.preserve
    }

    /// Keeps from the program every other descriptor, also those the caller left open by mistake (CVE-2024-21626), and
    /// from hooks too. What the runtime opens itself is closed at execve anyway.
    pub(crate) fn hide_the_rest(self) -> Result<()> {
        hide_from(self.first_private())
    }

    /// What the program has to be told about its sockets; it is process 1 to itself.
    pub(crate) fn environment(self) -> Vec<String> {
        if self.listen == 0 {
            return Vec::new();
        }
        vec![format!("LISTEN_FDS={}", self.listen), "LISTEN_PID=1".into()]
    }
}

fn is_inherited(index: u32) -> bool {
    let fd = RawFd::try_from(index).ok().and_then(|index| FIRST.checked_add(index));
    fd.and_then(is_close_on_exec) == Some(false)
}

fn hide_from(first: u32) -> Result<()> {
    match close_range(first, u32::MAX, RangeAct::CloseOnExec) {
        // Linux before 5.11, or a seccomp filter around us.
        Err(error) if matches!(error.errno, Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
            hide_one_by_one(first)
        }
        result => Ok(result?),
    }
}

fn hide_one_by_one(first: u32) -> Result<()> {
    let directory = "/proc/self/fd";
    let list = std::fs::read_dir(directory).named(|| format!("open {directory}"))?;
    for entry in list {
        let name = entry.named(|| format!("read {directory}"))?.file_name();
        let fd = name.to_str().and_then(|name| name.parse::<RawFd>().ok());
        if let Some(fd) = fd.filter(|fd| u32::try_from(*fd).is_ok_and(|fd| fd >= first)) {
            set_close_on_exec(fd)?;
        }
    }
    Ok(())
}

/// Closes every descriptor from `first` on but those to `keep`, so that nothing of the host can be named as
/// `/proc/self/fd/N` by a path of the configuration or of the image (CVE-2024-21626). All owners of the closed numbers
/// are dead weight from here on: they must not be dropped.
pub(crate) fn close_from(first: u32, keep: &[Option<BorrowedFd<'_>>]) -> Result<()> {
    let mut keep: Vec<u32> = keep.iter().flatten().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    keep.sort_unstable();
    let mut from = first;
    for kept in keep.into_iter().filter(|kept| *kept >= first) {
        if kept > from {
            close(from, kept - 1)?;
        }
        from = kept + 1;
    }
    close(from, u32::MAX)
}

fn close(from: u32, to: u32) -> Result<()> {
    match close_range(from, to, RangeAct::Close) {
        Err(error) if matches!(error.errno, Errno::NOSYS | Errno::PERM) => close_one_by_one(from, to),
        result => Ok(result?),
    }
}

/// By the list that a proc of our own gives, as /proc may be the image's by now.
fn close_one_by_one(from: u32, to: u32) -> Result<()> {
    let proc = Proc::open(Scope::Processes)?;
    let list = proc.open_own("fd")?;
    let names = sys::entries(list.as_fd())?;
    drop((list, proc));
    let numbers = names.iter().filter_map(|(name, _)| name.to_str().ok()?.parse().ok());
    numbers.filter(|number| (from..=to).contains(number)).try_for_each(|number| Ok(close_number(number)?))
}

/// Replaces a stdio descriptor that is the host's /dev/null by the container's: through the host's, the program
/// would hold a file of another root.
pub(crate) fn reopen_null() -> Result<()> {
    let mut null = None;
    for (index, fd) in [stdin(), stdout(), stderr()].into_iter().enumerate() {
        if !is_null(&stat_stdio(fd, index)?) {
            continue;
        }
        let null = match &null {
            Some(null) => null,
            None => null.insert(open_null()?),
        };
        match index {
            0 => dup2_stdin(null),
            1 => dup2_stdout(null),
            _ => dup2_stderr(null),
        }
        .named(|| format!("dup2(/dev/null, {index})"))?;
    }
    Ok(())
}

/// Gives stdin, stdout and stderr to the user of the program, who may open them again by name (/dev/stderr). Not
/// /dev/null, which is everyone's, and not where the file system will not have it.
pub(crate) fn own_stdio(uid: u32) -> Result<()> {
    for (index, fd) in [stdin(), stdout(), stderr()].into_iter().enumerate() {
        let stat = stat_stdio(fd, index)?;
        if stat.st_uid == uid || is_null(&stat) {
            continue;
        }
        match fchown(fd, Some(Uid::from_raw(uid)), None) {
            Err(Errno::PERM | Errno::ROFS | Errno::INVAL) => {}
            result => result.named(|| format!("fchown({index}, {uid}, -1)"))?,
        }
    }
    Ok(())
}

fn open_null() -> Result<rustix::fd::OwnedFd> {
    let refuse = || sys::Error { call: "open /dev/null as the null device".into(), errno: Errno::NODEV };
    let stat = statat(CWD, "/dev/null", AtFlags::SYMLINK_NOFOLLOW).named(|| "stat /dev/null".into())?;
    if !is_null(&stat) {
        return Err(refuse().into());
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let null = openat(CWD, "/dev/null", flags, Mode::empty()).named(|| "open /dev/null".into())?;
    if !is_null(&fstat(&null).named(|| "fstat /dev/null".into())?) {
        return Err(refuse().into());
    }
    Ok(null)
}

fn stat_stdio(fd: BorrowedFd<'_>, index: usize) -> Result<Stat> {
    Ok(fstat(fd).named(|| format!("fstat({index})"))?)
}

fn is_null(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == NULL_DEVICE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pid: &str, fds: &str) -> ListenVariables {
        ListenVariables { pid: Some(pid.into()), fds: Some(fds.into()) }
    }

    #[test]
    fn sockets_count_only_for_the_process_they_are_meant_for() {
        assert_eq!(variables("7", "2").count(|pid| pid == 7), 2);
        for (pid, fds) in [("8", "2"), ("x", "2"), ("7", "x"), ("7", "-1"), ("7", "")] {
            assert_eq!(variables(pid, fds).count(|pid| pid == 7), 0, "{pid} {fds}");
        }
        assert_eq!(ListenVariables::default().count(|pid| pid == 7), 0);
    }

    #[test]
    fn the_program_learns_of_its_sockets() {
        let passed = Passed { listen: 2, preserve: 3 };
        assert_eq!(passed.first_private(), 8);
        assert_eq!(passed.environment(), ["LISTEN_FDS=2", "LISTEN_PID=1"]);
        assert!(Passed::default().environment().is_empty());
        assert_eq!(Passed::default().first_private(), 3);
    }

    #[test]
    fn without_close_range_they_are_closed_all_the_same() {
        let file = std::fs::File::open("/dev/null").expect("open");
        // Numbers that no other test has.
        let [kept, closed, beyond] = [5000, 5001, 5003].map(|number| {
            let copy = rustix::io::fcntl_dupfd_cloexec(&file, number).expect("a copy");
            std::os::fd::IntoRawFd::into_raw_fd(copy)
        });
        close_one_by_one(5001, 5002).expect("close");
        assert_eq!([kept, closed, beyond].map(|fd| is_close_on_exec(fd).is_some()), [true, false, true]);
        close_one_by_one(5000, u32::MAX).expect("close");
        assert_eq!([kept, beyond].map(is_close_on_exec), [None, None]);
    }

    #[test]
    fn a_descriptor_of_ours_does_not_pass_for_one_of_the_callers() {
        // However many the test runner left open, the number of this one is beyond them and it is close-on-exec.
        let ours = std::fs::File::open("/dev/null").expect("open");
        let count = u32::try_from(ours.as_raw_fd() - 2).expect("above 2");
        let line = Passed::check(count, &ListenVariables::default()).expect_err("ours").line();
        let (start, end) =
            ("unable to stat preserved-fd ", format!(" (of {count}): no such file or directory"));
        assert!(line.starts_with(start) && line.ends_with(&end), "{line}");
    }
}
