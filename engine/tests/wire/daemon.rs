//! A knarrd of its own for each test, below a temporary folder, without a bridge; and HTTP by hand over its socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use knarr_images::import::Import;
use knarr_images::store::WhenBusy;
use knarr_images::{Reference, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// After this an answer that does not come has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    /// Starts one, with an image `box` of an empty file system, and waits until it listens.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data/images"), WhenBusy::Refuse).unwrap();
        let names = vec![Reference::parse("box:latest").unwrap()];
        // The end of an archive, and nothing before it.
        store.import([0_u8; 1024].as_slice(), &Import { names, ..Import::default() }).unwrap();
        drop(store);
        let mut command = command(folder.path());
        let mut child = command.args(flags).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = String::new();
        while !lines.contains("API listen") {
            assert_ne!(log.read_line(&mut lines).unwrap(), 0, "it has ended: {lines}");
        }
        // It must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { reader: BufReader::new(stream) }
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, line: &str) -> Answer {
        self.connect().ask(line, &[], "")
    }

    /// The same with a JSON body.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.connect().ask(&format!("POST {path}"), &["Content-Type: application/json"], body)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end after SIGTERM, and says whether it was a success.
    pub(crate) fn stop(&mut self) -> bool {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().success()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// A knarrd that has all it makes below `folder`.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_knarrd"));
    let host = format!("unix://{}", folder.join("api.sock").display());
    command.args(["--bridge", "none", "--live-restore", "true", "--host", &host]);
    for (flag, name) in [("--data-root", "data"), ("--exec-root", "run"), ("--pidfile", "pid")] {
        command.arg(flag).arg(folder.join(name));
    }
    command.arg("--config-file").arg(folder.join("daemon.json"));
    let file = folder.join("daemon.json");
    if !file.exists() {
        std::fs::write(file, "{}").unwrap();
    }
    command
}

pub(crate) struct Client {
    reader: BufReader<UnixStream>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and message of an error.
    pub(crate) fn error(&self) -> (&str, String) {
        assert_eq!(self.header("Content-Type"), Some("application/json"));
        (self.status.split(' ').next().unwrap(), self.json()["message"].as_str().unwrap().to_owned())
    }
}

impl Client {
    pub(crate) fn ask(&mut self, line: &str, headers: &[&str], body: &str) -> Answer {
        self.send(line, headers, body);
        let mut answer = self.head();
        if !line.starts_with("HEAD ") {
            answer.body = self.body(&answer);
        }
        answer
    }

    pub(crate) fn send(&mut self, line: &str, headers: &[&str], body: &str) {
        let mut text = format!("{line} HTTP/1.1\r\nHost: docker\r\n");
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        if !body.is_empty() || line.starts_with("POST ") {
            let length = body.len().to_string();
            text.extend(["Content-Length: ", &length, "\r\n"]);
        }
        self.write(format!("{text}\r\n{body}"));
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn shut_down_write(&self) {
        self.reader.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "cut off: {line:?}");
        line.truncate(line.len() - 2);
        line
    }

    /// An answer without its body.
    pub(crate) fn head(&mut self) -> Answer {
        let status = self.line().strip_prefix("HTTP/1.1 ").unwrap().to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        Answer { status, headers, body: Vec::new() }
    }

    fn body(&mut self, head: &Answer) -> Vec<u8> {
        if head.header("Transfer-Encoding") != Some("chunked") {
            let length = head.header("Content-Length").map_or(0, |length| length.parse().unwrap());
            return self.bytes(length);
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk() {
            body.extend(chunk);
        }
        body
    }

    /// The next chunk of a stream; none at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.line(), 16).unwrap();
        let chunk = self.bytes(length);
        assert_eq!(self.line(), "");
        Some(chunk).filter(|chunk| !chunk.is_empty())
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Nothing more comes.
    pub(crate) fn is_over(&mut self) -> bool {
        self.reader.read(&mut [0]).unwrap() == 0
    }
}
