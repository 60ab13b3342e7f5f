//! A client of the API: HTTP over a Unix socket, one connection for each request.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use knarr_integration::Value;

#[derive(Clone)]
pub(crate) struct Client {
    socket: PathBuf,
    version: &'static str,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    #[track_caller]
    pub(crate) fn assert(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

impl Client {
    pub(crate) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), version: "1.50" }
    }

    /// The same client, if it knew no newer version.
    pub(crate) fn of_version(&self, version: &'static str) -> Self {
        Self { version, ..self.clone() }
    }

    /// Sends a request and waits for all of the answer. An engine that is killed meanwhile is an error.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Reply> {
        let mut stream = self.send(method, path, "Connection: close\r\n", body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&answer).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends a request whose answer is a stream that goes on.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket)?;
        let kind = if path.starts_with("/images/load") { "application/x-tar" } else { "application/json" };
        let (length, version) = (body.len(), self.version);
        let head = format!(
            "{method} /v{version}{path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        Ok(stream)
    }
}

fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let rest = &answer[end + 4..];
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body = if head.contains("transfer-encoding: chunked") {
        unchunk(rest)?
    } else {
        let length: usize = length.map_or(Some(rest.len()), |length| length.trim().parse().ok())?;
        rest.get(..length)?.to_vec()
    };
    Some(Reply { status, body })
}

/// None: the last chunk is missing.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 4 + length..)?;
    }
}

/// The payload of the frames that a log without a terminal comes in.
pub(crate) fn unframe(mut frames: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some((header, rest)) = frames.split_at_checked(8) {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        text.extend(payload);
        frames = rest;
    }
    text
}
