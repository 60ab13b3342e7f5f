//! The files of a log: the one that is written, and those put aside, `NAME.1` the newest of them, some compressed (`.gz`).

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use knarr_images::compression::Decoder;

use super::destination::Format;
use super::{Entry, json_file, local};
use crate::error::{During as _, Error, Result};

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// Tries to open files between two rotations. Rotations are rare; that many in a row are not met.
const TRIES: u32 = 64;

/// Where a log is.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) format: Format,
    path: PathBuf,
}

/// What makes a file the same one under another name.
pub(super) type Identity = (u64, u64);

/// One file of a log that is being read.
pub(super) struct Source {
    pub(super) format: Format,
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) changed: SystemTime,
    input: Input,
    buffer: Vec<u8>,
    /// What of the buffer has been read.
    taken: usize,
    /// Bytes of entries before the rest of the buffer.
    position: u64,
    /// What a plain file has from here on is not looked at.
    end: u64,
}

enum Input {
    Plain(File),
    Compressed { file: File, content: Decoder<'static> },
}

/// All files, as one look at them found them.
struct Opened {
    /// The oldest first.
    sources: Vec<Source>,
    /// Each file had a name of its own, and no name was missing.
    steady: bool,
}

/// What came next in a file.
pub(super) enum Found {
    Entry(Entry),
    /// Something that is no entry was skipped.
    Damage,
    /// Nothing, or not yet all of it.
    End,
}

impl Files {
    pub(super) fn new(format: Format, path: PathBuf) -> Self {
        Self { format, path }
    }

    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The newest file: the one that is being written, or between two of them the one that was.
    pub(super) fn newest(&self) -> Result<Option<Identity>> {
        match identity_of(&self.path)? {
            None => identity_of(&self.put_aside(1)),
            found => Ok(found),
        }
    }

    /// Opens all, the oldest first.
    pub(super) fn open(&self) -> Result<Vec<Source>> {
        let mut tries = 0;
        loop {
            let opened = self.try_open()?;
            tries += 1;
            // A rotation meanwhile has given the files other names, or is just doing so.
            let steady =
                opened.steady && self.newest()? == opened.sources.last().map(|source| source.identity);
            if steady || tries == TRIES {
                return Ok(opened.sources);
            }
        }
    }

    /// Opens the file that was written after one that is still open; none if that one has no name any more.
    ///
    /// Rotations give the oldest file its new name first. So while a file has one and the same name, the name before it is
    /// its successor's, or nobody's.
    pub(super) fn open_after(&self, known: Identity) -> Result<Option<Source>> {
        for _ in 0..TRIES {
            let Some(number) = self.number_of(known)? else { return Ok(None) };
            let before = if number == 1 { self.path.clone() } else { self.put_aside(number - 1) };
            let successor = self.open_one(&before)?;
            if successor.is_some() && identity_of(&self.put_aside(number))? == Some(known) {
                return Ok(successor);
            }
        }
        Ok(None)
    }

    /// Under which number a file was put aside.
    fn number_of(&self, known: Identity) -> Result<Option<u32>> {
        // It may get a higher number while it is searched for.
        for number in 1..=self.last_number()? + 2 {
            if identity_of(&self.put_aside(number))? == Some(known) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn try_open(&self) -> Result<Opened> {
        let mut opened = Opened { sources: Vec::new(), steady: true };
        let last = self.last_number()?;
        for number in 0.. {
            let path = if number == 0 { self.path.clone() } else { self.put_aside(number) };
            // Compressing makes the new file before it removes the old one.
            let source = match self.open_one(&path)? {
                None => self.open_one(&with_suffix(&path, ".gz"))?,
                found => found,
            };
            match source {
                None if number > last => break,
                // Between two files none is written, but none is missing among the others.
                None => opened.steady &= number == 0,
                Some(source) if opened.sources.iter().any(|known| known.identity == source.identity) => {
                    opened.steady = false;
                }
                Some(source) => opened.sources.push(source),
            }
        }
        opened.sources.reverse();
        Ok(opened)
    }

    /// The highest number of a file put aside.
    fn last_number(&self) -> Result<u32> {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let entries = match fs::read_dir(self.folder()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries.during("read", self.folder())?,
        };
        let mut last = 0;
        for entry in entries {
            let entry = entry.during("read", self.folder())?.file_name();
            let suffix = entry.to_str().and_then(|entry| entry.strip_prefix(name)?.strip_prefix('.'));
            let number = suffix.and_then(|suffix| suffix.strip_suffix(".gz").unwrap_or(suffix).parse().ok());
            last = last.max(number.unwrap_or(0));
        }
        Ok(last)
    }

    fn put_aside(&self, number: u32) -> PathBuf {
        with_suffix(&self.path, &format!(".{number}"))
    }

    fn open_one(&self, path: &Path) -> Result<Option<Source>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.during("open", path)?,
        };
        let metadata = file.metadata().during("look at", path)?;
        let input = if path.extension().is_some_and(|extension| extension == "gz") {
            let content = Decoder::new(file.try_clone().during("open", path)?).during("read", path)?;
            Input::Compressed { file, content }
        } else {
            Input::Plain(file)
        };
        Ok(Some(Source {
            format: self.format,
            path: path.to_owned(),
            identity: identity(&metadata),
            changed: metadata.modified().during("look at", path)?,
            input,
            buffer: Vec::new(),
            taken: 0,
            position: 0,
            end: u64::MAX,
        }))
    }
}

impl Source {
    /// The next entry.
    pub(super) fn next(&mut self) -> Result<Found> {
        loop {
            if let Some((length, found)) = self.decode()? {
                self.taken += length;
                self.position += length as u64;
                return Ok(found);
            }
            if self.fill()? == 0 {
                return Ok(Found::End);
            }
        }
    }

    /// Bytes before what comes next.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Goes to a place between two entries.
    pub(super) fn seek(&mut self, position: u64) -> Result<()> {
        self.buffer.clear();
        self.taken = 0;
        match &mut self.input {
            Input::Plain(file) => {
                file.seek(SeekFrom::Start(position)).during("seek", &self.path)?;
            }
            Input::Compressed { file, content } => {
                file.rewind().during("seek", &self.path)?;
                let again = file.try_clone().during("open", &self.path)?;
                *content = Decoder::new(again).during("read", &self.path)?;
                io::copy(&mut content.by_ref().take(position), &mut io::sink()).during("read", &self.path)?;
            }
        }
        self.position = position;
        Ok(())
    }

    /// The file, if it is not compressed.
    pub(super) fn plain(&self) -> Option<&File> {
        match &self.input {
            Input::Plain(file) => Some(file),
            Input::Compressed { .. } => None,
        }
    }

    /// What is written from now on is not read.
    pub(super) fn stop_at_what_is_there(&mut self) -> Result<()> {
        if let Some(file) = self.plain() {
            self.end = file.metadata().during("look at", &self.path)?.len();
        }
        Ok(())
    }

    /// Somebody has cut off what was read.
    pub(super) fn is_cut(&self) -> Result<bool> {
        let Some(file) = self.plain() else { return Ok(false) };
        Ok(file.metadata().during("look at", &self.path)?.len() < self.position)
    }

    /// The entry at the beginning of what was read, and its length; none if it is not whole.
    fn decode(&self) -> Result<Option<(usize, Found)>> {
        let bytes = &self.buffer[self.taken..];
        Ok(match self.format {
            Format::JsonFile => bytes
                .iter()
                .position(|&byte| byte == b'\n')
                .map(|end| (end + 1, json_file::decode(&bytes[..end]).map_or(Found::Damage, Found::Entry))),
            Format::Local => match local::length(bytes) {
                Some(length) if length > local::LONGEST => {
                    let why = format!("{}: no entry of a log at byte {}", self.path.display(), self.position);
                    return Err(Error::system(why));
                }
                Some(length) => bytes.get(local::LENGTH..local::LENGTH + length).and_then(|message| {
                    let whole = length + 2 * local::LENGTH;
                    let found = local::decode(message).map_or(Found::Damage, Found::Entry);
                    (bytes.len() >= whole).then_some((whole, found))
                }),
                None => None,
            },
        })
    }

    fn fill(&mut self) -> Result<usize> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let before = self.buffer.len();
        let room = match self.input {
            Input::Plain(_) => self.end.saturating_sub(self.position + before as u64).min(CHUNK as u64),
            Input::Compressed { .. } => CHUNK as u64,
        };
        self.buffer.resize(before + usize::try_from(room).unwrap_or(CHUNK), 0);
        let read = match &mut self.input {
            Input::Plain(file) => file.read(&mut self.buffer[before..]),
            Input::Compressed { content, .. } => content.read(&mut self.buffer[before..]),
        };
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        read.during("read", &self.path)
    }
}

/// None if there is no file.
fn identity_of(path: &Path) -> Result<Option<Identity>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(identity(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).during("look at", path),
    }
}

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
