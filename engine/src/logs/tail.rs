//! Finding the last lines of a log without reading it all: plain files are read from their end.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::destination::Format;
use super::files::{Found, Source};
use super::{Entry, Stream, json_file, local};
use crate::error::{During as _, Result};

/// Bytes that are read at once.
const CHUNK: u64 = 64 * 1024;

/// Moves to the beginning of the last lines. `sources` are the oldest first; those that are not needed go.
pub(super) fn seek(sources: &mut Vec<Source>, lines: u64) -> Result<()> {
    let mut counter = Counter { wanted: lines, seen: [false; 2] };
    for index in (0..sources.len()).rev() {
        if let Some(position) = first(&mut sources[index], &mut counter)? {
            sources[index].seek(position)?;
            sources.drain(..index);
            return Ok(());
        }
    }
    Ok(())
}

/// Counts lines from the last to the first.
struct Counter {
    wanted: u64,
    /// Of stdout and stderr: an entry has been seen, so a piece of a line that comes before it belongs to it.
    seen: [bool; 2],
}

impl Counter {
    /// Whether an entry, and with it all that come after, is part of the last lines.
    fn takes(&mut self, piece: Piece) -> bool {
        let seen = &mut self.seen[usize::from(piece.stream == Stream::Stderr)];
        let is_a_line = piece.ends_a_line || !*seen;
        if is_a_line && self.wanted == 0 {
            return false;
        }
        *seen = true;
        self.wanted -= u64::from(is_a_line);
        true
    }
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    stream: Stream,
    ends_a_line: bool,
}

impl From<&Entry> for Piece {
    fn from(entry: &Entry) -> Self {
        Self { stream: entry.stream, ends_a_line: entry.ends_a_line() }
    }
}

/// Where the last lines begin, if that is in this file.
fn first(source: &mut Source, counter: &mut Counter) -> Result<Option<u64>> {
    let Some(file) = source.plain() else { return first_forward(source, counter) };
    let begins = match source.format {
        Format::JsonFile => json_backward(file, counter),
        Format::Local => match local_backward(file, counter) {
            // The end is being written right now: lengths at the beginnings tell where entries are.
            Ok(Backward::Unreadable) => return first_forward(source, counter),
            begins => begins,
        },
    };
    match begins.during("read", &source.path)? {
        Backward::At(position) => Ok(Some(position)),
        Backward::Before | Backward::Unreadable => Ok(None),
    }
}

enum Backward {
    At(u64),
    /// In an older file.
    Before,
    Unreadable,
}

fn json_backward(file: &File, counter: &mut Counter) -> std::io::Result<Backward> {
    let mut start = file.metadata()?.len();
    // From `start` on, without what has been looked at.
    let mut bytes: Vec<u8> = Vec::new();
    // What comes behind the last newline is not whole.
    let mut whole = false;
    loop {
        let before_last = bytes.len().saturating_sub(usize::from(whole));
        if let Some(newline) = bytes[..before_last].iter().rposition(|&byte| byte == b'\n') {
            let line = bytes.split_off(newline + 1);
            if whole && !takes_line(counter, &line) {
                return Ok(Backward::At(start + newline as u64 + 1 + line.len() as u64));
            }
            whole = true;
        } else if start > 0 {
            let length = start.min(CHUNK);
            start -= length;
            bytes.splice(..0, read_at(file, start, length)?);
        } else if whole && !takes_line(counter, &bytes) {
            return Ok(Backward::At(bytes.len() as u64));
        } else {
            return Ok(Backward::Before);
        }
    }
}

/// What is no entry counts as none and stops nothing.
fn takes_line(counter: &mut Counter, line: &[u8]) -> bool {
    json_file::decode(line).is_none_or(|entry| counter.takes(Piece::from(&entry)))
}

fn local_backward(file: &File, counter: &mut Counter) -> std::io::Result<Backward> {
    const LENGTH: u64 = local::LENGTH as u64;
    let mut end = file.metadata()?.len();
    let mut first = true;
    while end > 0 {
        let Some(at) = end.checked_sub(LENGTH) else { return Ok(Backward::Unreadable) };
        let length = local::length(&read_at(file, at, LENGTH)?).unwrap_or(usize::MAX);
        let start = end.checked_sub(length as u64).and_then(|rest| rest.checked_sub(2 * LENGTH));
        let Some(start) = start.filter(|_| length <= local::LONGEST) else { return Ok(Backward::Unreadable) };
        let entry = read_at(file, start, length as u64 + LENGTH)?;
        let message = entry.get(local::LENGTH..).unwrap_or_default();
        let decoded = local::decode(message).filter(|_| local::length(&entry) == Some(length));
        match decoded.map(|decoded| counter.takes(Piece::from(&decoded))) {
            Some(false) => return Ok(Backward::At(end)),
            None if first => return Ok(Backward::Unreadable),
            Some(true) | None => {}
        }
        first = false;
        end = start;
    }
    Ok(Backward::Before)
}

/// Reads a file that can only be read forward, and keeps in mind where the last entries begin.
fn first_forward(source: &mut Source, counter: &mut Counter) -> Result<Option<u64>> {
    source.seek(0)?;
    let mut last: VecDeque<(u64, Piece)> = VecDeque::new();
    let mut lines = 0;
    loop {
        match source.next()? {
            Found::Entry(entry) => {
                let piece = Piece::from(&entry);
                lines += u64::from(piece.ends_a_line);
                last.push_back((source.position(), piece));
            }
            Found::Damage => {}
            Found::End => break,
        }
        // One line more than is wanted tells where the wanted ones begin.
        while lines > counter.wanted + 1
            && let Some((_, piece)) = last.pop_front()
        {
            lines -= u64::from(piece.ends_a_line);
        }
    }
    let found = last.iter().rev().find(|(_, piece)| !counter.takes(*piece)).map(|(end, _)| *end);
    source.seek(0)?;
    Ok(found)
}

fn read_at(file: &File, start: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}
