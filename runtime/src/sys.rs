//! The floor: every system call the runtime makes, one function each, without policy.
//!
//! Descriptors come out owned and go in borrowed, all are close-on-exec, EINTR is retried where the call can be
//! repeated, and a failure quotes the call with its arguments. The only `unsafe` of this crate is here.
#![allow(unsafe_code)]

pub(crate) mod attributes;
pub(crate) mod c_library;
pub(crate) mod descriptors;
pub(crate) mod files;
pub(crate) mod mounts;
pub(crate) mod signals;
mod start;

use std::ffi::{CStr, CString, OsString};
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir, SeekFrom, Stat};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal};

pub(crate) use rustix::io::Errno;

use mounts::MountChange;

/// A failed system call: what was asked, and the kernel's answer.
#[derive(Debug, Clone)]
pub(crate) struct Error {
    pub(crate) call: String,
    pub(crate) errno: Errno,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, errno_text(self.errno))
    }
}

impl std::error::Error for Error {}

/// The C library's text for an errno, in lower case as Go prints it: engines match on these words.
pub(crate) fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The same for an error of the standard library.
pub(crate) fn io_error_text(error: &std::io::Error) -> String {
    Errno::from_io_error(error).map_or_else(|| error.to_string(), errno_text)
}

/// Names the call in the error of a rustix result.
pub(crate) trait Named<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Named<T> for rustix::io::Result<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error { call: call(), errno })
    }
}

impl<T> Named<T> for std::io::Result<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error { call: call(), errno: Errno::from_io_error(&error).unwrap_or(Errno::IO) })
    }
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Turns the C convention (-1 and errno) into a result; `call` says what was asked.
fn check(ret: libc::c_long, call: impl FnOnce() -> String) -> Result<libc::c_long> {
    if ret == -1 {
        let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
        return Err(Error { call: call(), errno });
    }
    Ok(ret)
}

/// The same for calls that return a new descriptor.
fn check_fd(ret: libc::c_long, call: impl FnOnce() -> String) -> Result<OwnedFd> {
    let fd = check(ret, call)?;
    let fd = i32::try_from(fd).map_err(|_| Error { call: "descriptor".into(), errno: Errno::BADF })?;
    // SAFETY: the kernel has just handed out this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// ---- processes: clone, wait, exec, signals ----------------------------------------------------------------------

/// Linux 5.7; clone3 only, so it does not fit libc's constant of the same name.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a clone this is.
pub(crate) enum Side {
    Parent { pid: Pid, pidfd: OwnedFd },
    Child,
}

/// clone3(2) without CLONE_VM: the child continues on a copy of this memory, as after fork(2).
///
/// Only sound in a process with one thread, which `main` guarantees by never starting one: another thread could hold
/// the allocator's lock at this moment. `cgroup` is the directory for `CLONE_INTO_CGROUP` (Linux 5.7).
pub(crate) fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Side> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain integers, for which zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    // With CLONE_PARENT the exit signal is the caller's own.
    args.exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = dir.as_raw_fd().unsigned_abs().into();
    }
    // SAFETY: args outlives the call, no memory is shared with the child, and this process has one thread.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    let pid = check(ret, || format!("clone3({:#x})", args.flags))?;
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        None => Ok(Side::Child),
        // SAFETY: with CLONE_PIDFD the kernel stored a new descriptor that only we know.
        Some(pid) => Ok(Side::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// Ends a child that shares its memory image with its parent: no exit handlers, no destructors.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit only ends the process.
    unsafe { libc::_exit(status) }
}

/// A copy of the descriptor that the process behind `pidfd` has as `number` (Linux 5.6).
pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: i32) -> Result<OwnedFd> {
    use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
    pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()).named(|| format!("pidfd_getfd({number})"))
}

/// execveat(2) of an open file. Returns only on failure.
pub(crate) fn exec_fd(file: BorrowedFd<'_>, argv: &[CString], envp: &[CString]) -> Error {
    let (argv, envp) = (pointers(argv), pointers(envp));
    // SAFETY: both arrays are NULL-terminated and their strings live until the call returns.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    match check(ret, || "execveat(own executable)".into()) {
        Err(error) => error,
        Ok(_) => Error { call: "execveat(own executable)".into(), errno: Errno::INVAL },
    }
}

/// Replaces the caller by a program. Returns only if the kernel refuses.
pub(crate) fn execve(path: &CStr, args: &[CString], env: &[CString]) -> Error {
    let (args, env) = (pointers(args), pointers(env));
    loop {
        // SAFETY: a C string and two NULL-terminated arrays of them, all alive until the call returns.
        unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
        let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
        if errno != Errno::INTR {
            return Error { call: format!("exec {}", path.to_string_lossy()), errno };
        }
    }
}

/// The strings of `list` as a NULL-terminated array for exec.
fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// prctl(2) for options that take one integer.
fn prctl(option: libc::c_int, value: libc::c_ulong, name: &str) -> Result<()> {
    // SAFETY: the options passed by this module read integers only.
    let ret = unsafe { libc::prctl(option, value, 0, 0, 0) };
    check(ret.into(), || format!("prctl({name}, {value})")).map(drop)
}

/// Nobody without CAP_SYS_PTRACE may trace this process, read its descriptors or enter its namespaces (prctl(2),
/// `PR_SET_DUMPABLE`).
pub(crate) fn set_undumpable() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, "PR_SET_DUMPABLE")
}

/// The process's own user may do all that again.
pub(crate) fn set_dumpable() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 1, "PR_SET_DUMPABLE")
}

/// The signal this process gets when its parent ends; 0 for none.
pub(crate) fn set_parent_death_signal(signal: libc::c_int) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal.unsigned_abs().into(), "PR_SET_PDEATHSIG")
}

/// Orphaned descendants become children of this process.
pub(crate) fn set_child_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, "PR_SET_CHILD_SUBREAPER")
}

/// The name `ps` shows for this process; at most 15 bytes count.
pub(crate) fn set_process_name(name: &CStr) -> Result<()> {
    // SAFETY: PR_SET_NAME reads at most 16 bytes of a NUL-terminated string.
    let ret = unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
    check(ret.into(), || format!("prctl(PR_SET_NAME, {name:?})")).map(drop)
}

/// `pidfd_open(2)`. ESRCH: no such process; EINVAL: a thread that is not its group's leader.
pub(crate) fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).named(|| format!("pidfd_open({pid})"))
}

/// `pidfd_send_signal(2)` with any number, so that the kernel judges it.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: no pointer is followed: the third argument may be null and the fourth is a flag word.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(ret, || format!("pidfd_send_signal({signal})")).map(drop)
}

/// A signal that [`rustix`] takes: 1 to 64 without the two that the C library keeps for its threads.
pub(crate) fn to_signal(number: i32) -> Option<Signal> {
    let known = matches!(number, 1..=31 | 34..=64);
    // SAFETY: the number is a signal of Linux and not one of the C library's own.
    known.then(|| unsafe { Signal::from_raw_unchecked(number) })
}

/// Waits until `fd` is readable; false when `deadline` came first.
pub(crate) fn poll_readable(fd: BorrowedFd<'_>, deadline: Instant) -> Result<bool> {
    poll_until(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], deadline)
}

/// Waits until one of `fds` has what it is asked for; false when `deadline` came first.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Instant) -> Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        match rustix::event::poll(fds, Some(&left)) {
            Err(Errno::INTR) => {}
            result => return result.map(|ready| ready > 0).named(|| "poll".into()),
        }
    }
}

// ---- namespaces ---------------------------------------------------------------------------------------------------

/// setns(2): `fd` is a namespace file (`flags` its type, or 0) or a pidfd (`flags` any set of types, Linux 5.8).
pub(crate) fn setns(fd: BorrowedFd<'_>, flags: libc::c_int) -> Result<()> {
    // SAFETY: takes a descriptor and an integer.
    let ret = unsafe { libc::setns(fd.as_raw_fd(), flags) };
    check(ret.into(), || format!("setns({flags:#x})")).map(drop)
}

pub(crate) fn unshare(flags: libc::c_int) -> Result<()> {
    // SAFETY: one thread; nothing in this process relies on the namespaces it leaves.
    let ret = unsafe { libc::unshare(flags) };
    check(ret.into(), || format!("unshare({flags:#x})")).map(drop)
}

/// The `CLONE_NEW*` type of an open namespace file (ioctl_nsfs(2)); ENOTTY when it is no namespace.
pub(crate) fn namespace_type(fd: BorrowedFd<'_>) -> Result<libc::c_int> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: NS_GET_NSTYPE takes no argument and returns an integer.
    let ret = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    let kind = check(ret.into(), || "ioctl(NS_GET_NSTYPE)".into())?;
    Ok(libc::c_int::try_from(kind).unwrap_or_default())
}

// ---- mounts and files ---------------------------------------------------------------------------------------------

/// A name below a directory, as the calls that end in `at` take it.
pub(crate) trait Name: rustix::path::Arg + Copy + fmt::Debug {}
impl<T: rustix::path::Arg + Copy + fmt::Debug> Name for T {}

/// openat(2), close-on-exec and never through a symbolic link as last component.
pub(crate) fn open_at(dir: BorrowedFd<'_>, name: impl Name, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    retry_on_intr(|| rustix::fs::openat(dir, name, flags, mode))
        .named(|| format!("openat({name:?}, {flags:?})"))
}

pub(crate) fn mkdir_at(dir: BorrowedFd<'_>, name: impl Name, mode: Mode) -> Result<()> {
    rustix::fs::mkdirat(dir, name, mode).named(|| format!("mkdirat({name:?}, {:#o})", mode.as_raw_mode()))
}

pub(crate) fn mkfifo_at(dir: BorrowedFd<'_>, name: impl Name, mode: Mode) -> Result<()> {
    rustix::fs::mkfifoat(dir, name, mode).named(|| format!("mkfifoat({name:?}, {:#o})", mode.as_raw_mode()))
}

/// renameat(2) within one directory.
pub(crate) fn rename_at(dir: BorrowedFd<'_>, from: impl Name, to: impl Name) -> Result<()> {
    rustix::fs::renameat(dir, from, dir, to).named(|| format!("renameat({from:?}, {to:?})"))
}

pub(crate) fn unlink_at(dir: BorrowedFd<'_>, name: impl Name, flags: AtFlags) -> Result<()> {
    rustix::fs::unlinkat(dir, name, flags).named(|| format!("unlinkat({name:?}, {flags:?})"))
}

/// newfstatat(2) of the name itself; none when there is no such name.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: impl Name) -> Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        result => result.map(Some).named(|| format!("fstatat({name:?})")),
    }
}

pub(crate) fn stat(fd: BorrowedFd<'_>) -> Result<Stat> {
    rustix::fs::fstat(fd).named(|| "fstat".into())
}

/// The directory at `path` by its absolute path without symbolic links: proc_pid_fd(5) has it in one reading.
pub(crate) fn resolve_dir(path: &Path) -> rustix::io::Result<PathBuf> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
    let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
    Ok(OsString::from_vec(rustix::fs::readlink(link, Vec::new())?.into_bytes()).into())
}

pub(crate) fn flock(fd: BorrowedFd<'_>, operation: FlockOperation) -> Result<()> {
    retry_on_intr(|| rustix::fs::flock(fd, operation)).named(|| format!("flock({operation:?})"))
}

/// Names and types in a directory, without `.` and `..`.
pub(crate) fn entries(dir: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    rustix::fs::seek(dir, SeekFrom::Start(0)).named(|| "lseek(0)".into())?;
    let mut listing = RawDir::new(dir, &mut buffer);
    let mut found = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry.named(|| "getdents64".into())?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            found.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

/// Everything from the current offset to the end. No size is asked for: files of proc(5) have none to tell.
pub(crate) fn read_all(fd: impl AsFd) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(8192);
    while retry_on_intr(|| rustix::io::read(&fd, spare_capacity(&mut bytes))).named(|| "read".into())? > 0 {
        bytes.reserve(4096);
    }
    Ok(bytes)
}

pub(crate) fn write_all(fd: OwnedFd, bytes: &[u8]) -> Result<()> {
    File::from(fd).write_all(bytes).named(|| format!("write({} bytes)", bytes.len()))
}

/// Writes to standard output at once, so that a full disk or a closed pipe is an error and not a panic.
pub(crate) fn print(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).named(|| "write to standard output".into())
}

/// mount_setattr(2) (Linux 5.12) on the mount at `path`, or on the one that `dir` is where `path` is empty.
pub(crate) fn mount_setattr(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: libc::c_int,
    change: &MountChange<'_>,
) -> Result<()> {
    let mut attributes = libc::mount_attr {
        attr_set: change.set,
        attr_clr: change.clear,
        // u64 on one architecture is another integer on the next.
        #[allow(clippy::useless_conversion)]
        propagation: change.propagation.into(),
        userns_fd: change.ids.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs())),
    };
    if change.ids.is_some() {
        attributes.attr_set |= libc::MOUNT_ATTR_IDMAP;
    }
    // SAFETY: the path ends in a NUL, the structure and its size belong together, both outlive the call.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw mut attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check(ret, || {
        let (set, clear, propagation) = (attributes.attr_set, attributes.attr_clr, attributes.propagation);
        format!("mount_setattr({path:?}, set {set:#x}, clear {clear:#x}, propagation {propagation:#x})")
    })?;
    Ok(())
}
