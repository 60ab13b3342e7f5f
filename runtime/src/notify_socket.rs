//! Passes "ready" from a service in the container to the service manager (`sd_notify(3)`).
//!
//! The container gets a socket of its own, in the state directory: the manager would not know its processes, and the
//! manager's socket is no business of theirs. Only `READY=` is passed on.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, chmodat, mkdirat, openat};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::error::{During as _, Error, Result};
use crate::spec;
use crate::sys::{Errno, Named as _, retry};
use crate::unix_socket;

const DIRECTORY: &str = "notify";
const NAME: &str = "notify.sock";
const MOUNT_POINT: &str = "/run/notify";
/// As long as the manager may take to look at what it was told (`sd_notify_barrier(3)`).
const BARRIER: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
/// Of a datagram; longer ones are cut, and no state is that long.
const MAX_DATAGRAM: usize = 4096;

/// The service manager of the caller, and where the container's socket will be.
#[derive(Debug)]
pub(crate) struct Manager {
    state_directory: PathBuf,
    socket: String,
}

impl Manager {
    /// `NOTIFY_SOCKET` of the environment: none when nobody waits.
    pub(crate) fn from_environment(state_directory: PathBuf) -> Option<Self> {
        let socket = std::env::var("NOTIFY_SOCKET").ok().filter(|socket| !socket.is_empty())?;
        Some(Self { state_directory, socket })
    }

    /// Lets the container's program find its socket.
    pub(crate) fn add_socket(&self, spec: &mut spec::Spec) {
        spec.mounts.push(mount(&self.state_directory));
        if let Some(process) = &mut spec.process {
            process.env.push(variable());
        }
    }

    /// Makes the directory that is mounted, before the container is.
    pub(crate) fn make_directory(&self) -> Result<()> {
        make_directory(&self.state_directory)
    }

    pub(crate) fn bind(&self) -> Result<NotifySocket> {
        NotifySocket::bind(&self.state_directory, &self.socket)
    }
}

/// The mount of a container that got a socket.
pub(crate) fn mount_of(state_directory: &Path) -> Option<spec::Mount> {
    state_directory.join(DIRECTORY).is_dir().then(|| mount(state_directory))
}

/// How the container gets to its socket: to be added to its mounts.
fn mount(state_directory: &Path) -> spec::Mount {
    spec::Mount {
        destination: MOUNT_POINT.into(),
        source: state_directory.join(DIRECTORY).to_string_lossy().into_owned(),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(String::from).into(),
        ..spec::Mount::default()
    }
}

/// The variable that names the socket: to be added to the container's environment.
fn variable() -> String {
    format!("NOTIFY_SOCKET={MOUNT_POINT}/{NAME}")
}

/// Makes the directory that is mounted, before the container is.
fn make_directory(state_directory: &Path) -> Result<()> {
    let path = state_directory.join(DIRECTORY);
    mkdirat(CWD, &path, Mode::from_raw_mode(0o755)).named(|| format!("mkdir {}", path.display()))?;
    Ok(())
}

/// The socket of a container, and the one of the manager.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    container: OwnedFd,
    manager: OwnedFd,
}

/// How waiting for a service ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ready,
    /// The manager has been told but did not confirm in time.
    Unconfirmed,
    /// The process ended before it was ready.
    Gone,
}

impl NotifySocket {
    /// `manager` is the `NOTIFY_SOCKET` of the runtime: a path, or `@` and an abstract name.
    fn bind(state_directory: &Path, manager: &str) -> Result<Self> {
        Ok(Self {
            container: bind_in(&state_directory.join(DIRECTORY))
                .during(|| "bind the notify socket".into())?,
            manager: connect_to(manager).during(|| format!("connect to NOTIFY_SOCKET {manager}"))?,
        })
    }

    /// Waits until the service is ready, tells the manager so and that `main` is the process to watch, and waits
    /// until it has seen that: the caller may exit then.
    pub(crate) fn serve_until_ready(&self, main: Pid, pidfd: BorrowedFd<'_>) -> Result<Outcome> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.container.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
            ];
            retry(|| poll(&mut fds, None)).named(|| "poll(notify socket, pidfd)".into())?;
            let (is_notified, is_gone) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            if is_notified && self.forward(main)? {
                return self.barrier();
            }
            if is_gone && !is_notified {
                return Ok(Outcome::Gone);
            }
        }
    }

    /// Reads one message. If the service is ready, tells the manager; returns whether it was.
    pub(crate) fn forward(&self, main: Pid) -> Result<bool> {
        let mut message = [0; MAX_DATAGRAM];
        let length = match retry(|| recv(&self.container, &mut message, RecvFlags::DONTWAIT)) {
            Err(Errno::AGAIN) => 0,
            result => result.named(|| "recv(notify socket)".into())?.0,
        };
        let Some(ready) = ready_line(&message[..length]) else {
            return Ok(false);
        };
        self.tell(&[ready, b"\n"].concat())?;
        self.tell(format!("MAINPID={}\n", main.as_raw_nonzero()).as_bytes())?;
        Ok(true)
    }

    fn tell(&self, message: &[u8]) -> Result<()> {
        retry(|| rustix::net::send(&self.manager, message, SendFlags::NOSIGNAL))
            .named(|| "send(NOTIFY_SOCKET)".into())?;
        Ok(())
    }

    /// Sends the end of a pipe, which the manager closes when it gets there.
    fn barrier(&self) -> Result<Outcome> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).named(|| "pipe2(O_CLOEXEC)".into())?;
        unix_socket::send(self.manager.as_fd(), write.as_fd(), b"BARRIER=1")?;
        drop(write);
        let mut fds = [PollFd::from_borrowed_fd(read.as_fd(), PollFlags::IN)];
        let closed = retry(|| poll(&mut fds, Some(&BARRIER))).named(|| "poll(barrier)".into())?;
        Ok(if closed == 0 { Outcome::Unconfirmed } else { Outcome::Ready })
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }
}

fn ready_line(message: &[u8]) -> Option<&[u8]> {
    message.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY="))
}

/// Through a descriptor of its directory, as an address holds 107 bytes and the path may be longer.
fn bind_in(directory: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory =
        openat(CWD, directory, flags, Mode::empty()).named(|| format!("open {}", directory.display()))?;
    let address = unix_socket::address(&format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd()))?;
    let socket = datagram_socket()?;
    bind(&socket, &address).named(|| format!("bind {NAME}"))?;
    // Any user of the container may have to notify.
    chmodat(&directory, NAME, Mode::from_raw_mode(0o777), AtFlags::empty())
        .named(|| format!("chmod {NAME}"))?;
    Ok(socket)
}

fn connect_to(manager: &str) -> Result<OwnedFd> {
    if !manager.starts_with(['/', '@']) {
        return Err(Error::Usage(format!(
            "NOTIFY_SOCKET {manager:?} is neither a path nor an abstract socket"
        )));
    }
    let socket = datagram_socket()?;
    connect(&socket, &unix_socket::address(manager)?).named(|| "connect()".into())?;
    Ok(socket)
}

fn datagram_socket() -> Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    Ok(socket.named(|| "socket(AF_UNIX, SOCK_DGRAM)".into())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};

    use rustix::process::{PidfdFlags, pidfd_open};

    use super::*;

    struct World {
        directory: PathBuf,
        manager: UnixDatagram,
        socket: NotifySocket,
        process: Child,
        pidfd: OwnedFd,
    }

    impl World {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("knarr-notify-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&directory).expect("mkdir");
            let manager_path = directory.join("manager");
            let manager = UnixDatagram::bind(&manager_path).expect("bind");
            make_directory(&directory).expect("make the directory");
            let socket = NotifySocket::bind(&directory, manager_path.to_str().expect("utf-8")).expect("bind");
            let process = Command::new("cat").stdin(Stdio::piped()).spawn().expect("spawn cat");
            let pidfd = pidfd_open(Pid::from_child(&process), PidfdFlags::empty()).expect("pidfd");
            Self { directory, manager, socket, process, pidfd }
        }

        fn notify(&self, message: &str) {
            let path = self.directory.join(DIRECTORY).join(NAME);
            let service = UnixDatagram::unbound().expect("socket");
            service.send_to(message.as_bytes(), path).expect("send");
        }

        fn serve(&self) -> Outcome {
            self.socket.serve_until_ready(Pid::from_child(&self.process), self.pidfd.as_fd()).expect("serve")
        }

        fn told(&self) -> String {
            let mut message = [0; 100];
            let length = self.manager.recv(&mut message).expect("a message");
            String::from_utf8_lossy(&message[..length]).into_owned()
        }

        fn end_process(&mut self) {
            drop(self.process.stdin.take());
            self.process.wait().expect("wait for cat");
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            self.end_process();
            std::fs::remove_dir_all(&self.directory).expect("clean up");
        }
    }

    #[test]
    fn readiness_reaches_the_manager_and_is_confirmed() {
        let world = World::new("ready");
        world.notify("STATUS=working");
        world.notify("STATUS=done\nREADY=1\nX=y");
        // The manager's side of the barrier: receiving with plain recv closes the descriptor that came along.
        std::thread::scope(|scope| {
            let messages = scope.spawn(|| [world.told(), world.told(), world.told()]);
            assert_eq!(world.serve(), Outcome::Ready);
            let main = format!("MAINPID={}\n", world.process.id());
            assert_eq!(messages.join().expect("joined"), ["READY=1\n", &main, "BARRIER=1"]);
        });
    }

    #[test]
    fn a_process_that_ends_is_not_waited_for() {
        let mut world = World::new("gone");
        world.notify("STATUS=working");
        world.end_process();
        assert_eq!(world.serve(), Outcome::Gone);
    }

    #[test]
    fn the_container_is_told_where_it_is() {
        let mount = mount(Path::new("/run/knarr/c1"));
        assert_eq!(
            (mount.source.as_str(), mount.destination.as_str()),
            ("/run/knarr/c1/notify", "/run/notify")
        );
        assert_eq!(variable(), "NOTIFY_SOCKET=/run/notify/notify.sock");
    }

    #[test]
    fn an_address_of_another_kind_is_refused() {
        let line = connect_to("vsock:2:1234").expect_err("vsock").line();
        assert_eq!(line, r#"NOTIFY_SOCKET "vsock:2:1234" is neither a path nor an abstract socket"#);
    }
}
