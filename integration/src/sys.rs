//! The calls that neither std nor rustix offers as safe functions, one each, without policy.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Gives the calling thread its own mount namespace, root and working directory.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: file system state of this thread alone changes; no memory is touched.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNS) }).map(|_| ())
}

/// Lets `command` find `fds` as 3, 4, ... In the child they replace whatever stands there.
pub fn pass_descriptors(command: &mut Command, fds: Vec<OwnedFd>) {
    let place = move || {
        // Away from the numbers that will be written, then into place.
        let far: Vec<i32> = fds
            .iter()
            // SAFETY: duplicates a descriptor that `fds` owns.
            .map(|fd| unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100) })
            .collect();
        for (number, fd) in (3..).zip(far) {
            // SAFETY: dup2 on numbers that only the program to come will use.
            checked(unsafe { libc::dup2(fd, number) })?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls and one small allocation, in a child of a spawn that holds no lock.
    unsafe { command.pre_exec(place) };
}

/// Makes `command` the leader of a session whose controlling terminal is its standard input.
pub fn take_terminal(command: &mut Command) {
    let take = || {
        // SAFETY: no memory.
        checked(unsafe { libc::setsid() })?;
        // SAFETY: descriptor 0 is a terminal, the argument is an integer.
        checked(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }).map(|_| ())
    };
    // SAFETY: the closure makes two system calls.
    unsafe { command.pre_exec(take) };
}

/// Lets `command` move itself into cgroups before it starts: `procs` are their `cgroup.procs` files.
///
/// # Panics
/// A path with a nul byte.
pub fn move_to_cgroup(command: &mut Command, procs: Vec<PathBuf>) {
    let to_c = |path: PathBuf| CString::new(path.into_os_string().into_vec());
    let procs: Result<Vec<CString>, _> = procs.into_iter().map(to_c).collect();
    let procs = procs.unwrap_or_else(|error| panic!("{error}"));
    let join = move || {
        for file in &procs {
            // SAFETY: the path is a C string; "0" names the writer itself.
            unsafe {
                let fd = checked(libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
                let written = libc::write(fd, c"0".as_ptr().cast(), 1);
                libc::close(fd);
                if written != 1 {
                    return Err(io::Error::last_os_error());
                }
            }
        }
        Ok(())
    };
    // SAFETY: open, write and close only.
    unsafe { command.pre_exec(join) };
}

/// Restricts `command` to one CPU.
pub fn pin_to_cpu(command: &mut Command, cpu: usize) {
    let pin = move || {
        // SAFETY: an all-zero cpu_set_t is the empty set.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            checked(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)).map(|_| ())
        }
    };
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(pin) };
}

/// Sends `signal` to the process `pid`.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: two integers.
    checked(unsafe { libc::kill(pid, signal) }).map(|_| ())
}

/// What a process and those that it has waited for have used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Peak of resident memory in KiB.
    pub memory: i64,
    /// In user and in kernel mode.
    pub processor: Duration,
}

/// Waits for the child `pid`; returns its raw wait status too.
pub fn wait_with_usage(pid: i32) -> io::Result<(i32, Usage)> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid, and both pointers are to locals.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        checked(libc::wait4(pid, &raw mut status, 0, &raw mut usage))?;
        let processor = duration(usage.ru_utime) + duration(usage.ru_stime);
        Ok((status, Usage { memory: usage.ru_maxrss, processor }))
    }
}

fn duration(time: libc::timeval) -> Duration {
    let (seconds, micros) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_usec));
    Duration::from_secs(seconds.unwrap_or(0)) + Duration::from_micros(micros.unwrap_or(0))
}

/// The process behind a pidfd, from its fdinfo.
pub fn pid_of(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}

/// `struct seccomp_notif` of linux/seccomp.h.
#[repr(C)]
#[derive(Debug, Default)]
pub struct SeccompNotification {
    pub id: u64,
    pub pid: u32,
    pub flags: u32,
    pub number: i32,
    pub token: u32,
    pub instruction_pointer: u64,
    pub args: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
#[derive(Debug, Default)]
pub struct SeccompAnswer {
    pub id: u64,
    pub value: i64,
    /// Negative errno.
    pub error: i32,
    pub flags: u32,
}

/// `SECCOMP_IOCTL_NOTIF_RECV`, _IOWR('!', 0, struct seccomp_notif).
const NOTIF_RECV: libc::c_ulong = 0xc050_2100;
/// `SECCOMP_IOCTL_NOTIF_SEND`, _IOWR('!', 1, struct seccomp_notif_resp).
const NOTIF_SEND: libc::c_ulong = 0xc018_2101;

/// The next call that waits at a seccomp listener; waits for one itself.
pub fn receive_notification(listener: BorrowedFd<'_>) -> io::Result<SeccompNotification> {
    let mut notification = SeccompNotification::default();
    // SAFETY: the kernel fills one seccomp_notif, which must be zero before.
    checked(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, &raw mut notification) })?;
    Ok(notification)
}

/// Lets a call that waits at a seccomp listener go on.
pub fn answer_notification(listener: BorrowedFd<'_>, answer: &SeccompAnswer) -> io::Result<()> {
    // SAFETY: the kernel reads one seccomp_notif_resp.
    checked(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, &raw const *answer) }).map(|_| ())
}

fn checked(returned: i32) -> io::Result<i32> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}
