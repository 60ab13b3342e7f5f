//! The log of the process's output: entries into one of Docker's file formats, and files changed when they are full.

mod json_file;
mod local;
mod rotation;

pub(crate) use rotation::compress;

use std::time::SystemTime;

use rustix::process::Pid;

use crate::error::Result;
use crate::frame::Kind;
use crate::lines::{Entry, Lines};
use crate::task;

use rotation::RotatedFile;

#[derive(Debug)]
pub(crate) struct Log {
    stdout: Lines,
    stderr: Lines,
    sink: Option<Sink>,
}

#[derive(Debug)]
struct Sink {
    format: Format,
    file: RotatedFile,
    /// Entries that are not in the file yet.
    encoded: Vec<u8>,
}

#[derive(Debug)]
enum Format {
    Json(json_file::Format),
    Local,
}

impl Log {
    pub(crate) fn open(log: &task::Log) -> Result<Self> {
        let (format, files) = match log {
            task::Log::None => {
                return Ok(Self { stdout: Lines::default(), stderr: Lines::default(), sink: None });
            }
            task::Log::JsonFile(files) => (Format::Json(json_file::Format::new(&files.attributes)), files),
            task::Log::Local(files) => (Format::Local, files),
        };
        let sink = Sink { format, file: RotatedFile::open(files)?, encoded: Vec::new() };
        Ok(Self { stdout: Lines::default(), stderr: Lines::default(), sink: Some(sink) })
    }

    /// Writes the entries that `bytes` complete, with the time now.
    pub(crate) fn append(&mut self, kind: Kind, bytes: &[u8]) -> Result<()> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let lines = if kind == Kind::Stderr { &mut self.stderr } else { &mut self.stdout };
        let now = SystemTime::now();
        lines.push(bytes, |entry| sink.encode(kind, now, &entry));
        sink.write()
    }

    /// Writes what was not ended by a newline.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let now = SystemTime::now();
        self.stdout.finish(|entry| sink.encode(Kind::Stdout, now, &entry));
        self.stderr.finish(|entry| sink.encode(Kind::Stderr, now, &entry));
        sink.write()
    }

    /// A child of this process has ended.
    pub(crate) fn reaped(&mut self, child: Pid) {
        if let Some(sink) = &mut self.sink {
            sink.file.reaped(child);
        }
    }
}

impl Sink {
    fn encode(&mut self, kind: Kind, time: SystemTime, entry: &Entry<'_>) {
        let stream = if kind == Kind::Stderr { "stderr" } else { "stdout" };
        match &self.format {
            Format::Json(format) => format.encode(&mut self.encoded, stream, time, entry),
            Format::Local => local::encode(&mut self.encoded, stream, time, entry),
        }
    }

    fn write(&mut self) -> Result<()> {
        let written = self.file.write(&self.encoded);
        self.encoded.clear();
        written
    }
}
