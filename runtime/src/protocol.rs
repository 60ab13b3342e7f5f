//! The messages between the runtime and the container's first process while it is made.
//!
//! One `SOCK_SEQPACKET` pair; a message is one packet; the plan itself crosses by fork memory, never as bytes.
//!
//! ```text
//!   parent (parent.rs)                               init (init.rs)
//!   ------------------                               --------------
//!   clone3 ------------------------------------------> starts in its new namespaces
//!   write uid_map, gid_map; Mapped ------------------> (only with a new user namespace) becomes root in it
//!   apply limits, join the cgroup, move net devices    mounts, devices   (both at the same time)
//!   Joined ------------------------------------------> unshares the cgroup namespace, mounts cgroups; without one
//!                                                      of its own it looks for this message only before Ready
//!   <------------------------------- MapSource + fd    (only to id-map what earlier mounts have put into the tree)
//!   mount_setattr; SourceMapped ---------------------> mounts it
//!   <------------------------------------------ Built  (only when hooks must run before pivot_root)
//!   prestart, createRuntime hooks; HooksDone --------> createContainer hooks, pivot_root
//!   <--------------------------------- Terminal + fd   (only with a terminal and no console socket)
//!                                                      labels, sysctls, masked paths, scheduling
//!   <------------------------------------------ Ready  everything but identity is in place
//!   rlimits from outside, state written; Proceed ----> identity, capabilities, program looked up
//!   <------------------------------- Listener + number (only with a seccomp agent: see seccomp.rs)
//!   ListenerTaken ----------------------------------->
//!   <----------------------------------- Warning, ...  what ends up in the log
//!   <------------------------------------------ Found  only execve is left
//!   create: pid file, exit                             waits at the gate (start_gate.rs)
//!   run:    Start -----------------------------------> startContainer hooks, execve (the socket closes: it worked)
//!
//!   at any moment:        <--------- Failed + errno, field, text;   end of file: the peer is gone, give up
//! ```
//!
//! `exec` uses the same messages from Joined on (enter.rs). Where a process in between is needed (see spawn.rs), it says
//! `Forked` first, with a pidfd of init, which waits for `Adopted` before it says anything itself.

use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::error::{During, Error, Result, Told};
use crate::hint;
use crate::sys::{Errno, Named};

/// The longest packet: an error text beyond it is cut.
const MAX_PACKET: usize = 16 * 1024;

/// What the parent tells init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    Mapped = b'm',
    /// To init that another process left behind: until then that process has the word.
    Adopted = b'a',
    Joined = b'j',
    SourceMapped = b'i',
    HooksDone = b'h',
    ListenerTaken = b'l',
    Proceed = b'p',
    Start = b's',
}

/// What init tells the parent.
#[derive(Debug)]
pub(crate) enum Report {
    /// From the process in between: init's pidfd.
    Forked(OwnedFd),
    /// The source of a mount, by its position in `mounts`, whose ids init has no right to map.
    MapSource(usize, OwnedFd),
    Built,
    /// The master side of the container's terminal.
    Terminal(OwnedFd),
    Ready,
    /// The number that init's seccomp listener has there.
    Listener(i32),
    /// For the log. Where that is stderr, init's own may be the container's terminal by now.
    Warning(String),
    Found,
    Failed(Error),
}

const FORKED: u8 = b'f';
const MAP_SOURCE: u8 = b'i';
const BUILT: u8 = b'b';
const TERMINAL: u8 = b't';
const READY: u8 = b'r';
const LISTENER: u8 = b'l';
const WARNING: u8 = b'w';
const FOUND: u8 = b'F';
const FAILED: u8 = b'E';

/// The parent's end.
pub(crate) struct ParentEnd(OwnedFd);

/// Init's end.
pub(crate) struct InitEnd(OwnedFd);

pub(crate) fn channel() -> Result<(ParentEnd, InitEnd)> {
    let (parent, init) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .named(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".into())?;
    Ok((ParentEnd(parent), InitEnd(init)))
}

impl ParentEnd {
    pub(crate) fn order(&self, order: Order) -> Result<()> {
        send(self.0.as_fd(), &[order as u8], None).during(|| "the container's init process is gone".into())
    }

    /// Lets the program run; returns once it does.
    pub(crate) fn start(&self) -> Result<()> {
        self.order(Order::Start)?;
        match self.report()? {
            None => Ok(()),
            Some(Report::Failed(error)) => Err(error),
            Some(_) => Err(malformed()),
        }
    }

    /// Why init gave up, if it has: asked when something failed here, which may be only what followed from that.
    pub(crate) fn last_words(&self) -> Option<Error> {
        loop {
            match self.read_report(RecvFlags::DONTWAIT) {
                Ok(Some(Report::Failed(error))) => return Some(error),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The next report, or `None` once init has closed its end: it executed the program or died.
    pub(crate) fn report(&self) -> Result<Option<Report>> {
        self.read_report(RecvFlags::empty())
    }

    fn read_report(&self, flags: RecvFlags) -> Result<Option<Report>> {
        let mut packet = [0; MAX_PACKET];
        let (length, fd) = receive(self.0.as_fd(), &mut packet, flags)?;
        let Some((kind, body)) = packet[..length].split_first() else { return Ok(None) };
        let report = match (*kind, fd) {
            (FORKED, Some(fd)) => Report::Forked(fd),
            (MAP_SOURCE, Some(fd)) => Report::MapSource(decode_index(body)?, fd),
            (TERMINAL, Some(fd)) => Report::Terminal(fd),
            (BUILT, None) => Report::Built,
            (READY, None) => Report::Ready,
            (LISTENER, None) => {
                Report::Listener(i32::from_le_bytes(body.try_into().map_err(|_| malformed())?))
            }
            (WARNING, None) => Report::Warning(String::from_utf8_lossy(body).into_owned()),
            (FOUND, None) => Report::Found,
            (FAILED, None) => Report::Failed(decode_failure(body)),
            _ => return Err(malformed()),
        };
        Ok(Some(report))
    }
}

impl InitEnd {
    /// Waits for one certain order.
    pub(crate) fn await_order(&self, wanted: Order) -> Result<()> {
        let mut packet = [0; 8];
        let (length, _) = receive(self.0.as_fd(), &mut packet, RecvFlags::empty())?;
        match packet[..length] {
            [kind] if kind == wanted as u8 => Ok(()),
            // The runtime was killed: so must we, and nobody is there to read why.
            [] => crate::sys::exit_now(1),
            _ => Err(malformed()),
        }
    }

    pub(crate) fn map_source(&self, mount: usize, tree: BorrowedFd<'_>) -> Result<()> {
        let packet = [&[MAP_SOURCE][..], &mount.to_le_bytes()].concat();
        send(self.0.as_fd(), &packet, Some(tree)).during(|| "the runtime is gone".into())
    }

    pub(crate) fn built(&self) -> Result<()> {
        self.report(BUILT, None)
    }

    pub(crate) fn ready(&self) -> Result<()> {
        self.report(READY, None)
    }

    /// By write(2): the filter that the listener belongs to is in force already.
    pub(crate) fn listener(&self, number: i32) -> Result<()> {
        let packet = [&[LISTENER], &number.to_le_bytes()[..]].concat();
        rustix::io::retry_on_intr(|| rustix::io::write(&self.0, &packet))
            .named(|| "write(init channel)".into())?;
        Ok(())
    }

    pub(crate) fn warning(&self, text: &str) -> Result<()> {
        let packet = [&[WARNING], text.as_bytes()].concat();
        send(self.0.as_fd(), &packet[..packet.len().min(MAX_PACKET)], None)
    }

    pub(crate) fn found(&self) -> Result<()> {
        self.report(FOUND, None)
    }

    pub(crate) fn terminal(&self, master: BorrowedFd<'_>) -> Result<()> {
        self.report(TERMINAL, Some(master))
    }

    pub(crate) fn forked(&self, pidfd: BorrowedFd<'_>) -> Result<()> {
        self.report(FORKED, Some(pidfd))
    }

    pub(crate) fn failed(&self, error: &Error) -> Result<()> {
        let mut packet = vec![FAILED];
        packet.extend(error.errno().unwrap_or(0).to_le_bytes());
        let [call, hint] = [error.call(), hint::of(error)].map(Option::unwrap_or_default);
        for part in [error.field().unwrap_or_default(), &call, &hint] {
            packet.extend(part.as_bytes());
            packet.push(0);
        }
        packet.extend(error.line().as_bytes());
        packet.truncate(MAX_PACKET);
        send(self.0.as_fd(), &packet, None)
    }

    fn report(&self, kind: u8, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        send(self.0.as_fd(), &[kind], fd).during(|| "the runtime is gone".into())
    }
}

impl AsFd for InitEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn decode_index(body: &[u8]) -> Result<usize> {
    body.try_into().map(usize::from_le_bytes).map_err(|_| malformed())
}

/// errno (4 bytes, little endian, 0 for none); field, call and hint, each with NUL; text.
fn decode_failure(body: &[u8]) -> Error {
    let (errno, rest) =
        body.split_first_chunk().map_or((0, body), |(errno, rest)| (i32::from_le_bytes(*errno), rest));
    let rest = String::from_utf8_lossy(rest);
    let mut parts = rest.splitn(4, '\0').map(str::to_owned);
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let (field, call, hint) = (part(), part(), part());
    let text = part().unwrap_or_default();
    Error::Init(Box::new(Told { text, field, call, errno: (errno != 0).then_some(errno), hint }))
}

fn malformed() -> Error {
    Error::WrongState("a message between the runtime and its init process is malformed".into())
}

/// Sends one packet, with a descriptor where there is one.
fn send(socket: BorrowedFd<'_>, packet: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = fd.into_iter().collect();
    if !fds.is_empty() {
        // The buffer is sized for exactly one descriptor.
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return Ok(result.map(drop).named(|| "sendmsg(init channel)".into())?),
        }
    }
}

/// Receives one packet; length 0 is the end of the channel.
fn receive(socket: BorrowedFd<'_>, packet: &mut [u8], flags: RecvFlags) -> Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        match recvmsg(socket, &mut [IoSliceMut::new(packet)], &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
            // A peer that died with unread orders shows as one reset; what it had sent before comes after it.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(errno) => return Err(errno).named(|| "recvmsg(init channel)".into()).map_err(Error::from),
            Ok(message) => {
                let fd = control.drain().find_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                    _ => None,
                });
                return Ok((message.bytes, fd));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_arrives_as_it_was() {
        let (parent, init) = channel().unwrap();
        let source = crate::sys::Error { call: "mount(\"proc\")".into(), errno: Errno::PERM };
        let sent = Error::During { act: "mount /proc".into(), source: Box::new(source.into()) };
        init.failed(&sent).unwrap();
        let Ok(Some(Report::Failed(got))) = parent.report() else { panic!("no failure") };
        assert_eq!(got.line(), "mount /proc: mount(\"proc\"): operation not permitted");
        assert_eq!((got.errno(), got.call().as_deref()), (Some(libc::EPERM), Some("mount(\"proc\")")));
        assert_eq!(hint::of(&got), None);

        let told = Told { text: "exec /a: denied".into(), hint: Some("look".into()), ..Told::default() };
        init.failed(&Error::Program(Box::new(told.clone()))).unwrap();
        let Ok(Some(Report::Failed(Error::Init(got)))) = parent.report() else { panic!("no failure") };
        assert_eq!(*got, told);

        init.failed(&Error::refused("/process/args", "not there")).unwrap();
        let Ok(Some(Report::Failed(got))) = parent.report() else { panic!("no failure") };
        assert_eq!((got.field(), got.errno()), (Some("/process/args"), None));
    }

    #[test]
    fn descriptors_cross_and_the_end_is_seen() {
        let (parent, init) = channel().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        init.map_source(7, file.as_fd()).unwrap();
        assert!(matches!(parent.report(), Ok(Some(Report::MapSource(7, _)))));
        init.terminal(file.as_fd()).unwrap();
        let Ok(Some(Report::Terminal(fd))) = parent.report() else { panic!("no descriptor") };
        assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        drop(init);
        assert!(parent.report().unwrap().is_none());
    }

    #[test]
    fn what_init_said_before_it_died_is_heard_after_the_orders_it_never_read() {
        let (parent, init) = channel().unwrap();
        assert!(parent.last_words().is_none(), "init is alive and has nothing to say");
        parent.order(Order::Joined).unwrap();
        init.ready().unwrap();
        init.failed(&Error::refused("/mounts/0", "not there")).unwrap();
        drop(init);
        assert!(parent.order(Order::Proceed).is_err());
        assert_eq!(
            parent.last_words().and_then(|error| error.field().map(str::to_owned)).as_deref(),
            Some("/mounts/0")
        );
        assert!(parent.last_words().is_none());
    }

    #[test]
    fn an_order_out_of_turn_is_an_error() {
        let (parent, init) = channel().unwrap();
        parent.order(Order::Joined).unwrap();
        assert!(init.await_order(Order::Mapped).is_err());
    }
}
