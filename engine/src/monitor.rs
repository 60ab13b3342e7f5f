//! The engine's side of `knarr-monitor` (docs/design/monitor.md): the task that it is given, its socket, its last word.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{During as _, Error, Result};

const SOCKET: &str = "monitor.sock";
const EXIT: &str = "exit.json";
/// Bytes of a frame's header.
const HEADER: usize = 8;
/// Kind of the frames that are requests, answers and news.
const CONTROL: u8 = 3;

/// What a monitor is to do; see docs/design/monitor.md.
#[derive(Debug, Serialize)]
pub(crate) struct Task {
    pub(crate) runtime: Vec<String>,
    pub(crate) act: Act,
    pub(crate) terminal: bool,
    pub(crate) stdin: Stdin,
    pub(crate) log: Log,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Act {
    Create { id: String, bundle: PathBuf },
    Exec { id: String, process: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stdin {
    Closed,
    Once,
    Open,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Log {
    None,
    JsonFile(LogFiles),
    Local(LogFiles),
}

#[derive(Debug, Serialize)]
pub(crate) struct LogFiles {
    pub(crate) path: PathBuf,
    /// Bytes; none: one file without an end.
    pub(crate) max_size: Option<u64>,
    pub(crate) keep: u32,
    pub(crate) compress: bool,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) finished: Timestamp,
    /// The first entry of the log that could not be written.
    #[serde(default)]
    pub(crate) log_error: Option<String>,
}

/// What a client wants of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// The folder of one monitor, before and after its life.
pub(crate) struct Monitor {
    folder: PathBuf,
}

/// A monitor that is about to be started: clients can be there already.
pub(crate) struct Prepared {
    pub(crate) monitor: Monitor,
    listener: UnixListener,
}

/// A client of a monitor.
pub(crate) struct Connection {
    stream: UnixStream,
}

impl Monitor {
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes the task and opens the socket.
    pub(crate) fn prepare(folder: PathBuf, task: &Task) -> Result<Prepared> {
        fs::create_dir(&folder).during("create", &folder)?;
        let path = folder.join("task.json");
        let text =
            serde_json::to_vec(task).map_err(|error| Error::system(format!("write the task: {error}")))?;
        fs::write(&path, text).during("write", &path)?;
        let socket = folder.join(SOCKET);
        let listener = UnixListener::bind(&socket).during("listen on", &socket)?;
        Ok(Prepared { monitor: Self { folder }, listener })
    }

    pub(crate) fn connect(&self) -> io::Result<Connection> {
        UnixStream::connect(self.folder.join(SOCKET)).map(|stream| Connection { stream })
    }

    /// The end on record, if there was one.
    pub(crate) fn exit(&self) -> Result<Option<Exit>> {
        let path = self.folder.join(EXIT);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| Error::system(format!("read {}: {error}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).during("read", &path),
        }
    }
}

impl Prepared {
    /// Starts the monitor and waits until the runtime has made the process. Gives its process ID.
    ///
    /// The monitor is a child that somebody has to reap, whatever the outcome.
    pub(crate) fn launch(self, program: &Path) -> Result<(Child, Result<i32>)> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Said {
            Pid(i32),
            Error(String),
        }
        let mut command = Command::new(program);
        command.arg(&self.monitor.folder).stdin(Stdio::from(OwnedFd::from(self.listener)));
        // A process group of its own: what is sent to the engine's group does not end containers.
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().during("start", program)?;
        // The command has a copy of the listener: nobody shall connect to a monitor that is gone.
        drop(command);
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).while_doing("hear the monitor")?;
        }
        let said = match serde_json::from_str(&line) {
            Ok(Said::Pid(pid)) => Ok(pid),
            Ok(Said::Error(message)) => Err(Error::system(message)),
            Err(_) => {
                let mut complaint = String::new();
                if let Some(mut stderr) = child.stderr.take() {
                    stderr.read_to_string(&mut complaint).while_doing("hear the monitor")?;
                }
                Err(Error::system(format!("the monitor has failed: {}", complaint.trim())))
            }
        };
        Ok((child, said))
    }
}

impl Connection {
    /// Asks to be attached. The answer, `{"done":true}`, is the first control frame on the stream.
    pub(crate) fn ask_to_attach(&mut self, streams: Streams) -> io::Result<()> {
        let Streams { stdin, stdout, stderr } = streams;
        self.ask(&json!({"attach": {"stdin": stdin, "stdout": stdout, "stderr": stderr}}))
    }

    pub(crate) fn resize(&mut self, rows: u16, columns: u16) -> Result<()> {
        let request = json!({"resize": {"rows": rows, "columns": columns}});
        self.ask(&request).while_doing("resize the terminal")?;
        loop {
            let news = self.next_news().while_doing("resize the terminal")?;
            if let Some(error) = news.get("error").and_then(Value::as_str) {
                return Err(Error::system(error));
            }
            if news.get("done").is_some() {
                return Ok(());
            }
        }
    }

    /// Waits for the end of the process. None: the monitor was killed and nobody knows how the process ended.
    pub(crate) fn wait(mut self) -> Option<Exit> {
        loop {
            let news = self.next_news().ok()?;
            if let Some(exit) = news.get("exit") {
                return serde_json::from_value(exit.clone()).ok();
            }
        }
    }

    /// The connection itself, for who copies frames.
    pub(crate) fn into_stream(self) -> UnixStream {
        self.stream
    }

    fn ask(&mut self, request: &Value) -> io::Result<()> {
        let payload = request.to_string();
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?.to_be_bytes();
        let mut frame = vec![CONTROL, 0, 0, 0];
        frame.extend(length);
        frame.extend(payload.as_bytes());
        self.stream.write_all(&frame)
    }

    /// The next control frame; output in between is not for us.
    fn next_news(&mut self) -> io::Result<Value> {
        loop {
            let mut header = [0; HEADER];
            self.stream.read_exact(&mut header)?;
            let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let mut payload = Vec::new();
            let read =
                io::Read::by_ref(&mut self.stream).take(u64::from(length)).read_to_end(&mut payload)?;
            if read < length as usize {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if header[0] == CONTROL {
                return serde_json::from_slice(&payload).map_err(io::Error::other);
            }
        }
    }
}
