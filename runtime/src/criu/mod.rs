//! criu(8), which writes the state of processes to files and makes processes of such files again.
//!
//! It is started for one act as `criu swrk FD` and spoken to over that socket: a request, then its notices, each to be
//! answered before it goes on, then its response. The numbers below are those of criu's `images/rpc.proto`.

mod message;
pub(crate) mod options;
mod report;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

pub(crate) use message::Message;
pub(crate) use report::quote_errors;

use crate::error::{Error, Result};
use crate::log;
use crate::sys::signals::with_unblocked_signals;
use crate::sys::{Named as _, io_error_text, retry};
use crate::unix_socket;
use message::Fields;

/// The first version that has everything used here: external pid namespaces, notice `status-ready`.
const OLDEST: i32 = 31_500;
/// As much as a response may be; notices have some dozen bytes.
const MAX_RESPONSE: usize = 40 * 1024;

/// What criu is asked for (`criu_req_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    FeatureCheck = 9,
    Version = 10,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Self::Dump => "DUMP",
            Self::Restore => "RESTORE",
            Self::PreDump => "PRE_DUMP",
            Self::Notify => "NOTIFY",
            Self::FeatureCheck => "FEATURE_CHECK",
            Self::Version => "VERSION",
        }
    }
}

/// Something that criu and the kernel may be able to do (`criu_features`).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Feature {
    MemTrack = 1,
    LazyPages = 2,
}

/// A stage that criu has come to (`criu_notify`).
pub(crate) struct Notice<'a> {
    pub(crate) stage: &'a str,
    /// The first process of what is restored; 0 where there is none.
    pub(crate) pid: i32,
    /// With `orphan-pts-master`.
    pub(crate) fd: Option<OwnedFd>,
}

/// A criu that waits for its request. When this is dropped it has ended.
pub(crate) struct Criu {
    process: Child,
    /// None once there is nothing more to say, which criu waits for.
    socket: Option<OwnedFd>,
    version: i32,
}

impl Criu {
    /// Starts it with stdio and the descriptors `inherited`, which it knows by their numbers here.
    pub(crate) fn start(inherited: &[OwnedFd]) -> Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .named(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".into())?;
        // Nobody else is started meanwhile, and all of them are closed after this.
        for fd in inherited.iter().chain([&theirs]) {
            fcntl_setfd(fd, FdFlags::empty()).named(|| "fcntl(F_SETFD, 0)".into())?;
        }
        let mut command = Command::new("criu");
        command.args(["swrk", &theirs.as_raw_fd().to_string()]);
        let process = with_unblocked_signals(|| command.spawn()).map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let why =
                if missing { "executable file not found in $PATH".into() } else { io_error_text(&error) };
            Error::Criu(format!("CRIU version check failed: exec: \"criu\": {why}"))
        })?;
        let mut criu = Self { process, socket: Some(ours), version: 0 };
        drop(theirs);
        criu.version = criu.ask_version()?;
        log::debug(format_args!("Using CRIU {}", criu.version));
        criu.require(OLDEST)?;
        Ok(criu)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Fails for versions before `oldest`.
    pub(crate) fn require(&self, oldest: i32) -> Result<()> {
        if self.version < oldest {
            let text = format!("CRIU version {} must be {oldest} or higher", self.version);
            return Err(Error::Criu(text));
        }
        Ok(())
    }

    pub(crate) fn require_feature(&self, feature: Feature) -> Result<()> {
        let mut features = Message::default();
        features.number(feature as u32, 1);
        let mut request = request(Act::FeatureCheck);
        request.number(req::KEEP_OPEN, 1);
        request.message(req::FEATURES, &features);
        let mut bytes = vec![0; MAX_RESPONSE];
        let (response, _) = self.exchange(&request, &mut bytes)?;
        let has = message_of(&response, resp::FEATURES)?.number(feature as u32) != 0;
        if has { Ok(()) } else { Err(Error::Criu(format!("criu is missing features: [{feature:?}]"))) }
    }

    /// As one number, such as 31701 for 3.17.1; a build between releases counts as the next one.
    fn ask_version(&self) -> Result<i32> {
        let mut request = request(Act::Version);
        request.number(req::KEEP_OPEN, 1);
        let mut bytes = vec![0; MAX_RESPONSE];
        let (response, _) = self.exchange(&request, &mut bytes)?;
        let version = message_of(&response, resp::VERSION)?;
        let release = version.number(version::MAJOR) * 10_000 + version.number(version::MINOR) * 100;
        let between = !version.text(version::GIT_ID).is_empty();
        Ok(release + if between { 100 } else { version.number(version::SUBLEVEL) })
    }

    /// Does one act to its end. An error of `notified` makes criu undo what it has done.
    pub(crate) fn carry_out(
        mut self,
        act: Act,
        options: &Message,
        notified: &mut dyn FnMut(Notice<'_>) -> Result<()>,
    ) -> Result<()> {
        log::debug(format_args!("Using CRIU in {} mode", act.name()));
        let mut next = request(act);
        next.message(req::OPTS, options);
        loop {
            let mut bytes = vec![0; MAX_RESPONSE];
            let (response, fd) = self.exchange(&next, &mut bytes)?;
            if response.number(resp::TYPE) != Act::Notify as i32 {
                break;
            }
            let notice = message_of(&response, resp::NOTIFY)?;
            let (stage, pid) = (notice.text(notify::SCRIPT), notice.number(notify::PID));
            log::debug(format_args!("notify: {stage}"));
            notified(Notice { stage, pid, fd })?;
            next = request(Act::Notify);
            next.number(req::NOTIFY_SUCCESS, 1);
        }
        self.socket = None;
        let status = self.process.wait().named(|| "wait(criu)".into())?;
        // After a pre-dump it would wait for the dump, and calls it an error that none comes.
        if status.success() || act == Act::PreDump {
            return Ok(());
        }
        Err(Error::Criu(format!("criu failed: {status}")))
    }

    /// Sends a message and returns what comes back.
    fn exchange<'b>(&self, message: &Message, bytes: &'b mut [u8]) -> Result<(Fields<'b>, Option<OwnedFd>)> {
        let Some(socket) = &self.socket else { return Err(no_answer()) };
        retry(|| rustix::net::send(socket, message.bytes(), SendFlags::NOSIGNAL))
            .named(|| "send(criu)".into())?;
        let (length, fd) = unix_socket::receive(socket.as_fd(), bytes)?;
        if length == 0 {
            return Err(no_answer());
        }
        let response = Fields::parse(&bytes[..length]).ok_or_else(no_message)?;
        if response.number(resp::SUCCESS) == 0 {
            return Err(failure(&response));
        }
        Ok((response, fd))
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        // It ends when the other end of its socket is gone. Its status is known, or of no interest any more.
        self.socket = None;
        let _ = self.process.wait();
    }
}

fn request(act: Act) -> Message {
    let mut request = Message::default();
    request.number(req::TYPE, act as u64);
    request
}

fn message_of<'b>(response: &Fields<'b>, field: u32) -> Result<Fields<'b>> {
    response.message(field).ok_or_else(no_message)
}

fn no_message() -> Error {
    Error::Criu("criu failed: its answer is no message".into())
}

fn no_answer() -> Error {
    Error::Criu("criu failed: unexpected EOF".into())
}

fn failure(response: &Fields<'_>) -> Error {
    let acts = [Act::Dump, Act::Restore, Act::PreDump, Act::Notify, Act::FeatureCheck, Act::Version];
    let kind = response.number(resp::TYPE);
    let name = acts.into_iter().find(|act| *act as i32 == kind).map_or("EMPTY", Act::name);
    Error::Criu(format!("criu failed: type {name} errno {}", response.number(resp::CR_ERRNO)))
}

/// Fields of `criu_req`.
mod req {
    pub(super) const TYPE: u32 = 1;
    pub(super) const OPTS: u32 = 2;
    pub(super) const NOTIFY_SUCCESS: u32 = 3;
    pub(super) const KEEP_OPEN: u32 = 4;
    pub(super) const FEATURES: u32 = 5;
}

/// Fields of `criu_resp`.
mod resp {
    pub(super) const TYPE: u32 = 1;
    pub(super) const SUCCESS: u32 = 2;
    pub(super) const NOTIFY: u32 = 5;
    pub(super) const CR_ERRNO: u32 = 7;
    pub(super) const FEATURES: u32 = 8;
    pub(super) const VERSION: u32 = 10;
}

/// Fields of `criu_notify`.
mod notify {
    pub(super) const SCRIPT: u32 = 1;
    pub(super) const PID: u32 = 2;
}

/// Fields of `criu_version`.
mod version {
    pub(super) const MAJOR: u32 = 1;
    pub(super) const MINOR: u32 = 2;
    pub(super) const GIT_ID: u32 = 3;
    pub(super) const SUBLEVEL: u32 = 4;
}
