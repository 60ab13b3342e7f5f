//! A log file that is put aside when it is full: `NAME` is written, `NAME.1` is the last full one, `NAME.2` the one before.
//! Those put aside are compressed when that is asked for, and then end in `.gz`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::sys;
use crate::task::Files;

const COMPRESSED: &str = ".gz";

#[derive(Debug)]
pub(crate) struct RotatedFile {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
    keep: u32,
    compress: bool,
    /// Busy with the file put aside last. Until it has ended no other one is.
    compressor: Option<Pid>,
}

impl RotatedFile {
    /// Goes on with the file that is there.
    pub(crate) fn open(files: &Files) -> Result<Self> {
        let failed = |source| Error::Write { path: files.path.clone(), source };
        let file = append_to(&files.path).map_err(failed)?;
        Ok(Self {
            path: files.path.clone(),
            size: file.metadata().map_err(failed)?.len(),
            file,
            max_size: files.max_size.unwrap_or(u64::MAX),
            keep: files.keep,
            compress: files.compress,
            compressor: None,
        })
    }

    /// Writes whole entries, into a new file when this one is full already.
    pub(crate) fn write(&mut self, entries: &[u8]) -> Result<()> {
        let write = |this: &mut Self| {
            if this.size >= this.max_size && this.compressor.is_none() && !entries.is_empty() {
                this.rotate()?;
            }
            this.file.write_all(entries)
        };
        write(self).map_err(|source| Error::Write { path: self.path.clone(), source })?;
        self.size += entries.len() as u64;
        Ok(())
    }

    /// A child of this process has ended.
    pub(crate) fn reaped(&mut self, child: Pid) {
        self.compressor.take_if(|compressor| *compressor == child);
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            let newer = if number == 1 { self.path.clone() } else { self.put_aside(number - 1) };
            let older = self.put_aside(number);
            rename_if_there(&newer, &older)?;
            rename_if_there(&with_suffix(&newer, COMPRESSED), &with_suffix(&older, COMPRESSED))?;
        }
        if self.keep == 1 {
            self.file.set_len(0)?;
        } else if self.compress {
            self.compressor = Some(start_compressor(&self.put_aside(1))?);
        }
        self.file = append_to(&self.path)?;
        self.size = 0;
        Ok(())
    }

    fn put_aside(&self, number: u32) -> PathBuf {
        with_suffix(&self.path, &format!(".{number}"))
    }
}

/// Replaces a file by its compressed form. What the command `compress` of this program does.
pub(crate) fn compress(path: &Path) -> Result<()> {
    let unfinished = with_suffix(path, ".unfinished");
    let write = || {
        let mut encoder = GzEncoder::new(File::create(&unfinished)?, Compression::default());
        io::copy(&mut File::open(path)?, &mut encoder)?;
        encoder.finish()?;
        fs::rename(&unfinished, with_suffix(path, COMPRESSED))?;
        fs::remove_file(path)
    };
    write().map_err(|source| Error::Write { path: unfinished.clone(), source })
}

/// In a process of its own: the monitor keeps its memory small and never waits.
fn start_compressor(path: &Path) -> io::Result<Pid> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("compress").arg(path);
    Ok(Pid::from_child(&sys::unblock_signals_in(&mut command).spawn()?))
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn files(path: &Path, keep: u32) -> Files {
        Files { path: path.to_owned(), max_size: Some(4), keep, compress: false, attributes: [].into() }
    }

    #[test]
    fn full_files_are_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = RotatedFile::open(&files(&path, 3)).unwrap();
        for entry in ["one\n", "two\n", "three\n", "four\n"] {
            log.write(entry.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!([read("log"), read("log.1"), read("log.2")], ["four\n", "three\n", "two\n"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn one_file_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "old entry\n").unwrap();
        RotatedFile::open(&files(&path, 1)).unwrap().write(b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn compressed_files_move_on_with_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(with_suffix(&path, ".1"), "older\n").unwrap();
        compress(&with_suffix(&path, ".1")).unwrap();
        fs::write(&path, "full\n").unwrap();
        RotatedFile::open(&files(&path, 3)).unwrap().write(b"new\n").unwrap();
        let mut older = String::new();
        let compressed = File::open(folder.path().join("log.2.gz")).unwrap();
        flate2::read::GzDecoder::new(compressed).read_to_string(&mut older).unwrap();
        assert_eq!(older, "older\n");
        assert_eq!(fs::read_to_string(folder.path().join("log.1")).unwrap(), "full\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
