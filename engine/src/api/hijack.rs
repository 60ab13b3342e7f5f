//! Connections that become the streams of a process: attach and exec.
//!
//! Between the client and the process's monitor nothing is kept: what one sends goes to the other, with the frame of
//! docs/design/monitor.md put around it or taken off, and with the keys that detach looked for.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::Version;
use super::answer::{self, Answer, Body};
use super::peer::{InDoubt, Peer};
use super::request::Request;
use crate::container::Attached;
use crate::error::{Error, Result};
use crate::log;

const RAW: &str = "application/vnd.docker.raw-stream";
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
const HEADER: usize = 8;
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const CONTROL: u8 = 3;
/// Bytes of input in one frame.
const BUFFER: usize = 32 * 1024;
/// Clients older than this know one content type.
const MULTIPLEXED_SINCE: Version = Version(1, 42);

/// What is done with a hijacked connection.
pub(super) struct Session {
    pub(super) attached: Attached,
    /// Output from before, to be shown first.
    pub(super) before: Option<mpsc::Receiver<Bytes>>,
    pub(super) stdin: bool,
    /// Neither input nor output after that.
    pub(super) only_before: bool,
    /// On a terminal: the keys that end the session and not the process.
    pub(super) detach_keys: Vec<u8>,
    /// Told when they were typed.
    pub(super) on_detach: Box<dyn FnOnce() + Send>,
    pub(super) framing: Framing,
}

/// Whether the client gets the headers that tell standard output from standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// It does, unless the process has a terminal.
    Dockers,
    None,
}

impl Session {
    pub(super) fn without_frames(self) -> Self {
        Self { framing: Framing::None, ..self }
    }
}

/// Answers with the head of a stream, and serves it from a task.
pub(super) fn begin(request: Request, session: Session) -> Answer {
    let content_type = content_type(!session.attached.terminal, request.version);
    if !request.wants_upgrade() {
        return plain(request, session);
    }
    let mut answer =
        answer::build(StatusCode::SWITCHING_PROTOCOLS, Some(content_type), Body::Whole(Bytes::new()));
    answer.extensions_mut().insert(ReasonPhrase::from_static(b"UPGRADED"));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
    let peer = request.peer();
    peer.begin_apart();
    let upgrade = hyper::upgrade::on(request.http);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => {
                peer.end_apart();
                let (reader, writer) = tokio::io::split(TokioIo::new(connection));
                serve(reader, writer, peer, session).await;
            }
            Err(error) => log::debug(&format!("a client left before its stream began: {error}")),
        }
    });
    answer
}

/// Of a stream of a process, for a client of an API version.
pub(super) fn content_type(multiplexed: bool, version: Version) -> &'static str {
    if multiplexed && version >= MULTIPLEXED_SINCE { MULTIPLEXED } else { RAW }
}

/// For clients that ask for no upgrade: the body of the answer is the output, that of the request the input.
fn plain(request: Request, session: Session) -> Answer {
    let (output, chunks) = mpsc::channel(16);
    let peer = request.peer();
    let (input_reader, mut input_writer) = tokio::io::duplex(BUFFER);
    let mut body = request.http.into_body();
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if input_writer.write_all(&data).await.is_err() {
                return;
            }
        }
        // What ends with the request's body is the input; an empty body is no input.
        let _ = input_writer.shutdown().await;
    });
    let (mut output_reader, output_writer) = tokio::io::duplex(BUFFER);
    tokio::spawn(serve(input_reader, output_writer, peer, session));
    tokio::spawn(async move {
        let mut buffer = vec![0; BUFFER];
        while let Ok(count @ 1..) = output_reader.read(&mut buffer).await {
            if output.send(Bytes::copy_from_slice(&buffer[..count])).await.is_err() {
                return;
            }
        }
    });
    answer::stream(RAW, chunks)
}

/// Serves a session until the process or the client ends it.
pub(super) async fn serve(
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    peer: Peer,
    session: Session,
) {
    let Session { attached, before, stdin, only_before, detach_keys, on_detach, framing } = session;
    let Attached { terminal, stream, recorded } = attached;
    let raw = terminal || framing == Framing::None;
    if let Some(mut before) = before {
        while let Some(chunk) = before.recv().await {
            let chunk = if raw && !terminal { payloads(&chunk) } else { chunk };
            if writer.write_all(&chunk).await.is_err() {
                return;
            }
        }
    }
    if !only_before {
        let keys = if terminal { detach_keys } else { Vec::new() };
        let started = tokio::select! {
            started = stream => started,
            () = peer.gone(InDoubt::There) => return,
        };
        let outcome = match started {
            Ok(Ok(monitor)) => copy(reader, &mut writer, monitor, Copy { raw, stdin, keys, peer }).await,
            Ok(Err(error)) => tell(&mut writer, raw, &error).await.map(|()| End::Over),
            // It never started.
            Err(_) => Ok(End::Over),
        };
        match outcome {
            Ok(End::Detached) => on_detach(),
            Ok(End::Over) => {
                if let Some(recorded) = recorded {
                    let _ = recorded.await; // gone means recorded
                }
            }
            Err(error) => log::debug(&format!("a stream has ended: {error}")),
        }
    }
    // The client may have closed it before.
    let _ = writer.shutdown().await;
}

/// Docker's way to tell of a failure once the stream has begun: a line of output.
async fn tell(writer: &mut (impl AsyncWrite + Unpin), raw: bool, error: &Error) -> io::Result<()> {
    let text = format!("{}\r\n", error.message);
    let frame = if raw { text.into_bytes() } else { frame(STDOUT, text.as_bytes())? };
    writer.write_all(&frame).await
}

struct Copy {
    raw: bool,
    stdin: bool,
    keys: Vec<u8>,
    peer: Peer,
}

enum End {
    Over,
    Detached,
}

async fn copy(
    reader: impl AsyncRead + Unpin,
    writer: &mut (impl AsyncWrite + Unpin),
    monitor: StdUnixStream,
    copy: Copy,
) -> io::Result<End> {
    monitor.set_nonblocking(true)?;
    let (from_monitor, to_monitor) = UnixStream::from_std(monitor)?.into_split();
    let (detached, is_detached) = oneshot::channel();
    let input = async {
        // The monitor hangs up, not we: output may follow.
        let mut to_monitor = to_monitor;
        let outcome = give_input(reader, &mut to_monitor, copy.stdin, copy.keys).await;
        if let Ok(End::Detached) = outcome {
            let _ = detached.send(()); // the output may have ended
        }
        // The input's end is not the session's, the client's is.
        copy.peer.gone(InDoubt::There).await;
    };
    tokio::select! {
        outcome = take_output(from_monitor, writer, copy.raw) => outcome.map(|()| End::Over),
        Ok(()) = is_detached => Ok(End::Detached),
        () = input => Ok(End::Over),
    }
}

/// Sends what the client sends, in frames, and then that there is no more.
async fn give_input(
    mut reader: impl AsyncRead + Unpin,
    monitor: &mut (impl AsyncWrite + Unpin),
    stdin: bool,
    keys: Vec<u8>,
) -> io::Result<End> {
    let mut detach = DetachKeys::new(keys);
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            if stdin {
                let held = detach.held();
                if !held.is_empty() {
                    monitor.write_all(&frame(STDIN, &held)?).await?;
                }
                monitor.write_all(&frame(STDIN, b"")?).await?;
            }
            return Ok(End::Over);
        }
        let (pass, matched) = detach.scan(&buffer[..count]);
        if stdin && !pass.is_empty() {
            monitor.write_all(&frame(STDIN, &pass)?).await?;
        }
        if matched {
            return Ok(End::Detached);
        }
    }
}

async fn take_output(
    mut monitor: impl AsyncRead + Unpin,
    writer: &mut (impl AsyncWrite + Unpin),
    raw: bool,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.resize(HEADER, 0);
        match monitor.read_exact(&mut buffer).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let kind = buffer[0];
        let length = u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]) as usize;
        buffer.resize(HEADER + length, 0);
        monitor.read_exact(&mut buffer[HEADER..]).await?;
        if kind == CONTROL {
            let news: serde_json::Value = serde_json::from_slice(&buffer[HEADER..])?;
            if news.get("exit").is_some() {
                return Ok(());
            }
            continue;
        }
        writer.write_all(if raw { &buffer[HEADER..] } else { &buffer }).await?;
        writer.flush().await?;
    }
}

fn frame(kind: u8, payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut frame = vec![kind, 0, 0, 0];
    frame.extend(length.to_be_bytes());
    frame.extend(payload);
    Ok(frame)
}

/// What is in whole frames.
fn payloads(mut frames: &[u8]) -> Bytes {
    let mut payloads = Vec::with_capacity(frames.len());
    while let Some((&[_, _, _, _, a, b, c, d], rest)) = frames.split_first_chunk::<HEADER>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        payloads.extend_from_slice(payload);
        frames = rest;
    }
    payloads.into()
}

/// Looks for a sequence of keys in what is typed. The beginning of one is held back until it is known to be none.
struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// What goes to the process, and whether the sequence is complete.
    fn scan(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (typed.to_vec(), false);
        }
        let mut pass = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys[self.matched] == *byte {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (pass, true);
                }
                continue;
            }
            pass.extend(self.held());
            if self.keys[0] == *byte {
                self.matched = 1;
            } else {
                pass.push(*byte);
            }
        }
        (pass, false)
    }

    fn held(&mut self) -> Vec<u8> {
        let held = self.keys[..self.matched].to_vec();
        self.matched = 0;
        held
    }
}

/// `ctrl-p,ctrl-q` and its like; nothing is the default.
pub(super) fn detach_keys(text: Option<&str>) -> Result<Vec<u8>> {
    let text = text.unwrap_or("ctrl-p,ctrl-q");
    let invalid = || Error::invalid(format!("Invalid detach keys ({text}) provided"));
    text.split(',')
        .map(|key| match (key.strip_prefix("ctrl-"), key.as_bytes()) {
            (None, [letter]) if letter.is_ascii_graphic() => Ok(*letter),
            (Some(key), _) => match key.as_bytes() {
                [letter @ b'a'..=b'z'] => Ok(letter - b'a' + 1),
                [b'@'] => Ok(0),
                [symbol @ b'['..=b'_'] => Ok(symbol - b'@'),
                _ => Err(invalid()),
            },
            _ => Err(invalid()),
        })
        .collect()
}

/// The same handle for a session that no key ends.
pub(super) fn no_detach() -> Box<dyn FnOnce() + Send> {
    Box::new(|| {})
}

/// Tells the engine's listeners that a session was left.
pub(super) fn tell_detached(
    engine: &Arc<crate::engine::Engine>,
    container: &str,
    action: &'static str,
) -> Box<dyn FnOnce() + Send> {
    let (engine, container) = (Arc::clone(engine), container.to_owned());
    Box::new(move || {
        // It may be gone meanwhile.
        if let Ok(container) = engine.containers.find(&container) {
            engine.events.of_container(action, &container.record(), &[]);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        assert_eq!(detach_keys(None).unwrap(), [16, 17]);
        assert_eq!(detach_keys(Some("a,ctrl-z,ctrl-@,ctrl-_")).unwrap(), [b'a', 26, 0, 31]);
        for bad in ["ctrl-", "ctrl-A", "ab", "", "a,,b"] {
            let error = detach_keys(Some(bad)).unwrap_err().message;
            assert_eq!(error, format!("Invalid detach keys ({bad}) provided"));
        }
    }

    #[test]
    fn frames_are_taken_off() {
        let frames =
            [frame(1, b"out\n").unwrap(), frame(2, b"").unwrap(), frame(2, b"err").unwrap()].concat();
        assert_eq!(payloads(&frames), "out\nerr");
    }

    #[test]
    fn a_sequence_is_found_across_reads_and_a_false_start_is_passed_on() {
        let mut keys = DetachKeys::new(vec![16, 17]);
        assert_eq!(keys.scan(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.scan(b"\x10c"), (b"\x10\x10c".to_vec(), false));
        assert_eq!(keys.scan(b"x\x10"), (b"x".to_vec(), false));
        assert_eq!(keys.scan(b"\x11y"), (Vec::new(), true));
        let mut none = DetachKeys::new(Vec::new());
        assert_eq!(none.scan(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
