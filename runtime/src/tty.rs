//! The pseudoterminal of a process (pty(7)), made from inside the container so that it belongs to the container's devpts.
//!
//! The image, and for `exec` its processes, decide what lies under /dev: the multiplexer is taken by descriptor from
//! a verified devpts and its slave asked from it, never opened by name (CVE-2025-52565). The caller's side of the
//! terminal is in `host_terminal`, the copying between the two in `foreground`.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, major, minor, openat, openat2,
    statat,
};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{During as _, Error, Result};
use crate::sys::{Errno, Named as _};
use crate::unix_socket;

/// `DEVPTS_SUPER_MAGIC` of linux/magic.h.
const DEVPTS: u64 = 0x1cd1;
/// Of the multiplexer in every devpts: `PTMX_INO`-to-be in fs/devpts/inode.c, and `/dev/ptmx` in devices.txt.
const PTMX_INODE: u64 = 2;
const PTMX_DEVICE: (u32, u32) = (5, 2);
/// The majors of Unix98 slaves in devices.txt.
const SLAVE_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

/// In characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

/// Both ends of a new pseudoterminal.
#[derive(Debug)]
pub(crate) struct Pseudoterminal {
    master: OwnedFd,
    slave: OwnedFd,
    /// Of the slave, as the container sees it.
    path: String,
}

impl Pseudoterminal {
    /// Makes one in the devpts at /dev/pts of the caller's root, which must be the container's already.
    pub(crate) fn open() -> Result<Self> {
        let master = open_multiplexer()?;
        unlockpt(&master).named(|| "ioctl(ptmx, TIOCSPTLCK)".into())?;
        let slave =
            ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
                .named(|| "ioctl(ptmx, TIOCGPTPEER)".into())?;
        verify_slave(&slave)?;
        let path = ptsname(&master, Vec::new()).named(|| "ioctl(ptmx, TIOCGPTN)".into())?;
        Ok(Self { master, slave, path: path.to_string_lossy().into_owned() })
    }

    pub(crate) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    pub(crate) fn resize(&self, size: Size) -> Result<()> {
        resize(self.master.as_fd(), size)
    }

    /// Mounts the slave on /dev/console, for programs that write there.
    pub(crate) fn bind_console(&self) -> Result<()> {
        bind_console(self.slave.as_fd()).during(|| "mount the terminal on /dev/console".into())
    }

    /// Hands the master to who owns the terminal from now on.
    pub(crate) fn send_master(&self, socket: BorrowedFd<'_>) -> Result<()> {
        unix_socket::send(socket, self.master.as_fd(), self.path.as_bytes())
            .during(|| "send the terminal to the console socket".into())
    }

    /// Makes the slave stdin, stdout, stderr and the controlling terminal of the caller, in a session of its own;
    /// the master is closed.
    pub(crate) fn become_stdio(self) -> Result<()> {
        rustix::stdio::dup2_stdin(&self.slave).named(|| "dup2(slave, 0)".into())?;
        rustix::stdio::dup2_stdout(&self.slave).named(|| "dup2(slave, 1)".into())?;
        rustix::stdio::dup2_stderr(&self.slave).named(|| "dup2(slave, 2)".into())?;
        new_session()?;
        ioctl_tiocsctty(&self.slave).named(|| "ioctl(setctty)".into())?;
        Ok(())
    }
}

/// Leaves the caller's session and its controlling terminal. A process that leads a session already stays in it.
pub(crate) fn new_session() -> Result<()> {
    match setsid() {
        Ok(_) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Ok(Err(errno).named(|| "setsid()".into())?),
    }
}

pub(crate) fn resize(terminal: BorrowedFd<'_>, size: Size) -> Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).named(|| format!("ioctl(TIOCSWINSZ, {}x{})", size.ws_row, size.ws_col))?;
    Ok(())
}

fn open_multiplexer() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let devpts = openat(CWD, "/dev/pts", flags, Mode::empty()).named(|| "open /dev/pts".into())?;
    let magic = fstatfs(&devpts).named(|| "fstatfs /dev/pts".into())?.f_type;
    if u64::try_from(magic) != Ok(DEVPTS) {
        return refuse(format!("/dev/pts is not a devpts mount: super magic is {magic:#x}"));
    }
    // Nobody can make or replace a file inside a devpts; what remains is a mount on top, and a file of another kind
    // must not be opened even for a moment.
    let stat = statat(&devpts, "ptmx", AtFlags::SYMLINK_NOFOLLOW).named(|| "stat /dev/pts/ptmx".into())?;
    verify_multiplexer(&stat)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let master = match openat2(&devpts, "ptmx", flags, Mode::empty(), resolve) {
        // The kernel or a seccomp filter around us has no openat2.
        Err(Errno::NOSYS | Errno::PERM) => openat(&devpts, "ptmx", flags, Mode::empty()),
        result => result,
    };
    let master = master.named(|| "open /dev/pts/ptmx".into())?;
    verify_multiplexer(&fstat(&master).named(|| "fstat /dev/pts/ptmx".into())?)?;
    Ok(master)
}

fn verify_multiplexer(stat: &Stat) -> Result<()> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let device = (major(stat.st_rdev), minor(stat.st_rdev));
    if kind != FileType::CharacterDevice || device != PTMX_DEVICE || stat.st_ino != PTMX_INODE {
        return refuse(format!(
            "ptmx handle is not a real char ptmx device: {kind:?} {}:{} inode {}",
            device.0, device.1, stat.st_ino
        ));
    }
    Ok(())
}

fn verify_slave(slave: &OwnedFd) -> Result<()> {
    let stat = fstat(slave).named(|| "fstat(slave)".into())?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::CharacterDevice || !SLAVE_MAJORS.contains(&major(stat.st_rdev)) {
        return refuse(format!("pty peer handle is not a pty slave: {kind:?} {}", major(stat.st_rdev)));
    }
    Ok(())
}

fn bind_console(slave: BorrowedFd<'_>) -> Result<()> {
    let console = console_target()?;
    let tree = open_tree(
        slave,
        "",
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH,
    )
    .named(|| "open_tree(slave, OPEN_TREE_CLONE)".into())?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", &console, "", flags).named(|| "move_mount(slave, /dev/console)".into())?;
    Ok(())
}

/// The file to mount on: a new one, or what the image has there, which is never opened as what it is.
fn console_target() -> Result<OwnedFd> {
    let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(CWD, "/dev/console", new, Mode::from_raw_mode(0o666)) {
        Err(Errno::EXIST) => {}
        result => return Ok(result.named(|| "create /dev/console".into())?),
    }
    let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let console = openat(CWD, "/dev/console", path, Mode::empty()).named(|| "open /dev/console".into())?;
    let stat = fstat(&console).named(|| "fstat /dev/console".into())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::CharacterDevice => Ok(console),
        kind => refuse(format!("/dev/console is neither a file nor a character device but {kind:?}")),
    }
}

fn refuse<T>(reason: String) -> Result<T> {
    Err(Error::refused("/process/terminal", reason))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
    use rustix::process::geteuid;
    use rustix::termios::tcgetwinsize;

    use super::*;

    /// Runs `test` in a thread with a /dev of its own that holds a devpts, as in a container.
    fn in_own_dev(test: impl FnOnce() + Send + 'static) {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can mount");
            return;
        }
        let thread = std::thread::spawn(|| {
            crate::sys::unshare(libc::CLONE_NEWNS).expect("unshare");
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private");
            mount("tmpfs", "/dev", "tmpfs", MountFlags::empty(), None).expect("mount tmpfs");
            std::fs::create_dir("/dev/pts").expect("mkdir");
            let options = c"newinstance,ptmxmode=0666,mode=0620";
            mount("devpts", "/dev/pts", "devpts", MountFlags::empty(), options).expect("mount devpts");
            test();
        });
        thread.join().expect("the thread's own assertions");
    }

    fn device(path: &str) -> (u32, u32) {
        let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).expect(path);
        (major(stat.st_rdev), minor(stat.st_rdev))
    }

    fn refusal() -> String {
        Pseudoterminal::open().expect_err("refused").line()
    }

    #[test]
    fn a_terminal_of_the_container_is_made_sized_and_sent() {
        in_own_dev(|| {
            let terminal = Pseudoterminal::open().expect("open");
            assert_eq!(terminal.path, "/dev/pts/0");
            terminal.resize(Size { rows: 25, columns: 81 }).expect("resize");
            let size = tcgetwinsize(&terminal.slave).expect("size");
            assert_eq!((size.ws_row, size.ws_col), (25, 81));
            let (ours, theirs) = unix_socket::peer::pair().expect("a pair");
            terminal.send_master(ours.as_fd()).expect("send");
            assert_eq!(unix_socket::peer::receive(theirs.as_fd()).expect("receive").text, b"/dev/pts/0");
        });
    }

    #[test]
    fn the_console_is_the_terminal_whatever_the_image_has_there() {
        in_own_dev(|| {
            let terminal = Pseudoterminal::open().expect("open");
            terminal.bind_console().expect("on nothing");
            assert_eq!(device("/dev/console"), device("/dev/pts/0"));
        });
        in_own_dev(|| {
            std::fs::write("/dev/console", "").expect("write");
            let terminal = Pseudoterminal::open().expect("open");
            terminal.bind_console().expect("on a file");
            assert_eq!(device("/dev/console"), device("/dev/pts/0"));
        });
        in_own_dev(|| {
            std::os::unix::fs::symlink("/dev/elsewhere", "/dev/console").expect("symlink");
            let line = Pseudoterminal::open().expect("open").bind_console().expect_err("a link").line();
            assert_eq!(
                line,
                "mount the terminal on /dev/console: /dev/console is neither a file nor a character device but Symlink"
            );
            assert!(!Path::new("/dev/elsewhere").exists());
        });
    }

    #[test]
    fn what_only_looks_like_a_devpts_is_refused() {
        in_own_dev(|| {
            mount("tmpfs", "/dev/pts", "tmpfs", MountFlags::empty(), None).expect("mount tmpfs");
            assert_eq!(refusal(), "/dev/pts is not a devpts mount: super magic is 0x1021994");
        });
        in_own_dev(|| {
            std::fs::write("/dev/file", "").expect("write");
            mount_bind("/dev/file", "/dev/pts/ptmx").expect("bind");
            assert!(refusal().starts_with("ptmx handle is not a real char ptmx device: RegularFile 0:0"));
        });
        in_own_dev(|| {
            // The real thing, but of another devpts.
            std::fs::create_dir("/dev/other").expect("mkdir");
            mount("devpts", "/dev/other", "devpts", MountFlags::empty(), c"newinstance")
                .expect("mount devpts");
            mount_bind("/dev/other/ptmx", "/dev/pts/ptmx").expect("bind");
            assert_eq!(refusal(), "open /dev/pts/ptmx: invalid cross-device link");
        });
    }
}
